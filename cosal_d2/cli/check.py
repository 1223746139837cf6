"""`cosal data check`, `merge`, `split` and `stats`: datasets checked, joined, split, described."""

from __future__ import annotations

import argparse
from pathlib import Path

from cosal_d2.cli.convert import add_target_options, target
from cosal_d2.cli.verbs import add_verb, html_page

DATA = "NAME|JSON"
DATA_HELP = "X.json with its pictures in X/ beside it, or a name under $DETECTRON2_DATASETS"


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add the four verbs to those of `cosal data`."""
    parser = add_verb(
        verbs,
        "check",
        run_check,
        help="find the faults that would stop or spoil a training; exit status 1 on errors",
        example="cosal data check data/cosal/mine.json\n"
        "cosal data check data/cosal/mine.json --fix",
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
        help="X.txt and X.json go there (default: %(default)s)",
    )
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")

    parser = add_verb(
        verbs,
        "merge",
        run_merge,
        help="put datasets into one: classes are joined by name, ids are given anew",
        example="cosal data merge data/cosal/a.json data/cosal/b.json --out data --name ab",
    )
    parser.add_argument("data", nargs="+", metavar=DATA, help=DATA_HELP)
    add_target_options(parser)

    parser = add_verb(
        verbs,
        "split",
        run_split,
        help="split a dataset at random or by class; near-duplicates stay on one side",
        example="cosal data split data/cosal/ab.json --out data --names ab_train ab_val\n"
        "cosal data split cosal_ab --by class --names a b c --shares 0.7 0.1 0.2 --out data",
    )
    add = parser.add_argument
    add("data", metavar=DATA, help=DATA_HELP)
    add("--names", nargs="+", default=["train", "val"], help="of the sides (default: train val)")
    add(
        "--shares",
        nargs="+",
        type=float,
        metavar="SHARE",
        help="sizes of the sides, relative to one another (default: 0.8 0.2; equal for more sides)",
    )
    add(
        "--by",
        choices=("random", "class"),
        default="random",
        help="class: each co-salient class is on one side alone (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="the same seed gives the same sides (%(default)s)")
    add_target_options(parser, name=False)

    parser = add_verb(
        verbs,
        "stats",
        run_stats,
        help="write counts, charts, a heat map and contact sheets as one HTML page",
        example="cosal data stats data/cosal/mine.json --out mine.html",
    )
    add = parser.add_argument
    add("data", metavar=DATA, help=DATA_HELP)
    add("--out", type=Path, metavar="FILE", help="the page (default: output/stats/X.html)")
    add("--seed", type=int, default=0, help="of the random scenes (default: %(default)s)")
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")


def run_check(args: argparse.Namespace) -> int:
    """Print and write what is found; 1 where there are errors."""
    from cosal_d2.prepare.check.check import check_dataset
    from cosal_d2.prepare.check.dataset import find_json, load_dataset, sibling_splits
    from cosal_d2.prepare.check.findings import (
        check_report_place,
        count_errors,
        summary,
        write_reports,
    )
    from cosal_d2.prepare.check.repair import write_repaired
    from cosal_d2.prepare.target import Target

    dataset = load_dataset(args.data, args.images)
    check_report_place(args.report, dataset.name)
    place = None
    if args.fix:
        home = dataset.json_file.resolve().parent
        root, folder = (home.parent, home.name) if args.out is None else (args.out, "cosal")
        name = args.fixed_name or f"{dataset.name}_fixed"
        place = Target(root, name, args.link, args.overwrite, args.workers, True, folder)
        place.check_apart(dataset.json_file, dataset.folder)
    if args.alone:
        against = []
    elif args.against:
        against = [find_json(name) for name in args.against]
    else:
        against = sibling_splits(dataset.json_file)
    findings = check_dataset(dataset, against, args.workers, progress=True)
    extra: dict = {"against": [str(p) for p in against]}
    for finding in findings:
        print(finding)
    print(f"{dataset.json_file}: {summary(findings)}")
    errors = count_errors(findings)
    if place is not None and errors:
        done, left = write_repaired(dataset, findings, against, place)
        for line in done:
            print(f"fixed: {line}")
        for line in left:
            print(f"not fixed: {line}")
        print(f"repaired copy: {place.json_file}")
        extra |= {"fixed": str(place.json_file), "repairs": done, "not_fixed": left}
    elif place is not None:
        print("no errors, so no repaired copy is written")
    text, report = write_reports(args.report, dataset.name, dataset.json_file, findings, extra)
    print(f"reports: {text} and {report}")
    return 1 if errors else 0


def run_merge(args: argparse.Namespace) -> None:
    """Write the dataset."""
    from cosal_d2.prepare.check.dataset import load_dataset
    from cosal_d2.prepare.check.parts import merge

    place = target(args)
    print(merge([load_dataset(name) for name in args.data], place).summary())


def run_split(args: argparse.Namespace) -> None:
    """Write the sides."""
    from cosal_d2.prepare.check.dataset import load_dataset
    from cosal_d2.prepare.check.split import split

    shares = args.shares or ([0.8, 0.2] if len(args.names) == 2 else [1.0] * len(args.names))
    if len(shares) != len(args.names) or len(set(args.names)) < len(args.names):
        raise ValueError(f"names: {args.names} for the shares {shares}; give each side its own")
    if args.seed < 0:
        raise ValueError(f"seed: {args.seed} is negative; give 0 or more")
    dataset = load_dataset(args.data)
    targets = [target(args, name) for name in args.names]
    written, near = split(dataset, targets, shares, args.by == "class", args.seed)
    for side in written:
        print(side.summary())
    print(f"{near} pictures are near-duplicates of another and stay on its side")


def run_stats(args: argparse.Namespace) -> None:
    """Write the page."""
    from cosal_d2.prepare.check.dataset import load_dataset
    from cosal_d2.prepare.check.parts import sound_entries
    from cosal_d2.prepare.check.stats_page import write_stats_page

    dataset = load_dataset(args.data)
    entries = sound_entries(dataset)
    page = html_page(args.out or Path("output/stats") / f"{dataset.name}.html")
    write_stats_page(page, dataset.name, entries, args.seed, args.workers, progress=True)
    print(f"{len(entries)} pictures: {page}")
