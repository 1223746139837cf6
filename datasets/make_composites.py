#!/usr/bin/env python
"""Compose pictures of real cut-outs and write them as a dataset root.

Example: make_composites.py --json cosal/train.json --images cosal/train --out data --name comp \
--count 500 --seed 1
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cosal_d2.prepare.composites import CompositeOptions, CompositeSpec, write_composites


def build_parser() -> argparse.ArgumentParser:
    """Command line of this tool."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FILE", help="COCO instance json with masks")
    add("--images", type=Path, required=True, metavar="FOLDER", help="its pictures")
    add("--out", type=Path, required=True, metavar="ROOT", help="dataset root")
    add("--name", required=True, help="writes ROOT/cosal/NAME.json and its folder")
    add("--count", type=int, required=True, help="number of pictures")
    add("--seed", type=int, default=0, help="seed of the series (default 0)")
    add(
        "--classes",
        type=Path,
        metavar="FILE",
        help="use these classes only, one name a line: categories, and sprites as sprite/NAME; all "
        "sprites are used where none is listed",
    )
    add("--no-group", action="store_true", help="nothing repeats: every object is a distractor")
    add(
        "--sprites",
        type=Path,
        metavar="FOLDER",
        help="PNG or WebP with alpha, named as their class",
    )
    add(
        "--sprite-share",
        type=float,
        default=0.5,
        metavar="P",
        help="share of sprites among group classes and distractors (default 0.5)",
    )
    add(
        "--objects",
        type=int,
        nargs=2,
        default=(2, 6),
        metavar=("MIN", "MAX"),
        help="objects of the group; with --no-group, all objects (default 2 6)",
    )
    add(
        "--distractors",
        type=int,
        nargs=2,
        metavar=("MIN", "MAX"),
        help="single objects of other classes beside a group (default 0 4)",
    )
    add("--size", type=int, nargs=2, metavar=("H", "W"), help="pixels (default: varied)")
    add("--workers", type=int, help="processes (default: one a core)")
    add("--overwrite", action="store_true", help="replace a dataset of the same name")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.no_group and args.distractors:
        parser.error("argument --distractors: with --no-group, --objects counts all objects")
    try:
        options = CompositeOptions(
            objects=tuple(args.objects),
            distractors=tuple(args.distractors or (0, 4)),
            repeat=not args.no_group,
            size=tuple(args.size) if args.size else None,
            sprite_share=args.sprite_share,
        )
        spec = CompositeSpec(
            args.out,
            args.name,
            args.count,
            args.seed,
            args.json,
            args.images,
            args.classes,
            args.sprites,
            options,
        )
        json_file = write_composites(spec, args.workers, args.overwrite, progress=True)
    except ValueError as error:
        parser.error(f"argument --{error}")
    except OSError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    print(f"{args.count} pictures: {json_file} and {json_file.with_suffix('')}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
