#!/usr/bin/env python
"""Check, merge, split and describe datasets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cosal_d2.prepare.check import command as checks  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="SUBCOMMAND")
    checks.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; returns the exit status: 1 with a message where something is faulty."""
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
