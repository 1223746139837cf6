"""`cosal paper table1`, `table2`, `retrieval` and `baselines`: what reproduces the paper."""

from __future__ import annotations

import argparse
from pathlib import Path

from cosal_d2.cli.verbs import add_opts, add_verb, by_method

SYNTHETIC = "synthetic"


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add the verbs of `cosal paper`."""
    _add_table1(verbs)
    _add_table2(verbs)
    _add_retrieval(verbs)
    _add_baselines(verbs)


def _add_table1(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(
        verbs,
        "table1",
        run_table1,
        help="train the columns of Table 1 (ablation) from one config, and write the table",
        example="cosal paper table1 --list\n"
        "cosal paper table1 --config-file cosal_vgg16.yaml --data cosal_train "
        "--test cosal_val --columns 4,6,7 --seeds 0 1 2 --iterations 1000 --out output/table1",
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
    add("--seeds", nargs="+", type=int, default=[0], metavar="SEED", help="default: 0")
    add(
        "--iterations",
        type=int,
        metavar="N",
        help="of each training; the schedule is scaled to it (default: the config's)",
    )
    add(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="of the trainings and the table; the same command goes on with what is not finished "
        "(default: output/table1/CONFIG-DATA)",
    )
    add_opts(parser, "changes of the base config")


def _add_table2(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(
        verbs,
        "table2",
        run_table2,
        help="score FT, CWS, the networks with weights and other methods' maps alike, and write "
        "Table 2 with Figures 5 and 6",
        example="cosal paper table2 --dataset cosal_val\n"
        "cosal paper table2 --dataset my.json --maps DCL=maps/dcl --weights U-Net=unet.pth",
    )
    add = parser.add_argument
    add("--dataset", default="cosal_val", metavar="NAME|JSON", help="default: %(default)s")
    pairs = {"nargs": "+", "default": [], "action": "extend"}
    add("--maps", metavar="METHOD=FOLDER", help="maps that are there already", **pairs)
    add("--weights", metavar="METHOD=FILE", help="a checkpoint of U-Net or ours-*", **pairs)
    add("--config", metavar="METHOD=FILE", help="the config it was trained with", **pairs)
    add(
        "--gallery",
        default=SYNTHETIC,
        metavar="NAME|JSON",
        help="pictures of Figure 6 (default: %(default)s scenes, which anybody may publish)",
    )
    add("--pictures", type=int, default=6, metavar="N", help="of Figure 6 (default: %(default)s)")
    folder = {"type": Path, "default": Path("output/table2"), "metavar": "FOLDER"}
    add("--out", help="takes results.md and its pictures (default: %(default)s)", **folder)
    add("--work", help="takes the maps and metrics.json (default: %(default)s)", **folder)
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    add_opts(parser, "config changes of the networks")


def _add_retrieval(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(
        verbs,
        "retrieval",
        run_retrieval,
        help="compare the embeddings of objects: is the nearest region of the same class",
        example="cosal paper retrieval --config-file cosal_vgg16.yaml --data cosal_val "
        "--out output/retrieval",
    )
    parser.description = (
        "The regions are the ground-truth boxes of all objects, distractors too. Each co-salient "
        "object that has a partner of its class and a distractor in its picture is a query: "
        "precision@1 is the share whose nearest region is of their class, by raw encoder features "
        "and by the network's own embeddings."
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE", help="a path or a shipped config's name")
    add("--data", nargs="+", metavar="NAME", help="datasets (default: the config's DATASETS.TEST)")
    add(
        "--unseen-by",
        nargs="+",
        default=[],
        metavar="NAME",
        help="datasets whose classes are no queries: training sets, to query unseen classes",
    )
    add(
        "--across",
        action="store_true",
        help="a second table: the nearest region of all other pictures (holds 100 KB a region)",
    )
    add("--out", type=Path, metavar="FOLDER", help="takes retrieval.json and embeddings.png")
    add_opts(parser, "changes of the config, such as MODEL.WEIGHTS FILE")


def _add_baselines(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(
        verbs,
        "baselines",
        run_baselines,
        help="draw the maps of a classical method: FT (frequency-tuned saliency, Achanta et al. "
        "2009) or CWS (cluster-based co-saliency in one picture, Fu et al. 2013)",
        example="cosal paper baselines CWS --dataset cosal_val --out maps/CWS",
    )
    add = parser.add_argument
    add("method", choices=("FT", "CWS"), metavar="METHOD", help="FT or CWS")
    add(
        "--dataset",
        required=True,
        metavar="NAME|JSON",
        help="a registered dataset, or a json with its images in the folder of the same name",
    )
    add("--out", type=Path, required=True, metavar="FOLDER", help="takes STEM.png of each picture")
    add("--seed", type=int, default=0, help="of CWS's clustering (default: %(default)s)")
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    add("--overwrite", action="store_true", help="make all maps anew")


def run_table1(args: argparse.Namespace) -> None:
    """Train, and print the table."""
    from cosal_d2.config import get_cosal_config
    from cosal_d2.paper.table1 import column_files, find_column, train_table

    if args.list:
        for path in column_files():
            column = find_column(path)
            print(f"{column.name:>3}  {column.title}  ({column.file})")
        return
    if not args.config_file:
        raise ValueError("--config-file is needed, such as --config-file quickstart.yaml")
    base = get_cosal_config(args.config_file, args.opts)
    base.DATASETS.TRAIN = tuple(args.data or base.DATASETS.TRAIN)
    base.DATASETS.TEST = tuple(args.test or base.DATASETS.TEST)
    out = args.out
    if out is None:
        out = Path(
            "output", "table1", "-".join([Path(args.config_file).stem, *base.DATASETS.TRAIN])
        )
    columns = [find_column(name) for text in args.columns for name in text.split(",") if name]
    _set_up_logs(str(out))
    print(f"\n{train_table(base, columns, args.seeds, out, args.iterations)}")


def run_table2(args: argparse.Namespace) -> None:
    """Write the page and its pictures, and print the page."""
    from cosal_d2.paper.table2 import write_table2

    maps = by_method("--maps", args.maps)
    page = write_table2(
        args.dataset,
        args.out,
        args.work,
        _shown(args),
        maps={method: Path(folder) for method, folder in maps.items()},
        weights=by_method("--weights", args.weights),
        configs=by_method("--config", args.config),
        opts=args.opts,
        gallery=None if args.gallery == SYNTHETIC else args.gallery,
        pictures=args.pictures,
        workers=args.workers,
        progress=True,
    )
    print(page)


def run_retrieval(args: argparse.Namespace) -> None:
    """Print the tables."""
    from cosal_d2.config import get_cosal_config
    from cosal_d2.paper.retrieval import compare_embeddings

    _set_up_logs()
    cfg = get_cosal_config(args.config_file, args.opts)
    names = args.data or list(cfg.DATASETS.TEST)
    print(
        compare_embeddings(cfg, names, unseen_by=args.unseen_by, across=args.across, out=args.out)
    )


def run_baselines(args: argparse.Namespace) -> None:
    """Write the maps."""
    from cosal_d2.data.datasets import dataset_name
    from cosal_d2.paper.method_maps import write_baseline_maps

    written = write_baseline_maps(
        args.method,
        dataset_name(args.dataset),
        args.out,
        seed=args.seed,
        workers=args.workers,
        overwrite=args.overwrite,
        progress=True,
    )
    print(f"{written} maps of {args.method} written to {args.out}")


def _set_up_logs(output: str | None = None) -> None:
    from detectron2.utils.logger import setup_logger

    for name in ("cosal_d2", "detectron2", "fvcore"):
        setup_logger(output, name=name)


def _shown(args: argparse.Namespace) -> list[str]:
    """The command as the page shows it: what the numbers depend on, files without their folder."""
    command = ["cosal", "paper", "table2"]
    for option in ("dataset", "gallery"):
        value = getattr(args, option)
        name = Path(value).name if Path(value).is_absolute() else value
        command += [f"--{option}", name]
    for option in ("maps", "weights", "config"):
        given = by_method(f"--{option}", getattr(args, option))
        pairs = [f"{method}={Path(value).name}" for method, value in given.items()]
        command += [f"--{option}", *pairs] if pairs else []
    command += ["--pictures", str(args.pictures)]
    return command + (["--opts", *args.opts] if args.opts else [])
