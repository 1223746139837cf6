"""Timings of two things side by side: ``benchmark.py ratio`` and ``eval``."""

from __future__ import annotations

import argparse


def _ratio(args: argparse.Namespace) -> None:
    from cosal_d2.inference.benchmark import cost_ratio

    for config_file in args.config_file:
        ratio = cost_ratio(config_file, *args.size, args.rounds)
        size = f"{args.size[0]}x{args.size[1]}"
        print(f"{config_file}: whole network / encoder = {ratio:.2f} at {size}")


def _eval(args: argparse.Namespace) -> None:
    from cosal_d2.inference.benchmark import evaluation_ratios

    for config_file in args.config_file:
        ratios = evaluation_ratios(config_file, *args.size, args.rounds)
        for name, (ratio, seconds) in ratios.items():
            print(
                f"{config_file}: evaluation, {name} measures / whole network = {ratio:.3f} at "
                f"{args.size[0]}x{args.size[1]} ({1000 * seconds:.1f} ms an image)"
            )


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    for name, run, text in (
        ("ratio", _ratio, "whole network over its encoder, in one run"),
        ("eval", _eval, "evaluation over the whole network, in one run"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--config-file", nargs="+", default=["cosal_vgg16_cpu.yaml"])
        command.add_argument("--size", nargs=2, type=int, default=[480, 640], metavar=("H", "W"))
        command.add_argument("--rounds", type=int, default=9)
        command.set_defaults(run=run)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Print the timings."""
    args = build_parser().parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    main()
