#!/usr/bin/env python
"""Draw synthetic co-saliency scenes and write them as a dataset root.

Example: make_synthetic.py --out data --name synth_train --count 300 --seed 1
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cosal_d2.prepare.synthetic import DatasetSpec, SceneOptions, write_dataset


def build_parser() -> argparse.ArgumentParser:
    """Command line of this tool."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="ROOT", help="dataset root")
    parser.add_argument("--name", required=True, help="writes ROOT/cosal/NAME.json and its folder")
    parser.add_argument("--count", type=int, required=True, help="number of scenes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the series (default 0)")
    parser.add_argument(
        "--distractors",
        type=int,
        nargs="+",
        metavar="N",
        help="single objects of other classes: one number, or MIN MAX (default 0 4; with "
        "--no-group all objects of a scene, default 2 6)",
    )
    parser.add_argument(
        "--no-group", action="store_true", help="nothing repeats: every object is a distractor"
    )
    parser.add_argument(
        "--size", type=int, nargs=2, metavar=("H", "W"), help="pixels (default: varied, photo-like)"
    )
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a dataset of the same name"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    counts = args.distractors or ([2, 6] if args.no_group else [0, 4])
    if len(counts) > 2:
        parser.error(f"argument --distractors: give one number or MIN MAX, not {len(counts)}")
    try:
        options = SceneOptions(
            distractors=(counts[0], counts[-1]),
            repeat=not args.no_group,
            size=tuple(args.size) if args.size else None,
        )
        spec = DatasetSpec(args.out, args.name, args.count, args.seed, options)
        json_file = write_dataset(spec, args.workers, args.overwrite, progress=True)
    except ValueError as error:
        parser.error(f"argument --{error}")
    except OSError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    print(f"{args.count} scenes: {json_file} and {json_file.with_suffix('')}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
