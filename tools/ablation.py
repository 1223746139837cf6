"""Train the columns of the paper's Table 1 from one config, and write the table.

``ablation.py --config-file FILE --data NAME --budget MINUTES --columns 4,6,7 --seeds 0 1 2`` trains
each column with each seed for an equal number of steps. The same command goes on where an earlier
one stopped; finished cells are never trained again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# Importing torch is part of the budget.
STARTED = time.monotonic()

from cosal_d2.utils.requirements import require_detectron2  # noqa: E402

require_detectron2()

from detectron2.utils.logger import setup_logger  # noqa: E402

import cosal_d2.data as _  # noqa: E402, F401  (registers the datasets)
from cosal_d2.config import get_cosal_config  # noqa: E402
from cosal_d2.paper.ablation import Ablation, run_ablation  # noqa: E402
from cosal_d2.paper.ablation_config import column_files, find_column  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--list", action="store_true", help="print the columns there are, and end")
    add("--config-file", metavar="FILE", help="the base config: a path or a shipped one's name")
    add("--data", nargs="+", metavar="NAME", help="training datasets (default: the config's)")
    add("--test", nargs="+", metavar="NAME", help="test datasets (default: the config's)")
    add(
        "--columns",
        nargs="+",
        default=["1,2,3,4,5,6,7"],
        metavar="COLUMN",
        help="numbers, names or yaml paths, separated by commas or blanks (default: the paper's)",
    )
    add("--seeds", nargs="+", type=int, default=[0], metavar="SEED")
    add(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder of the table (default: output/ablation/CONFIG-DATA)",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--budget",
        type=float,
        metavar="MINUTES",
        help="wall-clock time of the whole command: the steps of a new table are planned from it",
    )
    size.add_argument("--steps", type=int, help="the steps of each training, instead of a budget")
    add("--keep-weights", action="store_true", help="keep the trainable weights of each cell")
    add(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="changes of the base config; last on the line",
    )
    return parser


def relative_command(argv: list[str]) -> str:
    """The command line without the folders of absolute paths outside the current one."""
    here = os.getcwd() + os.sep
    parts = [x[len(here) :] if x.startswith(here) else x for x in argv]
    parts = [os.path.basename(x) if os.path.isabs(x) else x for x in parts]
    return shlex.join(["tools/ablation.py", *parts])


def default_folder(config_file: str, train: Sequence[str]) -> Path:
    """The table's folder where none is given: of its own for each config and training data."""
    return Path("output", "ablation", "-".join([Path(config_file).stem, *train]))


def main(argv: list[str]) -> int:
    """Print the table; 0 when it is complete, 1 when the command ended before that."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.list:
        for path in column_files():
            column = find_column(path)
            print(f"{column.name:>3}  {column.title}  ({column.file})")
        return 0
    if not args.config_file:
        parser.error("--config-file is needed (or --list)")
    try:
        base = get_cosal_config(args.config_file, args.opts)
        base.DATASETS.TRAIN = tuple(args.data or base.DATASETS.TRAIN)
        base.DATASETS.TEST = tuple(args.test or base.DATASETS.TEST)
        out = args.out or default_folder(args.config_file, base.DATASETS.TRAIN)
        names = [name for entry in args.columns for name in entry.split(",") if name]
        ablation = Ablation(
            config_name=os.path.basename(args.config_file),
            base=base,
            columns=[find_column(name) for name in names],
            seeds=args.seeds,
            folder=out,
            steps=args.steps,
            budget_minutes=args.budget,
            keep_weights=args.keep_weights,
            command=relative_command(argv),
            started=STARTED,
        )
        for name in ("cosal_d2", "detectron2", "fvcore"):
            setup_logger(str(out / "runs"), name=name)
        stopped = run_ablation(ablation)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    report = out / "ablation.md"
    if report.is_file():
        print(f"\n{report.read_text(encoding='utf-8')}")
    if stopped:
        print(f"{stopped}: the same command goes on from here", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
