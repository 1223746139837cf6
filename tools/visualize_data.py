"""Draw what a training sees: ``visualize_data.py --config-file FILE --out FOLDER``."""

from __future__ import annotations

import argparse
import sys

from cosal_d2.utils.requirements import require_detectron2

require_detectron2()

from detectron2.utils.logger import setup_logger  # noqa: E402

from cosal_d2.config import get_cosal_config  # noqa: E402
from cosal_d2.inference.data_view import draw_training_samples  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Draw the first training samples after augmentation. Each becomes a PNG with "
        "three panels: masks and boxes (green: co-salient, orange: distractor); the truth; and a "
        "few triplets, each in a colour of its own (solid: anchor, dashed: positive, dotted: "
        "negative)."
    )
    parser.add_argument(
        "--config-file",
        required=True,
        metavar="FILE",
        help="a path, or the name of a shipped config",
    )
    parser.add_argument(
        "--data", metavar="NAME", help="a registered dataset (default: the config's DATASETS.TRAIN)"
    )
    parser.add_argument(
        "--count", type=int, default=12, metavar="N", help="samples (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="where NUMBER_STEM.png go; files of these names are replaced, others stay",
    )
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config changes, such as INPUT.OCCLUSION.PROB 1.0 or SEED 7",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Draw; 0, or 1 with a message when the config or the data is unusable."""
    args = build_parser().parse_args(argv)
    setup_logger(name="cosal_d2")
    try:
        cfg = get_cosal_config(args.config_file, args.opts)
        if args.data:
            cfg.DATASETS.TRAIN = (args.data,)
        paths = list(draw_training_samples(cfg, args.count, args.out))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(paths)} samples drawn into {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
