"""How a verb of `cosal` is added."""

from __future__ import annotations

import argparse
from collections.abc import Callable


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
