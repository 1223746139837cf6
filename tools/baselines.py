"""Maps of a classical method: ``baselines.py METHOD --dataset NAME|JSON --out FOLDER``.

FT is frequency-tuned saliency (Achanta et al. 2009), CWS cluster-based co-saliency within one
picture (Fu et al. 2013). A stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from cosal_d2.utils.requirements import require_detectron2

require_detectron2()

from cosal_d2.paper.classical import METHODS  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("method", choices=list(METHODS), metavar="METHOD", help=" or ".join(METHODS))
    add(
        "--dataset",
        required=True,
        metavar="NAME|JSON",
        help="a registered dataset, or a json with its images in the folder of the same name",
    )
    add("--out", type=Path, required=True, metavar="FOLDER", help="writes STEM.png there")
    add("--seed", type=int, default=0, help="of CWS's clustering (default: %(default)s)")
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    add("--overwrite", action="store_true", help="make all maps anew")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the maps; 0, or 1 with a message when the data are unusable."""
    args = build_parser().parse_args(argv)
    # Here, since worker processes import this file and need neither torch nor Detectron2.
    from cosal_d2.data.sources import dataset_name
    from cosal_d2.paper.baseline_maps import write_baseline_maps

    try:
        written = write_baseline_maps(
            args.method,
            dataset_name(args.dataset),
            args.out,
            seed=args.seed,
            workers=args.workers,
            overwrite=args.overwrite,
            progress=True,
        )
    except (OSError, ValueError, BrokenProcessPool) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{written} maps of {args.method} written to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
