"""Timings of two things side by side: ``benchmark.py ratio`` and ``benchmark.py data``."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path


def cost_ratio(config_file: str, height: int, width: int, rounds: int) -> float:
    """Median over rounds of time(network) / time(encoder), float32, batch 1, on the CPU.

    Args:
        config_file: the network; its weights do not matter and are random.
        height, width: of the input, in pixels.
        rounds: how many pairs are timed.
    """
    import torch
    from detectron2.modeling import build_model

    import cosal_d2.modeling as _  # noqa: F401  (registers the network)
    from cosal_d2.config import get_cosal_config

    cfg = get_cosal_config(
        config_file,
        ["MODEL.DEVICE", "cpu", "MODEL.DTYPE", "float32", "MODEL.VGG.ALLOW_RANDOM", True],
    )
    model = build_model(cfg).eval()
    picture = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    inputs = [{"image": picture, "height": height, "width": width}]
    pixels = model.preprocess([picture]).tensor
    ratios = []
    with torch.no_grad():
        for i in range(rounds + 1):
            start = time.perf_counter()
            model.backbone(pixels)
            middle = time.perf_counter()
            model(inputs)
            end = time.perf_counter()
            if i:
                ratios.append((end - middle) / (middle - start))
    return statistics.median(ratios)


def _ratio(args: argparse.Namespace) -> None:
    for config_file in args.config_file:
        ratio = cost_ratio(config_file, *args.size, args.rounds)
        print(
            f"{config_file}: whole network / encoder = {ratio:.2f} at {args.size[0]}x{args.size[1]}"
        )


def _data(args: argparse.Namespace) -> None:
    from cosal_d2 import _light

    _light.load_lazily()  # as in tools/prepare_dataset.py
    from cosal_d2.data.converters.speed import measure

    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        speed = measure(Path(folder), args.images, args.rounds, args.workers)
    print(
        f"{args.images} images: conversion / decoding and copying = {speed.ratio:.2f} "
        f"({speed.conversion:.1f} s / {speed.plain:.1f} s), memory {speed.memory:.0f} MiB at most"
    )


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    ratio = commands.add_parser("ratio", help="whole network over its encoder, in one run")
    ratio.add_argument("--config-file", nargs="+", default=["cosal_vgg16_cpu.yaml"])
    ratio.add_argument("--size", nargs=2, type=int, default=[480, 640], metavar=("H", "W"))
    ratio.add_argument("--rounds", type=int, default=9)
    ratio.set_defaults(run=_ratio)
    data = commands.add_parser(
        "data", help="converting COCO-like data over only decoding and copying its pictures"
    )
    data.add_argument("--images", type=int, default=5000, metavar="N", help="(%(default)s)")
    data.add_argument("--rounds", type=int, default=3, help="timed pairs (%(default)s)")
    data.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    data.add_argument("--folder", metavar="FOLDER", help="takes temporary files (the system's)")
    data.set_defaults(run=_data)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Print the timings."""
    args = build_parser().parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    main()
