"""`check`, `merge`, `split` and `stats` as subcommands of `tools/prepare_dataset.py`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from cosal_d2.cli.convert import add_target_options, target
from cosal_d2.prepare.check.check import Checked, check_dataset
from cosal_d2.prepare.check.dataset import Dataset, find_json, load_dataset, sibling_splits
from cosal_d2.prepare.check.findings import summary, write_reports
from cosal_d2.prepare.check.near_duplicates import near_groups
from cosal_d2.prepare.check.parts import category_ids, items_of, merge, prints, write_items
from cosal_d2.prepare.check.repair import repair
from cosal_d2.prepare.check.split import assign, class_of, join_classes
from cosal_d2.prepare.convert.dataset_writer import Target

ROUNDS = 4
DATA = "NAME|JSON"
DATA_HELP = "X.json with its pictures in X/ beside it, or a name under $DETECTRON2_DATASETS"


def _fields(dataset: Dataset) -> dict:
    known = ("info", "images", "annotations", "categories")
    return {k: v for k, v in dataset.content.items() if k not in known}


def _add_check(commands) -> None:
    parser = commands.add_parser(
        "check",
        help="find everything that would bite later",
        description="Check a dataset. Exit status 1 on errors, 0 with only warnings.",
    )
    add = parser.add_argument
    add("data", metavar=DATA, help=DATA_HELP)
    add("--images", type=Path, metavar="FOLDER", help="pictures (default: X/ beside X.json)")
    add(
        "--against",
        nargs="+",
        metavar=DATA,
        help="other splits, which must not share pictures (default: jsons beside it whose names "
        "differ in train, val, test ... alone)",
    )
    add("--alone", action="store_true", help="compare with no other split")
    add("--fix", action="store_true", help="write a repaired copy and say what was done")
    add("--fixed-name", metavar="NAME", help="name of the copy (default: X_fixed)")
    add("--out", type=Path, metavar="ROOT", help="root of the copy (default: beside X.json)")
    add("--link", action="store_true", help="--fix: symbolic links instead of copies")
    add("--overwrite", action="store_true", help="--fix: replace a former copy")
    add(
        "--report",
        type=Path,
        default=Path("output/check"),
        metavar="FOLDER",
        help="X.txt and X.json go there (%(default)s)",
    )
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    parser.set_defaults(run=_check)


def _check(args: Namespace) -> int:
    dataset = load_dataset(args.data, args.images)
    place = _fixed_target(args, dataset) if args.fix else None
    if args.alone:
        against = []
    elif args.against:
        against = [find_json(name) for name in args.against]
    else:
        against = sibling_splits(dataset.json_file)
    checked = check_dataset(dataset, against, args.workers, progress=True)
    extra: dict = {"against": [str(p) for p in against]}
    for finding in checked.findings:
        print(finding)
    print(f"{dataset.json_file}: {summary(checked.findings)}")
    if place is not None and checked.errors:
        done, left = _fix(args, checked, place)
        for line in done:
            print(f"fixed: {line}")
        for line in left:
            print(f"not fixed: {line}")
        fixed = place.home / f"{place.name}.json"
        print(f"repaired copy: {fixed}")
        extra |= {"fixed": str(fixed), "repairs": done, "not_fixed": left}
    elif place is not None:
        print("no errors, so no repaired copy is written")
    text, report = write_reports(
        args.report, dataset.name, dataset.json_file, checked.findings, extra
    )
    print(f"reports: {text} and {report}")
    return 1 if checked.errors else 0


def _fixed_target(args: Namespace, dataset: Dataset) -> Target:
    name = args.fixed_name or f"{dataset.name}_fixed"
    home = dataset.json_file.resolve().parent
    root, folder = (home.parent, home.name) if args.out is None else (args.out, "cosal")
    return Target(root, name, args.link, args.overwrite, args.workers, True, folder)


def _fix(args: Namespace, checked: Checked, place: Target) -> tuple[list[str], list[str]]:
    """Repair until a check finds nothing more, and write the copy: what was done, what is left."""
    done: list[str] = []
    dataset, findings = checked.dataset, checked.findings
    for _ in range(ROUNDS):
        dataset, steps = repair(dataset, findings)
        done += steps
        again = check_dataset(dataset, checked.against, args.workers)
        findings = again.findings
        if not again.errors or not steps:
            break
    left = [str(f) for f in findings if f.severity == "error"]
    write_items(
        items_of(dataset),
        place,
        f"Repaired from {dataset.json_file.name}",
        category_ids(dataset),
        fields=_fields(dataset),
    )
    return done, left


def _add_merge(commands) -> None:
    parser = commands.add_parser(
        "merge",
        help="put datasets into one",
        description="Put datasets into one: classes are joined by name, ids are given anew.",
    )
    parser.add_argument("data", nargs="+", metavar=DATA, help=DATA_HELP)
    add_target_options(parser)
    parser.set_defaults(run=_merge)


def _merge(args: Namespace) -> int:
    place = target(args)
    print(merge([load_dataset(name) for name in args.data], place).summary())
    return 0


def _add_split(commands) -> None:
    parser = commands.add_parser(
        "split",
        help="split a dataset at random or by class",
        description="Split a dataset at random or by class; near-duplicates stay on one side.",
    )
    add = parser.add_argument
    add("data", metavar=DATA, help=DATA_HELP)
    add("--names", nargs="+", default=["train", "val"], help="of the sides (train val)")
    add(
        "--shares",
        nargs="+",
        type=float,
        metavar="SHARE",
        help="sizes of the sides, relative to one another (0.8 0.2; equal for more sides)",
    )
    add(
        "--by",
        choices=("random", "class"),
        default="random",
        help="class: each co-salient class is on one side alone (%(default)s)",
    )
    add("--seed", type=int, default=0, help="the same seed gives the same sides (%(default)s)")
    add_target_options(parser, name=False)
    parser.set_defaults(run=_split)


def _split(args: Namespace) -> int:
    shares = args.shares or ([0.8, 0.2] if len(args.names) == 2 else [1.0] * len(args.names))
    if len(shares) != len(args.names) or len(set(args.names)) < len(args.names):
        raise ValueError(f"names: {args.names} for the shares {shares}; give each side its own")
    if args.seed < 0:
        raise ValueError(f"seed: {args.seed} is negative; give 0 or more")
    dataset = load_dataset(args.data)
    places = [target(args, name) for name in args.names]
    items = items_of(dataset)
    groups = near_groups(prints(items, args.workers))
    near = len(items) - len(set(groups))
    if args.by == "class":
        groups = join_classes(groups, [class_of(item) for item in items])
    sides = assign(groups, shares, args.seed)
    for number, place in enumerate(places):
        part = [item for item, side in zip(items, sides, strict=True) if side == number]
        written = write_items(
            part,
            place,
            f"Part {place.name} of {dataset.name}, by {args.by}, seed {args.seed}",
            category_ids(dataset),
            fields=_fields(dataset),
        )
        print(written.summary())
    print(f"{near} pictures are near-duplicates of another and stay on its side")
    return 0


def _add_stats(commands) -> None:
    parser = commands.add_parser(
        "stats",
        help="describe a dataset on one HTML page",
        description="Write counts, charts, a heat map and contact sheets as one HTML page.",
    )
    add = parser.add_argument
    add("data", metavar=DATA, help=DATA_HELP)
    add("--out", type=Path, metavar="FILE", help="the page (default: output/stats/X.html)")
    add("--seed", type=int, default=0, help="of the random scenes (%(default)s)")
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    parser.set_defaults(run=_stats)


def _stats(args: Namespace) -> int:
    from cosal_d2.prepare.check.statistics import statistics
    from cosal_d2.prepare.check.stats_page import write_stats_page

    dataset = load_dataset(args.data)
    items = items_of(dataset)
    try:
        found = statistics(items, args.workers, progress=True)
    except ValueError as error:
        raise ValueError(f"{dataset.json_file}: {error}") from error
    page = args.out or Path("output/stats") / f"{dataset.name}.html"
    write_stats_page(page, dataset.name, items, found, args.seed)
    print(f"{len(items)} pictures: {page}")
    return 0


def add_commands(commands) -> None:
    """Add the subcommands to an argparse subparsers object."""
    for add in (_add_check, _add_merge, _add_split, _add_stats):
        add(commands)
