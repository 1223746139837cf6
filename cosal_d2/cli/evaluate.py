"""`cosal evaluate` and `cosal report`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from cosal_d2.cli.verbs import add_verb, by_method, html_page
from cosal_d2.config import MEASURES
from cosal_d2.utils.files import check_output
from cosal_d2.utils.given_files import check_dataset, check_map_folders


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add `evaluate` and `report` to the verbs of `cosal`."""
    parser = add_verb(
        verbs,
        "evaluate",
        evaluate,
        help="score folders of maps of any method",
        example="cosal evaluate --dataset cosal_val --maps ours=maps theirs=other/maps "
        "--out scores\n"
        "cosal evaluate --dataset masks/ --maps ours=maps --out scores --measures fast",
    )
    add = parser.add_argument
    add(
        "--dataset",
        required=True,
        metavar="NAME|JSON|FOLDER",
        help="the truth: a registered dataset, a COCO json (its images are not needed), or a "
        "folder of masks",
    )
    add(
        "--maps",
        nargs="+",
        action="extend",
        required=True,
        metavar="METHOD=FOLDER",
        help="a method's name and its maps, grey STEM.png or STEM_map.png, or in another format of "
        "pictures; any number",
    )
    add("--out", type=Path, required=True, metavar="OUT", help="folder for the results")
    add("--allow-missing", action="store_true", help="score the rest where maps are missing")
    add("--measures", default="all", choices=MEASURES, help="see docs/measures.md (default: all)")
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes for S, E and weighted F; 0: none (default: one a core)",
    )
    add(
        "--resamples",
        type=int,
        default=2000,
        metavar="N",
        help="of the bootstrap; 0: none (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")

    parser = add_verb(
        verbs,
        "report",
        report,
        help="make one HTML page of evaluations, with a gallery; it needs no other file",
        example="cosal report --evaluation scores --out scores/report.html",
    )
    add = parser.add_argument
    add(
        "--evaluation",
        nargs="+",
        required=True,
        metavar="OUT",
        help="outputs of `cosal evaluate` on one dataset",
    )
    add("--out", type=Path, required=True, metavar="PAGE", help="the page, or a folder for it")
    add("--dataset", metavar="NAME|JSON|FOLDER", help="the truth, if it was moved")
    add("--images", metavar="FOLDER", help="the images (default: the dataset's)")
    add("--title", help="of the page (default: names the dataset)")
    add("--limit", type=int, default=500, metavar="N", help="images in the gallery (default: 500)")
    add("--longest", type=int, default=480, metavar="PIXELS", help="of its pictures (default: 480)")


def evaluate(args: argparse.Namespace) -> None:
    """Score, print the table and write the files."""
    methods = by_method("--maps", args.maps)
    check_output(args.out)
    check_dataset(args.dataset)
    check_map_folders(methods)
    for name, folder in {"--dataset": args.dataset, **methods}.items():
        if args.out.exists() and os.path.exists(folder) and args.out.samefile(folder):
            raise ValueError(
                f"--out {args.out} is the folder of {name}, whose pictures the results would mix "
                "with: give another folder"
            )
    from cosal_d2.evaluation import evaluate_methods
    from cosal_d2.evaluation.output import write_evaluation

    evaluation = evaluate_methods(
        args.dataset,
        methods,
        allow_missing=args.allow_missing,
        measures=args.measures,
        workers=args.workers,
        progress=True,
    )
    for line in [*evaluation.truth.notes, *evaluation.problems]:
        print(line, file=sys.stderr)
    text = write_evaluation(
        evaluation, args.out, dataset=args.dataset, resamples=args.resamples, seed=args.seed
    )
    print(text)
    total = len(evaluation.truth.records)
    for name, method in evaluation.methods.items():
        if len(method.results) < total:
            print(f"{name}: only {len(method.results)} of {total} images have a map")
    print(f"{evaluation.truth.name}: {total} images; results in {args.out}")


def report(args: argparse.Namespace) -> None:
    """Write the page."""
    for folder in args.evaluation:
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"--evaluation {folder}: no such folder; give the --out of `cosal evaluate`"
            )
    check_dataset(args.dataset)
    from cosal_d2.evaluation.report import build_page
    from cosal_d2.utils.files import write_text

    is_folder = args.out.is_dir() or not args.out.suffix
    path = html_page(args.out / "report.html" if is_folder else args.out)
    page = build_page(
        args.evaluation,
        dataset=args.dataset,
        images=args.images,
        title=args.title,
        limit=args.limit,
        longest=args.longest,
        progress=True,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    print(f"{path}: {len(page) / 1e6:.1f} MB")
