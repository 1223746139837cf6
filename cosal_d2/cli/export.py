"""`cosal export`."""

from __future__ import annotations

import argparse
import os

from cosal_d2.cli.verbs import add_config_file, add_opts, add_verb
from cosal_d2.utils.given_files import check_weights


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add `export` to the verbs of `cosal`."""
    parser = add_verb(
        verbs,
        "export",
        run,
        help="write a network with its weights for other engines: ONNX or torch.export",
        example="cosal export --output cosal_r50.onnx\n"
        "cosal export --output cosal_r50_int8.onnx --int8 photos/\n"
        "cosal export --output cosal_r50.pt2",
    )
    add = parser.add_argument
    add(
        "--output",
        required=True,
        metavar="FILE",
        help="FILE.onnx, for cosal predict --engine onnxruntime among others, or FILE.pt2; outputs "
        "are a map and, with the grouping, judged regions, of which numpy makes objects and groups",
    )
    add_config_file(parser)
    add(
        "--int8",
        nargs="+",
        metavar="PATH",
        help="convolutions in int8, with scales measured on these pictures: files, folders, glob "
        "patterns; a few dozen, like those that it will see",
    )
    add_opts(parser, "config changes, such as MODEL.WEIGHTS output/model_final.pth")


def run(args: argparse.Namespace) -> None:
    """Export."""
    from cosal_d2.utils.requirements import require_detectron2

    require_detectron2()
    from cosal_d2.inference.export.onnx_file import export_path
    from cosal_d2.inference.sources import find_pictures

    export_path(args.output, bool(args.int8))
    check_weights(args.opts)
    pictures = []
    if args.int8:
        found = find_pictures(args.int8, args.output, option="--int8")
        pictures = [x.path for x in found.pictures]
    # What takes long to import comes after what may be wrong.
    from cosal_d2.inference.export.exporter import OPSET, export_network

    path = export_network(args.config_file, args.output, args.opts, pictures)
    what = "torch.export"
    if path.suffix == ".onnx":
        what = f"ONNX opset {OPSET}, {'int8' if args.int8 else 'float32'}"
    print(f"{path}: {what}, {os.path.getsize(path) / 1e6:.1f} MB")
