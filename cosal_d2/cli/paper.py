"""`cosal paper table1`, `table2`, `retrieval`, `gradients` and `baselines`: what reproduces the
paper."""

from __future__ import annotations

import argparse
from pathlib import Path

from cosal_d2.cli.verbs import add_opts, add_verb, by_method, positive
from cosal_d2.utils.files import check_output
from cosal_d2.utils.given_files import check_dataset, check_map_folders

TABLE2_DATASET = "cosal_val"
PAIRS = ("maps", "weights", "config", "onnx")  # options of table2 that are METHOD=VALUE


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add the verbs of `cosal paper`."""
    _add_table1(verbs)
    _add_table2(verbs)
    _add_retrieval(verbs)
    _add_gradients(verbs)
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
        help="train the networks of Table 2, score them, FT, CWS, LFM and other methods' maps "
        "alike, and write the table with Figures 5 and 6",
        example="cosal paper table2 --quick\n"
        "cosal paper table2 --dataset cosal_val cosal_unseen --train 6000 --onnx U2=u2net.onnx\n"
        "cosal paper table2 --dataset my.json --maps DCL=maps/dcl --weights U-Net=unet.pth",
    )
    add = parser.add_argument
    add(
        "--dataset",
        nargs="+",
        metavar="NAME|JSON",
        help=f"a table each (default: {TABLE2_DATASET}); with several, --maps has a folder of each "
        "one's name in FOLDER",
    )
    pairs = {"nargs": "+", "default": [], "action": "extend"}
    add("--maps", metavar="METHOD=FOLDER", help="maps that are there already", **pairs)
    add("--weights", metavar="METHOD=FILE", help="a checkpoint of U-Net, DCL, ours-* ...", **pairs)
    add("--config", metavar="METHOD=FILE", help="the config it was trained with", **pairs)
    add(
        "--onnx",
        metavar="NAME=FILE",
        help="a further row: a network that takes pictures as U-2-Net does",
        **pairs,
    )
    add(
        "--train",
        type=positive,
        metavar="ITERATIONS",
        help="train the networks that have no weights, so long each; the same command goes on with "
        "what is not finished",
    )
    add("--data", nargs="+", default=[], metavar="NAME|JSON", help="training datasets of --train")
    add(
        "--quick",
        action="store_true",
        help="synthetic scenes and short trainings of all networks, in minutes on two cores",
    )
    add(
        "--gallery",
        metavar="NAME|JSON",
        help="pictures of Figure 6 (default: synthetic scenes, which anybody may publish)",
    )
    add("--pictures", type=int, default=6, metavar="N", help="of Figure 6 (default: %(default)s)")
    folder = {"type": Path, "metavar": "FOLDER"}
    place = "(default: output/table2, of --quick output/table2_quick)"
    add("--out", help=f"takes results.md and its pictures {place}", **folder)
    add("--work", help=f"takes trainings, maps and metrics.json {place}", **folder)
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


def _add_gradients(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(
        verbs,
        "gradients",
        run_gradients,
        help="compare the gradients of the losses on the feature-sensitive block: how much of its "
        "training is the triplets'",
        example="cosal paper gradients --config-file output/table1/7_0/config.yaml "
        "--opts MODEL.WEIGHTS output/table1/7_0/model_final.pth",
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE", help="a path or a shipped config's name")
    add(
        "--iterations",
        type=positive,
        default=50,
        metavar="N",
        help="batches of the training that are looked at (default: %(default)s)",
    )
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
    check_output(out)
    columns = [find_column(name) for text in args.columns for name in text.split(",") if name]
    _set_up_logs(str(out))
    print(f"\n{train_table(base, columns, args.seeds, out, args.iterations)}")


def run_table2(args: argparse.Namespace) -> None:
    """Write the page and its pictures, and print the page."""
    given = {option: by_method(f"--{option}", getattr(args, option)) for option in PAIRS}
    for name in args.dataset or ():
        check_dataset(name)
    check_map_folders(given["maps"])
    folder = Path("output", "table2_quick" if args.quick else "table2")
    out, work = args.out or folder, args.work or folder
    check_output(out)
    check_output(work)
    from cosal_d2.paper.table2 import Table2, write_table2

    datasets = args.dataset or ([] if args.quick else [TABLE2_DATASET])
    table = Table2(
        datasets,
        maps={method: Path(folder) for method, folder in given["maps"].items()},
        weights=given["weights"],
        configs=given["config"],
        onnx=given["onnx"],
        opts=args.opts,
        train=args.train,
        data=args.data,
        gallery=args.gallery,
        pictures=args.pictures,
    )
    if args.data and args.train is None and not args.quick:
        raise ValueError("--data names what --train trains on: give --train ITERATIONS too")
    if args.quick:
        from cosal_d2.paper.table2_quick import quick_table

        table = quick_table(table, work, args.workers)
    if table.train is not None:
        _set_up_logs(str(work))
    command = _shown(args, given)
    print(write_table2(table, out, work, command, workers=args.workers, progress=True))


def run_retrieval(args: argparse.Namespace) -> None:
    """Print the tables."""
    if args.out is not None:
        check_output(args.out)
    from cosal_d2.config import get_cosal_config
    from cosal_d2.paper.retrieval import compare_embeddings

    _set_up_logs()
    cfg = get_cosal_config(args.config_file, args.opts)
    names = args.data or list(cfg.DATASETS.TEST)
    print(
        compare_embeddings(cfg, names, unseen_by=args.unseen_by, across=args.across, out=args.out)
    )


def run_gradients(args: argparse.Namespace) -> None:
    """Print the table."""
    from cosal_d2.config import get_cosal_config
    from cosal_d2.paper.gradients import compare_gradients

    _set_up_logs()
    print(compare_gradients(get_cosal_config(args.config_file, args.opts), args.iterations))


def run_baselines(args: argparse.Namespace) -> None:
    """Write the maps."""
    check_dataset(args.dataset)
    check_output(args.out)
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


def _shown(args: argparse.Namespace, given: dict[str, dict[str, str]]) -> list[str]:
    """The command as the page shows it: what the numbers depend on, files without their folder."""

    def name(value: str) -> str:
        return Path(value).name if Path(value).is_absolute() else value

    command = ["cosal", "paper", "table2"]
    command += ["--quick"] if args.quick else ["--dataset"]
    command += map(name, args.dataset or ([] if args.quick else [TABLE2_DATASET]))
    for option, values in given.items():
        pairs = [f"{method}={Path(value).name}" for method, value in values.items()]
        command += [f"--{option}", *pairs] if pairs else []
    command += ["--train", str(args.train)] if args.train else []
    command += ["--data", *map(name, args.data)] if args.data else []
    command += ["--gallery", name(args.gallery)] if args.gallery else []
    command += ["--pictures", str(args.pictures)]
    return command + (["--opts", *args.opts] if args.opts else [])
