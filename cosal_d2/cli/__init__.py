"""The console command `cosal`: thin parsers here, heavy imports only in the verb that runs."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

from cosal_d2 import __version__
from cosal_d2.cli import predict


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; building it loads neither torch nor Detectron2."""
    parser = argparse.ArgumentParser(
        prog="cosal", description="Co-saliency detection within one single image."
    )
    parser.add_argument("--version", action="version", version=f"cosal_d2 {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    predict.add_verbs(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cosal VERB ...`; `argv` defaults to the process's own.

    Returns:
        the exit status: 0, 1 after an error (one sentence on stderr) or where a verb says so, 130
        when interrupted.
    """
    # Detectron2's own, about its calls into torch: nothing that the user could act on.
    warnings.filterwarnings("ignore", message=".*torch.jit.script. is deprecated")
    warnings.filterwarnings("ignore", message="torch.meshgrid: in an upcoming release")
    args = build_parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except (ImportError, OSError, ValueError) as error:
        print(f"cosal: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cosal: interrupted", file=sys.stderr)
        return 130
