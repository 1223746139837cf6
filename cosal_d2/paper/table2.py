"""The paper's Table 2 and Figures 5 and 6: maps, scores, page and pictures."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from detectron2.config import CfgNode

from cosal_d2.config import get_cosal_config
from cosal_d2.data.datasets import dataset_name
from cosal_d2.evaluation.curves import draw_curves, render
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
from cosal_d2.utils.files import write_bytes, write_json, write_text

SCENES = ("table2_gallery", 6, (240, 320))  # name, seed and size of the synthetic scenes
# Shipped config and config changes of the rows that are networks of this project.
NETWORKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "U-Net": ("cosal_vgg16_unet.yaml", ()),
    "ours-offline": (
        "cosal_vgg16.yaml",
        ("MODEL.RELEASED", "", "MODEL.GROUPING.ENABLED", "False")
        + ("MODEL.RFM.SAMPLER", "OfflineSampler"),
    ),
    "ours-online": ("cosal_vgg16.yaml", ()),
}


def write_table2(
    dataset: str,
    out: Path,
    work: Path,
    command: Sequence[str],
    *,
    maps: Mapping[str, Path],
    weights: Mapping[str, str],
    configs: Mapping[str, str],
    opts: Sequence[str] = (),
    gallery: str | None = None,
    pictures: int = 6,
    workers: int | None = None,
    progress: bool = False,
) -> str:
    """Make maps, score them, and write ``results.md`` and its pictures, each as a whole.

    Args:
        dataset: a registered name, or a json beside its image folder.
        out: folder of the page and its pictures.
        work: folder of maps and ``metrics.json``.
        command: as the page shows it.
        maps: folders of finished maps by method; a name that Table 2 lacks becomes a further row.
        weights: checkpoint files of the rows in ``NETWORKS``.
        configs: their configs, where not the shipped ones.
        opts: config changes of all networks.
        gallery: as ``dataset``, for Figure 6's pictures; None draws synthetic scenes.
        pictures: of Figure 6.
        workers: processes; None takes one for each core that this process may use.
        progress: show progress bars.

    Returns:
        the page, Markdown.

    Raises:
        ValueError: a method is no network of this project, there is no picture to show, weights do
            not fit, data are unusable, or maps are missing or corrupt.
        FileNotFoundError: weights, data or a folder are missing.
    """
    for option, methods in (("weights", weights), ("config", configs)):
        for method in methods:
            if method not in NETWORKS:
                raise ValueError(
                    f"--{option} {method}: not a network of this project; there are "
                    f"{', '.join(NETWORKS)}. Give the maps of others with --maps"
                )
    for method, folder in maps.items():
        if not folder.is_dir():
            raise FileNotFoundError(f"--maps {method}={folder}: no such folder")
    if pictures < 1:
        raise ValueError(f"--pictures is {pictures}; give 1 or more")
    networks = {}
    for method, (file, changes) in NETWORKS.items():
        if method in configs:
            file, changes = configs[method], ()
        changes = [*changes, "MODEL.WEIGHTS", weights.get(method, ""), *opts]
        networks[method] = Path(file).name, get_cosal_config(file, changes)

    name = dataset_name(dataset)
    rows = _collect_maps(name, work, maps, networks, workers, progress)
    evaluation = evaluate_methods(
        name, _folders(rows), measures="fast", workers=0, progress=progress
    )
    if gallery is None:
        shown_dataset, note = _draw_scenes(work, pictures, workers)
    else:
        shown_dataset = dataset_name(gallery)
        note = f"Pictures spread evenly over `{Path(gallery).stem}`, not chosen by result."
    shown = rows
    if shown_dataset != name:
        shown = _collect_maps(shown_dataset, work, {}, networks, workers, progress)
    page = report.markdown(Path(dataset).stem, evaluation, rows, command, note)
    out.mkdir(parents=True, exist_ok=True)
    curves = {report.title_of(method): own for method, own in evaluation.curves.items()}
    for kind in ("png", "svg"):
        write_bytes(out / f"table2_pr.{kind}", render(draw_curves(curves), kind))
    report.draw_gallery(out / "table2_gallery.png", shown_dataset, _folders(shown), pictures)
    write_json(work / "metrics.json", evaluation.metrics)
    write_text(out / "results.md", page)
    return page


def _collect_maps(
    dataset: str,
    work: Path,
    maps: Mapping[str, Path],
    networks: Mapping[str, tuple[str, CfgNode]],
    workers: int | None,
    progress: bool,
) -> dict[str, report.RowMaps]:
    """Make the maps that can be made, in ``WORK/DATASET/METHOD``, and find the others: all rows of
    Table 2 in its order, then further ones. Maps that are done already stay."""
    work = work / Path(dataset).stem
    rows: dict[str, report.RowMaps] = {}
    for method in dict.fromkeys([*report.ROWS, *maps]):
        if method in maps:
            rows[method] = (maps[method], "maps from a folder")
        elif method in METHODS:
            out = work / method
            write_baseline_maps(method, dataset, out, workers=workers, progress=progress)
            rows[method] = (out, f"`cosal paper baselines {method}`, seed 0")
        elif method in networks:
            rows[method] = _network_row(method, *networks[method], dataset, work, progress)
        else:
            rows[method] = (None, f"`--maps {method}=FOLDER` takes its maps")
    return rows


def _network_row(
    method: str, file: str, cfg: CfgNode, dataset: str, work: Path, progress: bool
) -> report.RowMaps:
    if not (cfg.MODEL.WEIGHTS or cfg.MODEL.RELEASED):
        shipped, changes = NETWORKS[method]
        train = shlex.join(["cosal", "train", "--config-file", shipped, *changes])
        return None, f"`--weights {method}=FILE` takes its weights; `{train}` trains them"
    out = work / f"{method}-{network_digest(cfg)[:8]}"
    try:
        write_network_maps(cfg, dataset, out, progress=progress)
    except ValueError as error:
        raise ValueError(f"{method}: {error}") from error
    return out, f"`{file}`, weights of sha256 {weights_digest(cfg)[:12]}"


def _folders(rows: Mapping[str, report.RowMaps]) -> dict[str, Path]:
    return {name: folder for name, (folder, _) in rows.items() if folder}


def _draw_scenes(work: Path, count: int, workers: int | None) -> tuple[str, str]:
    """Dataset of synthetic scenes, and the page's words for it."""
    name, seed, size = SCENES
    root = work / "scenes"
    json_file = root / "cosal" / f"{name}_{count}.json"
    if not json_file.exists():
        spec = DatasetSpec(root, json_file.stem, count, seed, SceneOptions(size=size))
        write_dataset(spec, workers)
    note = (
        f"The first {count} synthetic scenes of seed {seed}, 0 to 4 distractors, not chosen by "
        "result. Methods whose maps come from a folder have none of these; `--gallery` takes the "
        "pictures of another dataset."
    )
    return dataset_name(str(json_file)), note
