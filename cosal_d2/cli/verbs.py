"""How a verb of `cosal` is added, and options that verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path


def add_verb(
    verbs: argparse._SubParsersAction,
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    *,
    help: str,
    example: str,
) -> argparse.ArgumentParser:
    """Add a verb and return its parser, for its options.

    Args:
        verbs: the subparsers of `cosal`, `cosal data` or `cosal paper`.
        name: the verb.
        run: does the work and gives the exit status, None for 0; it imports what is heavy, and
            raises OSError, ValueError or ImportError with a sentence for the user.
        help: what it does, a sentence without its stop.
        example: command lines that work as they stand, one a line.
    """
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    parser = verbs.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"example:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_opts(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--opts KEY VALUE ...``, which takes the rest of the line.

    Args:
        parser: of the verb.
        what: what it changes, for the help.
    """
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help=f"{what}; the last option",
    )


def html_page(path: Path) -> Path:
    """The path of a page that is written.

    Raises:
        ValueError: it is named as some other kind of file, which would be lost.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out {path}: name a page, such as {path.with_suffix('.html').name}")
    return path


def by_method(option: str, entries: Sequence[str]) -> dict[str, str]:
    """Values of an option by method.

    Args:
        option: its name, for errors.
        entries: ``METHOD=VALUE`` each.

    Raises:
        ValueError: an entry has another form, or a method is given twice.
    """
    values: dict[str, str] = {}
    for entry in entries:
        method, _, value = entry.partition("=")
        method = method.strip()
        if not (method and value):
            raise ValueError(f"{option} {entry}: write METHOD=VALUE, such as ours=output/maps")
        if method in values:
            raise ValueError(f"{option} {entry}: {method} is given twice; give it once")
        values[method] = value
    return values
