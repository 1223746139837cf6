"""The conversions as subcommands of `tools/prepare_dataset.py`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from cosal_d2.prepare.convert import FORMATS
from cosal_d2.prepare.convert.convert import Options, convert
from cosal_d2.prepare.convert.selection import Selection
from cosal_d2.prepare.convert.writer import Target, Written

SHOWN_FAULTS = 20


def add_target_arguments(parser: ArgumentParser, name: bool = True) -> None:
    """Where and how a dataset is written."""
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="ROOT", help="dataset root")
    if name:
        add("--name", required=True, help="writes ROOT/cosal/NAME.json and its folder")
    add("--link", action="store_true", help="symbolic links to the pictures instead of copies")
    add("--overwrite", action="store_true", help="replace a dataset of the same name")
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")


def target(args: Namespace, name: str | None = None) -> Target:
    """The target that the options name."""
    return Target(args.out, name or args.name, args.link, args.overwrite, args.workers, True)


def _add_selection_arguments(parser: ArgumentParser, defaults: dict) -> None:
    standard = Selection(**defaults)
    add = parser.add_argument
    add(
        "--min-instances",
        type=int,
        default=standard.min_instances,
        metavar="N",
        help="least number of objects of the co-salient class (%(default)s)",
    )
    add(
        "--min-area",
        type=float,
        default=standard.min_area,
        metavar="SHARE",
        help="least area of each of these, and of a distractor, as a share of the picture "
        "(%(default)s)",
    )
    add(
        "--min-union",
        type=float,
        default=standard.min_union,
        metavar="SHARE",
        help="least share of the picture that the co-salient class covers (%(default)s)",
    )
    add(
        "--max-union",
        type=float,
        default=standard.max_union,
        metavar="SHARE",
        help="largest such share (%(default)s)",
    )
    add(
        "--class",
        dest="classes",
        nargs="+",
        default=[],
        metavar="NAME",
        help="only these can be co-salient (default: the class that covers most)",
    )
    add(
        "--keep-empty",
        action="store_true",
        help="keep pictures in which nothing repeats, with an empty truth",
    )
    add("--max-side", type=int, metavar="PIXELS", help="make larger pictures smaller")
    add("--skip-bad", action="store_true", help="leave faulty pictures out instead of stopping")


def _options(args: Namespace) -> Options:
    selection = Selection(
        min_instances=args.min_instances,
        min_area=args.min_area,
        min_union=args.min_union,
        max_union=args.max_union,
        classes=tuple(args.classes),
        keep_empty=args.keep_empty,
    )
    return Options(selection, args.max_side, args.skip_bad)


def _run(module: object, args: Namespace) -> int:
    options, place = _options(args), target(args)
    print(summary(convert(module.source(args), place, options), args.out))
    return 0


def summary(written: Written, root: Path) -> str:
    """What was written, and how to use it."""
    name = written.json_file.stem
    lines = [
        f"{written.json_file}: {written.images} pictures, {written.instances} co-salient objects, "
        f"{written.distractors} distractors; registered as cosal_{name} where "
        f"DETECTRON2_DATASETS={root}"
    ]
    lines += [f"left out: {n} {reason}" for reason, n in written.skipped.most_common()]
    lines += [f"faulty: {message}" for message in written.faults[:SHOWN_FAULTS]]
    if len(written.faults) > SHOWN_FAULTS:
        lines.append(f"and {len(written.faults) - SHOWN_FAULTS} more faulty pictures")
    return "\n".join(lines)


def add_commands(commands) -> None:
    """Add a subcommand for each format to an argparse subparsers object."""
    for name, module in FORMATS.items():
        parser = commands.add_parser(name, help=module.HELP, description=f"Convert {module.HELP}.")
        module.add_arguments(parser)
        add_target_arguments(parser)
        _add_selection_arguments(parser, getattr(module, "DEFAULTS", {}))
        parser.set_defaults(run=partial(_run, module))
