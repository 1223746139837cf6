"""Time the whole network over its encoder, alternately, in one run: ``benchmark.py ratio``."""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from detectron2.modeling import build_model

import cosal_d2.modeling as _  # noqa: F401  (registers the network)
from cosal_d2.config import get_cosal_config


def cost_ratio(config_file: str, height: int, width: int, rounds: int) -> float:
    """Median over rounds of time(network) / time(encoder), float32, batch 1, on the CPU.

    Args:
        config_file: the network; its weights do not matter and are random.
        height, width: of the input, in pixels.
        rounds: how many pairs are timed.
    """
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


def main() -> None:
    """Print the ratio of each config."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["ratio"], help="ratio: whole network over encoder")
    parser.add_argument("--config-file", nargs="+", default=["cosal_vgg16_cpu.yaml"])
    parser.add_argument("--size", nargs=2, type=int, default=[480, 640], metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    for config_file in args.config_file:
        ratio = cost_ratio(config_file, *args.size, args.rounds)
        print(
            f"{config_file}: whole network / encoder = {ratio:.2f} at {args.size[0]}x{args.size[1]}"
        )


if __name__ == "__main__":
    main()
