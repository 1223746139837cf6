"""The console command `cosal`: thin parsers here, heavy imports only in the verb that runs."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from cosal_d2 import __version__
from cosal_d2.cli import bulk, check, convert, draw, evaluate, export, paper, predict, serve, train
from cosal_d2.config import find_config


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; building it loads neither torch nor Detectron2."""
    parser = argparse.ArgumentParser(
        prog="cosal", description="Co-saliency detection within one single image."
    )
    parser.add_argument("--version", action="version", version=f"cosal_d2 {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    predict.add_verbs(verbs)
    bulk.add_verbs(verbs)
    serve.add_verbs(verbs)
    train.add_verbs(verbs)
    evaluate.add_verbs(verbs)
    export.add_verbs(verbs)
    data = _group(verbs, "data", "draw, convert, check, merge, split and describe datasets")
    convert.add_verbs(data)
    check.add_verbs(data)
    draw.add_verbs(data)
    paper.add_verbs(_group(verbs, "paper", "reproduce the paper's tables"))
    return parser


def _group(verbs: argparse._SubParsersAction, name: str, help: str) -> argparse._SubParsersAction:
    """The verbs of `cosal NAME`."""
    parser = verbs.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    return parser.add_subparsers(dest="what", required=True, metavar="VERB")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cosal VERB ...`; `argv` defaults to the process's own.

    Returns:
        the exit status: 0, 1 after an error (one sentence on stderr) or where a verb says so, 130
        when interrupted.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that the terminal cannot show is no reason to stop.
        sys.stdout.reconfigure(errors="backslashreplace")
    args = build_parser().parse_args(argv)
    try:
        if getattr(args, "config_file", None):
            find_config(args.config_file)  # before anything heavy is imported
        return args.run(args) or 0
    except (ImportError, OSError, ValueError) as error:
        print(f"cosal: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cosal: interrupted", file=sys.stderr)
        return 130
