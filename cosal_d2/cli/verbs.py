"""How a verb of `cosal` is added, and options that verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from cosal_d2.config import DEFAULT_CONFIG, DTYPES
from cosal_d2.utils.files import check_output


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


def add_network(parser: argparse.ArgumentParser, config: str | None = DEFAULT_CONFIG) -> None:
    """Add what says which network computes, where and how: ``--config-file``, ``--device``,
    ``--dtype`` and ``--opts``, which is the last.

    Args:
        parser: of the verb.
        config: the value of ``--config-file`` that is not given.
    """
    add_config_file(parser, config)
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="",
        help="where to compute (default: cuda if there is one)",
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default="", help="precision (default: the config's)"
    )
    add_opts(parser, "config changes, such as MODEL.WEIGHTS output/model_final.pth")


def add_config_file(parser: argparse.ArgumentParser, config: str | None = DEFAULT_CONFIG) -> None:
    """Add ``--config-file``; see :func:`add_network`."""
    parser.add_argument(
        "--config-file",
        default=config,
        metavar="FILE",
        help=f"a path, or the name of a shipped config (default: {DEFAULT_CONFIG})",
    )


def number(text: str, kind: type[int] | type[float]) -> float:
    """The value of an option that is a number."""
    try:
        return kind(text)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}") from None


def positive(text: str) -> int:
    """A whole number of at least 1, as the type of an option."""
    value = number(text, int)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def html_page(path: Path) -> Path:
    """The path of a page that is written.

    Raises:
        OSError: its folder cannot be made or written to.
        ValueError: it is named as some other kind of file, which would be lost.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out {path}: name a page, such as {path.with_suffix('.html').name}")
    check_output(path.parent)
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
