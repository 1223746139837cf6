"""The paper's Table 2 and Figures 5 and 6 in one command: ``table2.py [--dataset NAME|JSON]``.

Runs FT, CWS and the networks that have weights, takes the maps of other methods from folders,
scores all alike, and writes results.md, table2_pr.png and .svg, and table2_gallery.png. A stopped
run goes on with the maps that are missing. Methods: FT, CWS, U-Net, RFCN, PiCANet, DCL, LFM,
ours-offline, ours-online; --maps takes any other name too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from cosal_d2.utils.requirements import require_detectron2

require_detectron2()

SYNTHETIC = "synthetic"


def pair(text: str) -> tuple[str, str]:
    """``METHOD=VALUE`` of the command line."""
    method, sign, value = text.partition("=")
    if not (method and sign and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form METHOD=VALUE")
    return method, value


def by_method(option: str, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Values by method.

    Raises:
        ValueError: a method is given twice.
    """
    values: dict[str, str] = {}
    for method, value in pairs:
        if method in values:
            raise ValueError(f"{option} {method}={value}: {method} is given twice; give it once")
        values[method] = value
    return values


def shown(args: argparse.Namespace) -> list[str]:
    """The command as the page shows it: what the numbers depend on, files without their folder."""
    command = ["tools/table2.py"]
    for option in ("dataset", "gallery"):
        value = getattr(args, option)
        name = Path(value).name if Path(value).is_absolute() else value
        command += [f"--{option}", name]
    for option in ("maps", "weights", "config"):
        pairs = [f"{method}={Path(value).name}" for method, value in getattr(args, option)]
        command += [f"--{option}", *pairs] if pairs else []
    command += ["--pictures", str(args.pictures)]
    return command + (["--opts", *args.opts] if args.opts else [])


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", default="cosal_val", metavar="NAME|JSON", help="default: %(default)s")
    more = {"nargs": "+", "type": pair, "default": [], "action": "extend"}
    add("--maps", metavar="METHOD=FOLDER", help="maps that are there already", **more)
    add("--weights", metavar="METHOD=FILE", help="a checkpoint of U-Net or ours-*", **more)
    add("--config", metavar="METHOD=FILE", help="the config it was trained with", **more)
    add(
        "--gallery",
        default=SYNTHETIC,
        metavar="NAME|JSON",
        help="pictures of Figure 6 (default: %(default)s scenes, which anybody may publish)",
    )
    add("--pictures", type=int, default=6, metavar="N", help="of Figure 6 (default: %(default)s)")
    add("--out", type=Path, default=Path("docs"), metavar="FOLDER", help="default: %(default)s")
    add(
        "--work",
        type=Path,
        default=Path("output/table2"),
        metavar="FOLDER",
        help="maps and metrics.json go there (default: %(default)s)",
    )
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    add(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config changes of the networks; last on the line",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write table and figures; 0, or 1 with a message when something is unusable."""
    args = build_parser().parse_args(argv)
    # Here, since worker processes import this file and need neither torch nor Detectron2.
    from cosal_d2.paper.table2 import Sources, Table2Options, write_table2

    try:
        if args.pictures < 1:
            raise ValueError(f"--pictures is {args.pictures}; give 1 or more")
        sources = Sources(
            {method: Path(folder) for method, folder in by_method("--maps", args.maps).items()},
            by_method("--weights", args.weights),
            by_method("--config", args.config),
            tuple(args.opts),
        )
        options = Table2Options(
            dataset=args.dataset,
            gallery=None if args.gallery == SYNTHETIC else args.gallery,
            pictures=args.pictures,
            out=args.out,
            work=args.work,
            workers=args.workers,
            command=shown(args),
        )
        print(write_table2(options, sources, progress=True))
    except (ImportError, OSError, ValueError, BrokenProcessPool) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
