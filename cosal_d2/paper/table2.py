"""The paper's Table 2 and Figures 5 and 6: maps, scores, page and pictures."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from detectron2.config import CfgNode

from cosal_d2.config import get_cosal_config
from cosal_d2.data.datasets import dataset_name
from cosal_d2.evaluation.curves import render
from cosal_d2.evaluation.maps import evaluate_methods
from cosal_d2.paper import table2_report as report
from cosal_d2.paper.classical import METHODS
from cosal_d2.paper.method_maps import (
    network_digest,
    weights_digest,
    write_baseline_maps,
    write_network_maps,
)
from cosal_d2.prepare.synthetic import DatasetSpec, SceneOptions, write_dataset
from cosal_d2.utils.files import replacing, write_bytes, write_json, write_text

SCENES = ("table2_gallery", 6, (240, 320))  # name, seed and size of the synthetic scenes
# Shipped config and config changes of the rows that are networks of this project.
NETWORKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "U-Net": ("cosal_vgg16_unet.yaml", ()),
    "ours-offline": (
        "cosal_vgg16_cpu.yaml",
        ("MODEL.RELEASED", "", "MODEL.GROUPING.ENABLED", "False")
        + ("MODEL.RFM.SAMPLER", "OfflineSampler"),
    ),
    "ours-online": ("cosal_vgg16_cpu.yaml", ()),
}


@dataclass(frozen=True)
class Table2:
    """What is compared, on what, and where results go.

    Attributes:
        dataset: a registered name, or a json beside its image folder.
        maps: folders of finished maps by method; a name that Table 2 lacks becomes a further row.
        weights: checkpoint files of the rows in ``NETWORKS``.
        configs: their configs, where not the shipped ones.
        opts: config changes of all networks.
        gallery: as ``dataset``, for Figure 6's pictures; None draws synthetic scenes.
        pictures: of Figure 6.
        out: folder of the page and its pictures.
        work: folder of maps and ``metrics.json``.
        workers: processes; None takes one for each core that this process may use.

    Raises:
        ValueError: a method is no network of this project, or there is no picture to show.
        FileNotFoundError: a folder of maps is missing.
    """

    dataset: str = "cosal_val"
    maps: Mapping[str, Path] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, str] = field(default_factory=dict)
    opts: tuple[str, ...] = ()
    gallery: str | None = None
    pictures: int = 6
    out: Path = Path("output/table2")
    work: Path = Path("output/table2")
    workers: int | None = None

    def __post_init__(self) -> None:
        for option, methods in (("weights", self.weights), ("config", self.configs)):
            for method in methods:
                if method not in NETWORKS:
                    raise ValueError(
                        f"--{option} {method}: not a network of this project; there are "
                        f"{', '.join(NETWORKS)}. Give the maps of others with --maps"
                    )
        for method, folder in self.maps.items():
            if not folder.is_dir():
                raise FileNotFoundError(f"--maps {method}={folder}: no such folder")
        if self.pictures < 1:
            raise ValueError(f"--pictures is {self.pictures}; give 1 or more")


def write_table2(table: Table2, command: Sequence[str], *, progress: bool = False) -> str:
    """Make maps, score them, and write ``results.md`` and its pictures, each as a whole.

    Args:
        table: what and where.
        command: as the page shows it.
        progress: show progress bars.

    Returns:
        the page, Markdown.

    Raises:
        ValueError: weights do not fit, data are unusable, or maps are missing or corrupt.
        FileNotFoundError: weights, data or a folder are missing.
    """
    dataset = dataset_name(table.dataset)
    rows = collect_maps(table, dataset, progress)
    evaluation = evaluate_methods(
        dataset, _folders(rows), measures="fast", workers=0, progress=progress
    )
    gallery, note = _gallery(table)
    shown = rows
    if gallery != dataset:
        shown = collect_maps(replace(table, maps={}), gallery, progress)
    page = report.markdown(Path(table.dataset).stem, evaluation, rows, command, note)
    table.out.mkdir(parents=True, exist_ok=True)
    for kind in ("png", "svg"):
        picture = render(report.draw_figure_5(evaluation), kind)
        write_bytes(table.out / f"table2_pr.{kind}", picture)
    with replacing(table.out / "table2_gallery.png") as temporary:
        report.draw_gallery(temporary, gallery, _folders(shown), table.pictures)
    write_json(table.work / "metrics.json", evaluation.metrics)
    write_text(table.out / "results.md", page)
    return page


def collect_maps(table: Table2, dataset: str, progress: bool = False) -> dict[str, report.RowMaps]:
    """Make the maps that can be made, and find the others.

    They go to ``WORK/DATASET/METHOD``, those of a network to a folder for its weights; maps that
    are done already stay.

    Args:
        table: maps, weights, the work folder.
        dataset: name in Detectron2's catalog.
        progress: show progress bars.

    Returns:
        all rows of Table 2 in its order, then further ones: the folder of maps, None where there
        are none, and what made them, or what is missing.

    Raises:
        ValueError: weights do not fit, or data are unusable.
        FileNotFoundError: weights or data are missing.
    """
    work = table.work / Path(dataset).stem
    rows: dict[str, report.RowMaps] = {}
    for method in [*report.ROWS, *(m for m in table.maps if m not in report.ROWS)]:
        if method in table.maps:
            rows[method] = (table.maps[method], "maps from a folder")
        elif method in METHODS:
            out = work / method
            write_baseline_maps(method, dataset, out, workers=table.workers, progress=progress)
            rows[method] = (out, f"`cosal paper baselines {method}`, seed 0")
        elif method in NETWORKS:
            rows[method] = _network_row(table, method, dataset, work, progress)
        else:
            rows[method] = (None, f"`--maps {method}=FOLDER` takes its maps")
    return rows


def network_config(table: Table2, method: str) -> CfgNode:
    """Config of a row in ``NETWORKS``, with its weights if they were given."""
    file, opts = NETWORKS[method]
    if method in table.configs:
        file, opts = table.configs[method], ()
    weights = table.weights.get(method, "")
    return get_cosal_config(file, [*opts, "MODEL.WEIGHTS", weights, *table.opts])


def _network_row(
    table: Table2, method: str, dataset: str, work: Path, progress: bool
) -> report.RowMaps:
    cfg = network_config(table, method)
    file, opts = NETWORKS[method]
    if not (cfg.MODEL.WEIGHTS or cfg.MODEL.RELEASED):
        train = shlex.join(["cosal", "train", "--config-file", file, *opts])
        return None, f"`--weights {method}=FILE` takes its weights; `{train}` trains them"
    out = work / f"{method}-{network_digest(cfg)[:8]}"
    try:
        write_network_maps(cfg, dataset, out, progress=progress)
    except ValueError as error:
        raise ValueError(f"{method}: {error}") from error
    file = Path(table.configs.get(method, file)).name
    return out, f"`{file}`, weights of sha256 {weights_digest(cfg)[:12]}"


def _folders(rows: Mapping[str, report.RowMaps]) -> dict[str, Path]:
    return {name: folder for name, (folder, _) in rows.items() if folder}


def _gallery(table: Table2) -> tuple[str, str]:
    """Dataset of Figure 6's pictures, and the page's words for it."""
    if table.gallery is not None:
        note = f"Pictures spread evenly over `{Path(table.gallery).stem}`, not chosen by result."
        return dataset_name(table.gallery), note
    name, seed, size = SCENES
    root, count = table.work / "scenes", table.pictures
    json_file = root / "cosal" / f"{name}_{count}.json"
    if not json_file.exists():
        spec = DatasetSpec(root, json_file.stem, count, seed, SceneOptions(size=size))
        write_dataset(spec, table.workers)
    note = (
        f"The first {count} synthetic scenes of seed {seed}, 0 to 4 distractors, not chosen by "
        "result. Methods whose maps come from a folder have none of these; `--gallery` takes the "
        "pictures of another dataset."
    )
    return dataset_name(str(json_file)), note
