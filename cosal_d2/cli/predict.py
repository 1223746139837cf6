"""`cosal predict`."""

from __future__ import annotations

import argparse

from cosal_d2.cli.verbs import add_verb


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add `predict` to the verbs of `cosal`."""
    parser = add_verb(
        verbs,
        "predict",
        run,
        help="draw the co-saliency maps of pictures",
        example="cosal predict --input photos/ --output maps",
    )
    parser.add_argument("--input", required=True, nargs="+", metavar="PATH")
    parser.add_argument("--output", required=True, metavar="FOLDER")


def run(args: argparse.Namespace) -> int:
    """Draw the maps."""
    from cosal_d2.inference.pipeline import run_predict

    return run_predict(args)
