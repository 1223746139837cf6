#!/usr/bin/env python
"""Take colour emoji out of fonts and picture folders, as sprites for make_composites.py.

Example: make_sprites.py --out sprites --font NotoColorEmoji.ttf --images fluent/assets
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cosal_d2.prepare.composites.sprites import write_sprites


def build_parser() -> argparse.ArgumentParser:
    """Command line of this tool."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FOLDER", help="writes FOLDER/SOURCE/CODE.png")
    add(
        "--font",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="colour fonts, such as NotoColorEmoji.ttf",
    )
    add(
        "--images",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="PNG or WebP with alpha, named by code points such as 1f34e.webp",
    )
    add("--overwrite", action="store_true", help="replace folders of the same names")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        written = write_sprites(args.out, args.font, args.images, args.overwrite)
    except ValueError as error:
        parser.error(f"argument --{error}")
    except OSError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    for name, codes in written.items():
        print(f"{args.out / name}: {len(codes)} sprites")
    counts = Counter(code for codes in written.values() for code in codes)
    print(f"{len(counts)} classes, {sum(n > 1 for n in counts.values())} with several instances")
    return 0


if __name__ == "__main__":
    sys.exit(main())
