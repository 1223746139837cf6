"""Timings side by side: ``benchmark.py infer``, what a prediction costs in each precision,
``ratio``, the network over VGG-16's encoder, and ``eval``, the evaluation over the network. And
``crowds``: how well many small objects are counted, by the network's size and by windows."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from cosal_d2.config import DEFAULT_CONFIG, find_config, get_cosal_config

SIZES = ((320, 320), (480, 640), (808, 1078))
COLUMNS = (
    *("height", "width", "batch", "dtype", "engine", "gflops"),
    *("encoder_ms", "network_ms", "ratio", "end_to_end_ms", "peak_mb"),
)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    infer = commands.add_parser(
        "infer", help="what a prediction costs, as docs/performance.md says"
    )
    infer.add_argument("--config-file", default=DEFAULT_CONFIG, help="default: %(default)s")
    infer.add_argument("--sizes", nargs="+", type=_size, default=SIZES, metavar="HxW")
    infer.add_argument("--batches", nargs="+", type=_positive, default=(1, 8), metavar="N")
    infer.add_argument("--rounds", type=_positive, default=5, help="timed rounds (%(default)s)")
    infer.add_argument(
        "--onnx", metavar="FILE", help="a file of that network from cosal export, timed as well"
    )
    infer.add_argument("--json", type=Path, metavar="FILE", help="takes the rows")
    for name, what in (("ratio", "the network over VGG-16's encoder"), ("eval", "the evaluation")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--config-file", nargs="+", default=[DEFAULT_CONFIG])
        command.add_argument("--size", nargs=2, type=int, default=[480, 640], metavar=("H", "W"))
        command.add_argument(
            "--rounds", type=_positive, default=9, help="timed rounds (%(default)s)"
        )
    crowds = commands.add_parser("crowds", help="how well many small objects are counted")
    crowds.add_argument("--config-file", default=DEFAULT_CONFIG, help="default: %(default)s")
    for name, default, what in (
        ("--objects", (20, 50, 100, 200), "objects of a crowd"),
        ("--sizes", (320,), "pixels of the shorter side that the network sees"),
        ("--tiles", (1, 2, 4), "windows along the longer side"),
    ):
        crowds.add_argument(
            name, nargs="+", type=_positive, default=default, metavar="N", help=what
        )
    crowds.add_argument(
        "--scenes", type=_positive, default=10, help="crowds of a number (%(default)s)"
    )
    return parser


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text}: give HEIGHTxWIDTH, such as 480x640")
    return int(height), int(width)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give 1 or more")
    return int(text)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the timings."""
    parser = build_parser()
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")  # Detectron2's and torch's of each other, between the rows
    try:
        for name in [args.config_file] if isinstance(args.config_file, str) else args.config_file:
            find_config(name)  # before anything heavy is imported
        {"infer": _infer, "ratio": _ratio, "eval": _eval, "crowds": _crowds}[args.what](args)
    except (OSError, ValueError) as error:
        parser.exit(1, f"benchmark.py: error: {error}\n")


def _infer(args: argparse.Namespace) -> None:
    from cosal_d2.inference.benchmark import prediction_rows
    from cosal_d2.modeling.precision import resolve_dtype
    from cosal_d2.utils.files import write_json

    cfg = get_cosal_config(args.config_file)
    dtype = str(resolve_dtype(cfg.MODEL.DTYPE, cfg.MODEL.DEVICE)).removeprefix("torch.")
    print(
        f"{args.config_file} on {_machine(cfg.MODEL.DEVICE)}, by default in {dtype}; memory is "
        f"channels_last; times are ms a picture, medians of {args.rounds} rounds"
    )
    logging.getLogger("cosal_d2").setLevel(logging.ERROR)  # the device is in that line
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of processes that measure memory
    rows = []
    settings = (args.config_file, args.sizes, args.batches, args.rounds)
    for row in prediction_rows(*settings, onnx=args.onnx):
        if not rows:
            print(*(f"{name:>{len(name)}}" for name in COLUMNS), sep="  ")
        rows.append(row)
        print(*(f"{_text(row[name]):>{len(name)}}" for name in COLUMNS), sep="  ", flush=True)
        if args.json:
            write_json(args.json, rows)
    totals: dict[str, float] = {}
    for row in rows:
        if row["engine"] == "eager":
            totals[row["dtype"]] = totals.get(row["dtype"], 0) + row["network_ms"] * row["batch"]
    print(f"least time of the network over all eager rows: {min(totals, key=totals.get)}")


def _machine(device: str) -> str:
    import torch

    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{torch.get_num_threads()} CPU threads, {torch.backends.cpu.get_cpu_capability()}"
    return f"{name}, torch {torch.__version__}"


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _ratio(args: argparse.Namespace) -> None:
    from cosal_d2.inference.cost_ratios import cost_ratio

    for name in args.config_file:
        ratio = cost_ratio(name, *args.size, args.rounds)
        print(f"{name}: whole network / VGG-16's encoder = {ratio:.2f} at {_at(args)}")


def _eval(args: argparse.Namespace) -> None:
    from cosal_d2.inference.cost_ratios import evaluation_ratios

    for name in args.config_file:
        for measures, (ratio, seconds) in evaluation_ratios(name, *args.size, args.rounds).items():
            print(
                f"{name}: evaluation, {measures} measures / whole network = {ratio:.3f} at "
                f"{_at(args)} ({1000 * seconds:.1f} ms an image)"
            )


def _crowds(args: argparse.Namespace) -> None:
    from cosal_d2.inference.crowds import CrowdRow, crowd_rows

    columns = [f.name for f in dataclasses.fields(CrowdRow)]
    print(*columns, sep="  ")
    for row in crowd_rows(args.config_file, args.objects, args.sizes, args.tiles, args.scenes):
        values = dataclasses.astuple(row)
        pairs = zip(values, columns, strict=True)
        print(*(f"{_text(value):>{len(name)}}" for value, name in pairs), sep="  ", flush=True)


def _at(args: argparse.Namespace) -> str:
    return f"{args.size[0]}x{args.size[1]}"


if __name__ == "__main__":
    main()
