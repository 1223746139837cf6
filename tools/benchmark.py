"""Timings side by side: ``benchmark.py ratio``, the network over VGG-16's encoder, and
``benchmark.py eval``, the evaluation over the network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cosal_d2.inference.benchmark import cost_ratio, evaluation_ratios


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("ratio", "eval"))
    parser.add_argument("--config-file", nargs="+", default=["cosal_vgg16_cpu.yaml"])
    parser.add_argument("--size", nargs=2, type=int, default=[480, 640], metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds (%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Print the timings."""
    args = build_parser().parse_args(argv)
    size = f"{args.size[0]}x{args.size[1]}"
    for name in args.config_file:
        if args.what == "ratio":
            ratio = cost_ratio(name, *args.size, args.rounds)
            print(f"{name}: whole network / VGG-16's encoder = {ratio:.2f} at {size}")
            continue
        for measures, (ratio, seconds) in evaluation_ratios(name, *args.size, args.rounds).items():
            print(
                f"{name}: evaluation, {measures} measures / whole network = {ratio:.3f} at {size} "
                f"({1000 * seconds:.1f} ms an image)"
            )


if __name__ == "__main__":
    main()
