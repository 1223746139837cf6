"""The console command `cosal`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

from cosal_d2 import __version__
from cosal_d2.utils.requirements import require_detectron2


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cosal COMMAND ...` and return its exit status; `argv` defaults to the process's own."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="cosal", description="Co-saliency detection within one single image."
    )
    parser.add_argument("--version", action="version", version=f"cosal_d2 {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    predict = commands.add_parser("predict", help="draw the co-saliency maps of pictures")
    if argv[:1] == ["predict"]:  # torch and Detectron2 are loaded for the command that needs them
        try:
            require_detectron2()
        except ImportError as error:
            parser.exit(1, f"cosal: {error}\n")
        # Detectron2's own, about its calls into torch: nothing that the user could act on.
        warnings.filterwarnings("ignore", message=".*torch.jit.script. is deprecated")
        warnings.filterwarnings("ignore", message="torch.meshgrid: in an upcoming release")
        from cosal_d2.inference.pipeline import add_predict_arguments, run_predict

        add_predict_arguments(predict)
        predict.set_defaults(run=run_predict)
    args = parser.parse_args(argv)
    return args.run(args)
