"""The paper's Table 2 and Figures 5 and 6: maps, scores, page and pictures."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode

from cosal_d2.config import get_cosal_config
from cosal_d2.data.sources import dataset_name
from cosal_d2.evaluation.curves import render
from cosal_d2.evaluation.maps import evaluate_methods
from cosal_d2.paper import table2_report as report
from cosal_d2.paper.baseline_maps import write_baseline_maps
from cosal_d2.paper.classical import METHODS
from cosal_d2.paper.network_maps import network_digest, weights_digest, write_network_maps
from cosal_d2.paper.table2_rows import NETWORKS, ROWS, RowMaps, Sources
from cosal_d2.prepare.synthetic import DatasetSpec, SceneOptions, write_dataset
from cosal_d2.utils.files import write_bytes, write_json, write_text

SCENES = ("table2_gallery", 6, (240, 320))  # name, seed and size of the synthetic scenes
PAGE, CURVES, GALLERY = "results.md", "table2_pr", "table2_gallery.png"


@dataclass(frozen=True)
class Table2Options:
    """What is scored, and where results go.

    Attributes:
        dataset: a registered name, or a json beside its image folder.
        gallery: the same for Figure 6's pictures; None draws synthetic scenes.
        pictures: of Figure 6.
        out: folder of the page and its pictures.
        work: folder of maps and ``metrics.json``.
        workers: processes; None takes one for each core that this process may use.
        command: as the page shows it.
    """

    dataset: str = "cosal_val"
    gallery: str | None = None
    pictures: int = 6
    out: Path = Path("docs")
    work: Path = Path("output/table2")
    workers: int | None = None
    command: Sequence[str] = ("tools/table2.py",)


def write_table2(options: Table2Options, sources: Sources, *, progress: bool = False) -> str:
    """Make maps, score them, and write ``results.md`` and its pictures, each as a whole.

    Args:
        options: what and where.
        sources: folders of maps and weights of networks.
        progress: show progress bars.

    Returns:
        the page, Markdown.

    Raises:
        ValueError: weights do not fit, data are unusable, or maps are missing or corrupt.
        FileNotFoundError: weights, data or a folder are missing.
    """
    dataset = dataset_name(options.dataset)
    rows = collect_maps(dataset, sources, options, progress)
    folders = {name: row.folder for name, row in rows.items() if row.folder}
    evaluation = evaluate_methods(dataset, folders, measures="fast", workers=0, progress=progress)
    gallery, note = _gallery(options)
    if gallery != dataset:
        own = Sources({}, sources.weights, sources.configs, sources.opts)
        others = collect_maps(gallery, own, options, progress)
        folders = {name: row.folder for name, row in others.items() if row.folder}
    page = report.markdown(
        Path(options.dataset).stem, evaluation, rows, command=options.command, gallery_note=note
    )
    options.out.mkdir(parents=True, exist_ok=True)
    for kind in ("png", "svg"):
        picture = render(report.draw_figure_5(evaluation), kind)
        write_bytes(options.out / f"{CURVES}.{kind}", picture)
    partial = options.out / f".{os.getpid()}.{GALLERY}"
    try:
        report.draw_gallery(partial, gallery, folders, options.pictures)
        os.replace(partial, options.out / GALLERY)
    finally:
        partial.unlink(missing_ok=True)
    write_json(options.work / "metrics.json", evaluation.metrics)
    write_text(options.out / PAGE, page)
    return page


def network_config(method: str, sources: Sources) -> CfgNode:
    """Config of a row in ``NETWORKS``, with its weights if they were given."""
    file, opts = NETWORKS[method]
    if method in sources.configs:
        file, opts = sources.configs[method], ()
    weights = sources.weights.get(method, "")
    return get_cosal_config(file, [*opts, "MODEL.WEIGHTS", weights, *sources.opts])


def collect_maps(
    dataset: str, sources: Sources, options: Table2Options, progress: bool = False
) -> dict[str, RowMaps]:
    """Make the maps that can be made, and find the others.

    They go to ``WORK/DATASET/METHOD``, those of a network to a folder for its weights; maps that
    are done already stay.

    Args:
        dataset: name in Detectron2's catalog.
        sources: folders of maps and weights of networks.
        options: the work folder and the number of workers.
        progress: show progress bars.

    Returns:
        all rows of Table 2 in its order, then further ones.

    Raises:
        ValueError: weights do not fit, or data are unusable.
        FileNotFoundError: weights or data are missing.
    """
    work = options.work / Path(dataset).stem
    rows: dict[str, RowMaps] = {}
    for method in [*ROWS, *(m for m in sources.maps if m not in ROWS)]:
        if method in sources.maps:
            rows[method] = RowMaps(sources.maps[method], "maps from a folder")
        elif method in METHODS:
            write_baseline_maps(
                method, dataset, work / method, workers=options.workers, progress=progress
            )
            rows[method] = RowMaps(work / method, f"`tools/baselines.py {method}`, seed 0")
        elif method in NETWORKS:
            rows[method] = _network_row(method, dataset, sources, work, progress)
        else:
            rows[method] = RowMaps(None, f"`--maps {method}=FOLDER` takes its maps")
    return rows


def _network_row(
    method: str, dataset: str, sources: Sources, work: Path, progress: bool
) -> RowMaps:
    cfg = network_config(method, sources)
    if not (cfg.MODEL.WEIGHTS or cfg.MODEL.RELEASED):
        train = ["tools/train_net.py", "--config-file", f"configs/{NETWORKS[method][0]}"]
        train += NETWORKS[method][1]
        words = (
            f"`--weights {method}=FILE` takes its weights; `{shlex.join(train)}` trains them, with "
            "the data and the start of [MODEL_ZOO.md](../MODEL_ZOO.md)"
        )
        return RowMaps(None, words)
    out = work / f"{method}-{network_digest(cfg)[:8]}"
    try:
        write_network_maps(cfg, dataset, out, progress=progress)
    except ValueError as error:
        raise ValueError(f"{method}: {error}") from error
    file = Path(sources.configs.get(method, NETWORKS[method][0])).name
    return RowMaps(out, f"`{file}`, weights of sha256 {weights_digest(cfg)[:12]}")


def _gallery(options: Table2Options) -> tuple[str, str]:
    """Dataset of Figure 6's pictures, and the page's words for it."""
    if options.gallery is not None:
        note = f"Pictures spread evenly over `{Path(options.gallery).stem}`, not chosen by result."
        return dataset_name(options.gallery), note
    name, seed, size = SCENES
    json_file = options.work / "scenes" / "cosal" / f"{name}_{options.pictures}.json"
    if not json_file.exists():
        spec = DatasetSpec(
            options.work / "scenes",
            json_file.stem,
            options.pictures,
            seed,
            SceneOptions(size=size),
        )
        write_dataset(spec, options.workers)
    note = (
        f"The first {options.pictures} synthetic scenes of seed {seed}, 0 to 4 distractors, not "
        "chosen by result. Methods whose maps come from a folder have none of these; `--gallery` "
        "takes the pictures of another dataset."
    )
    return dataset_name(str(json_file)), note
