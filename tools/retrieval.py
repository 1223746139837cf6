"""Compare embeddings by retrieval: ``retrieval.py --config-file FILE --data NAME --out FOLDER``.

The regions are the ground-truth boxes of all objects, distractors too. Each co-salient object that
has a partner of its class and a distractor in its picture asks for the region nearest to it, which
should be of its class: precision@1, of raw conv5_3 features and of the network's own embeddings.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from cosal_d2.utils.requirements import require_detectron2

require_detectron2()

import torch  # noqa: E402
from detectron2.utils.logger import setup_logger  # noqa: E402

from cosal_d2.config import get_cosal_config  # noqa: E402
from cosal_d2.engine import retrieval as R  # noqa: E402
from cosal_d2.paper.retrieval_measures import UNKNOWN, draw_embeddings  # noqa: E402
from cosal_d2.utils.files import write_json  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE", help="a path or a shipped config's name")
    add("--data", nargs="+", metavar="NAME", help="datasets (default: the config's DATASETS.TEST)")
    add(
        "--unseen-by",
        nargs="+",
        default=[],
        metavar="NAME",
        help="datasets whose classes are not asked for: training sets, to ask for unseen classes",
    )
    add(
        "--across",
        action="store_true",
        help="a second table: the nearest region of all other pictures (holds 100 KB a region)",
    )
    add("--out", type=Path, metavar="FOLDER", help="writes retrieval.json and embeddings.png there")
    add(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="changes of the config, such as MODEL.WEIGHTS FILE; last on the line",
    )
    return parser


def pooled(sets: dict[str, R.RegionSet], kinds: list[str]) -> tuple[dict, torch.Tensor, list[str]]:
    """Embeddings by kind, classes and class names of several datasets as one."""
    names = sorted({name for regions in sets.values() for name in regions.names})
    classes = []
    for regions in sets.values():
        # The entry that UNKNOWN, -1, picks is the last.
        own = torch.tensor([*(names.index(name) for name in regions.names), UNKNOWN])
        classes.append(own[regions.classes])
    panels = {k: torch.cat([regions.embeddings[k] for regions in sets.values()]) for k in kinds}
    return panels, torch.cat(classes), names


def write_results(
    folder: Path, content: dict, sets: dict[str, R.RegionSet], seen: set[str]
) -> None:
    """Write ``retrieval.json`` and ``embeddings.png``; either is replaced once it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "retrieval.json", content)
    kinds = list(next(iter(sets.values())).embeddings)
    panels, classes, names = pooled(
        sets, [R.best_embedding(list(content["within"].values()), kinds), R.RAW]
    )
    partial = folder / f".embeddings.{os.getpid()}.png"
    try:
        draw_embeddings(panels, classes, names, seen).savefig(partial, dpi=110)
        os.replace(partial, folder / "embeddings.png")
    finally:
        partial.unlink(missing_ok=True)


def main(argv: list[str] | None = None) -> int:
    """Print the tables; 0, or 1 with a message when config, weights or data are unusable."""
    args = build_parser().parse_args(argv)
    for name in ("cosal_d2", "detectron2", "fvcore"):
        setup_logger(name=name)
    try:
        cfg = get_cosal_config(args.config_file, args.opts)
        names = args.data or list(cfg.DATASETS.TEST)
        if not names:
            raise ValueError("no dataset to test: give --data NAME, as DATASETS.TEST is empty")
        seen = R.annotated_classes(args.unseen_by)
        R.check_registered(names)
        embedder = R.RegionEmbedder(cfg)
        sets = {name: R.collect_regions(name, embedder) for name in names}
        content = {
            "config": os.path.basename(args.config_file),
            "weights": os.path.basename(embedder.weights),
            "unseen_by": args.unseen_by,
            "regions": {name: len(regions.classes) for name, regions in sets.items()},
            "within": {name: R.measure(s, seen, across=False) for name, s in sets.items()},
        }
        if args.across:
            content["across"] = {n: R.measure(s, seen, across=True) for n, s in sets.items()}
        if args.out:
            write_results(args.out, content, sets, seen)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    sizes = {k: e.shape[1] for k, e in next(iter(sets.values())).embeddings.items()}
    titles = {"within": "among an image's regions", "across": "among all other pictures' regions"}
    for key, title in titles.items():
        if key in content:
            print(f"\nRetrieval precision@1 {title}\n\n{R.markdown(content[key], sizes)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
