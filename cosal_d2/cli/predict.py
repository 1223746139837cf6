"""`cosal predict`."""

from __future__ import annotations

import argparse

from cosal_d2.cli.verbs import add_opts, add_verb
from cosal_d2.config import DEFAULT_CONFIG


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add `predict` to the verbs of `cosal`."""
    parser = add_verb(
        verbs,
        "predict",
        run,
        help="draw the co-saliency maps of pictures",
        example="cosal predict --input photos/ --output maps\n"
        "cosal predict --input a.jpg 'more/*.png' --output masks --confidence-threshold 0.5",
    )
    parser.add_argument(
        "--config-file",
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="a path, or the name of a shipped config (default: %(default)s)",
    )
    parser.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="PATH",
        help="pictures, folders of pictures, or glob patterns",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FOLDER",
        help="takes STEM_map.png and STEM_overlay.png of each picture",
    )
    parser.add_argument(
        "--confidence-threshold",
        type=_probability,
        metavar="P",
        help="write binary maps, white where the probability reaches P (default: grey levels)",
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="where to compute (default: cuda if there is one)"
    )
    add_opts(parser, "config changes, such as MODEL.WEIGHTS output/model_final.pth")


def _probability(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def run(args: argparse.Namespace) -> int:
    """Draw the maps."""
    from cosal_d2.config import get_cosal_config
    from cosal_d2.inference import CoSaliencyPredictor
    from cosal_d2.inference.pipeline import find_pictures, predict_pictures

    paths = find_pictures(args.input, args.output)
    opts = ["MODEL.DEVICE", args.device] if args.device else []
    cfg = get_cosal_config(args.config_file, [*args.opts, *opts])
    if args.device == "cuda" and cfg.MODEL.DEVICE != "cuda":
        raise ValueError("--device cuda: torch finds no GPU here; use --device cpu")
    predictor = CoSaliencyPredictor(cfg)
    left_out = predict_pictures(predictor, paths, args.output, args.confidence_threshold)
    print(f"{len(paths) - len(left_out)} of {len(paths)} pictures done, results in {args.output}")
    return 1 if left_out else 0
