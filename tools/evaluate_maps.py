"""Score folders of maps: ``evaluate_maps.py --dataset DATA --maps METHOD=FOLDER ... --out OUT``.

DATA is a registered dataset, a COCO json (its images are not needed) or a folder of masks. A map is
an 8-bit grey PNG, STEM.png or STEM_map.png. The measures are explained in docs/metrics.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cosal_d2.config import MEASURES
from cosal_d2.utils.requirements import require_detectron2


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", required=True, metavar="NAME|JSON|FOLDER", help="the truth")
    add(
        "--maps",
        nargs="+",
        action="extend",
        required=True,
        metavar="METHOD=FOLDER",
        help="a method's name and its maps; any number",
    )
    add("--out", type=Path, required=True, metavar="OUT", help="folder for the results")
    add("--allow-missing", action="store_true", help="score the rest where maps are missing")
    add("--measures", default="all", choices=MEASURES, help="default: all")
    add("--workers", type=int, metavar="N", help="processes for S, E and weighted F; 0: none")
    add("--resamples", type=int, default=2000, metavar="N", help="of the bootstrap; 0: none")
    add("--seed", type=int, default=0, help="of the bootstrap")
    return parser


def parse_methods(entries: list[str]) -> dict[str, str]:
    """Folders by method.

    Raises:
        ValueError: an entry is not METHOD=FOLDER, or names a method twice.
    """
    methods: dict[str, str] = {}
    for entry in entries:
        name, sign, folder = entry.partition("=")
        name = name.strip()
        if not (name and sign and folder):
            raise ValueError(f"--maps {entry}: write METHOD=FOLDER, such as ours=output/maps")
        if name in methods:
            raise ValueError(f"--maps {entry}: {name} is given twice; give each method its name")
        methods[name] = folder
    return methods


def main(argv: list[str] | None = None) -> int:
    """Score, print the table and write the files; 1 where something is missing or unreadable."""
    args = build_parser().parse_args(argv)
    try:
        require_detectron2()
        from cosal_d2.evaluation.maps import evaluate_methods
        from cosal_d2.evaluation.output import write_evaluation

        evaluation = evaluate_methods(
            args.dataset,
            parse_methods(args.maps),
            allow_missing=args.allow_missing,
            measures=args.measures,
            workers=args.workers,
            progress=True,
        )
        for line in [*evaluation.truth.notes, *evaluation.problems]:
            print(line, file=sys.stderr)
        text = write_evaluation(
            evaluation, args.out, dataset=args.dataset, resamples=args.resamples, seed=args.seed
        )
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text)
    total = len(evaluation.truth.records)
    for name, method in evaluation.methods.items():
        if len(method.results) < total:
            print(f"{name}: only {len(method.results)} of {total} images have a map")
    print(f"{evaluation.truth.name}: {total} images; results in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
