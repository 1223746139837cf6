"""The paper's Table 2 and Figures 5 and 6: trainings, maps, scores, page and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detectron2.data import DatasetCatalog

from cosal_d2.data.datasets import dataset_name
from cosal_d2.data.presence import check_pictures
from cosal_d2.evaluation.bootstrap import paired_differences
from cosal_d2.evaluation.curves import draw_curves, render
from cosal_d2.evaluation.maps import MapsEvaluation, check_maps, evaluate_methods
from cosal_d2.evaluation.truth import load_truth
from cosal_d2.paper import table2_report as report
from cosal_d2.paper.table2_rows import (
    NETWORKS,
    Network,
    RowMaps,
    check_rows,
    load_networks,
    make_maps,
    train_networks,
)
from cosal_d2.prepare.synthetic import DatasetSpec, SceneOptions, write_dataset
from cosal_d2.utils.files import write_bytes, write_json, write_text

SCENES = ("table2_gallery", 6, (240, 320))  # name, seed and size of the synthetic scenes


@dataclass(frozen=True)
class Table2:
    """What Table 2 is made of.

    Attributes:
        datasets: registered names, or jsons beside their image folders; a table each.
        maps: folders of finished maps by method; a name that Table 2 lacks becomes a further row.
            With several datasets each has a folder of its name in it.
        weights: checkpoint files of the rows in ``NETWORKS``.
        configs: their configs, where not the shipped ones.
        onnx: files of further rows, by name, see :class:`.OnnxSaliency`.
        opts: config changes of all networks.
        base_opts: the same, but a row's own come after them.
        train: iterations for the networks without weights; None trains none.
        data: training datasets; empty for each config's own.
        gallery: as a dataset, for Figure 6's pictures; None draws synthetic scenes.
        pictures: of Figure 6.
    """

    datasets: Sequence[str]
    maps: Mapping[str, Path] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, str] = field(default_factory=dict)
    onnx: Mapping[str, str] = field(default_factory=dict)
    opts: Sequence[str] = ()
    base_opts: Sequence[str] = ()
    train: int | None = None
    data: Sequence[str] = ()
    gallery: str | None = None
    pictures: int = 6

    def __post_init__(self) -> None:
        for option, methods in (("weights", self.weights), ("config", self.configs)):
            for method in methods:
                if method not in NETWORKS:
                    raise ValueError(
                        f"--{option} {method}: not a network of this project; there are "
                        f"{', '.join(NETWORKS)}. Give the maps of others with --maps"
                    )
        for method in self.onnx:
            if method in report.ROWS or method in self.maps:
                raise ValueError(f"--onnx {method}: there is such a row; give another name")
        for method, folder in self.maps.items():
            for own in self.map_folders(method):
                if not own.is_dir():
                    raise FileNotFoundError(f"--maps {method}={folder}: no such folder: {own}")
        if self.pictures < 1:
            raise ValueError(f"--pictures is {self.pictures}; give 1 or more")
        names = [Path(dataset).stem for dataset in self.datasets]
        if len(set(names)) < len(names):
            raise ValueError(f"--dataset {' '.join(self.datasets)}: give each name once")

    @property
    def rows(self) -> list[str]:
        """All rows, in order."""
        return list(dict.fromkeys([*report.ROWS, *self.onnx, *self.maps]))

    def map_folders(self, method: str) -> list[Path]:
        """The folders of a method's finished maps, one a dataset."""
        if len(self.datasets) == 1:
            return [self.maps[method]]
        return [self.maps[method] / Path(dataset).stem for dataset in self.datasets]


def write_table2(
    table: Table2,
    out: Path,
    work: Path,
    command: Sequence[str],
    *,
    workers: int | None = None,
    progress: bool = False,
) -> str:
    """Train, make maps, score them, and write ``results.md`` and its pictures, each as a whole.

    Args:
        table: what to compare, and on what.
        out: folder of the page and its pictures.
        work: folder of trainings, maps and ``metrics.json``.
        command: as the page shows it.
        workers: processes; None takes one for each core that this process may use.
        progress: show progress bars.

    Returns:
        the page, Markdown.

    Raises:
        ValueError: weights do not fit, data are unusable, maps are missing or corrupt, or the
            folder has trainings with other settings.
        FileNotFoundError: weights, an ONNX file or data are missing.
        ImportError: a package that a row needs is missing.
    """
    names = [dataset_name(dataset) for dataset in table.datasets]
    gallery = None if table.gallery is None else dataset_name(table.gallery)
    networks = load_networks(table.weights, table.configs, table.opts, table.base_opts)
    if table.train is not None:
        check_rows(networks, table.onnx)
        seen = dict.fromkeys([*names, gallery] if gallery else names)
        check_pictures({Path(name).stem: DatasetCatalog.get(name) for name in seen})
        for place, name in enumerate(names):
            given = {method: table.map_folders(method)[place] for method in table.maps}
            check_maps(load_truth(name), given)
        networks = train_networks(networks, table.train, table.data, work)

    rows: dict[str, RowMaps] = {}
    sections, metrics, curves = [], {}, {}
    for place, name in enumerate(names):
        given = {method: table.map_folders(method)[place] for method in table.maps}
        rows = _collect_maps(name, table, given, networks, work, workers, progress)
        evaluation = evaluate_methods(
            name, _folders(rows), measures="fast", workers=0, progress=progress
        )
        title = Path(name).stem
        sections.append(report.Section(title, evaluation, _differences(evaluation), rows))
        metrics[title], curves[title] = evaluation.metrics, evaluation.curves
    if gallery is None:
        gallery, note = _draw_scenes(work, table.pictures, workers)
    else:
        note = f"Pictures spread evenly over `{Path(gallery).stem}`, not chosen by result."
    shown = rows
    if gallery != names[-1] or table.maps:
        shown = _collect_maps(gallery, table, {}, networks, work, workers, progress)
    device = networks[report.REFERENCE].cfg.MODEL.DEVICE
    page = report.markdown(sections, command, note, device)
    out.mkdir(parents=True, exist_ok=True)
    for title, own in curves.items():
        figure = draw_curves({report.title_of(method): curve for method, curve in own.items()})
        for kind in ("png", "svg"):
            write_bytes(out / f"table2_pr_{title}.{kind}", render(figure, kind))
    report.draw_gallery(out / "table2_gallery.png", gallery, _folders(shown), table.pictures)
    write_json(work / "metrics.json", metrics)
    write_text(out / "results.md", page)
    return page


def _collect_maps(
    dataset: str,
    table: Table2,
    given: Mapping[str, Path],
    networks: Mapping[str, Network],
    work: Path,
    workers: int | None,
    progress: bool,
) -> dict[str, RowMaps]:
    """All rows with their maps, those that are not ``given`` in ``WORK/DATASET``. Maps that are
    done already stay; further rows that are not given are left out."""
    work = work / Path(dataset).stem
    rows = {}
    for row in table.rows:
        if row in given:
            rows[row] = RowMaps(given[row], "maps from a folder")
        elif row in report.ROWS or row in table.onnx:
            rows[row] = make_maps(row, dataset, work, networks, table.onnx, workers, progress)
    return rows


def _folders(rows: Mapping[str, RowMaps]) -> dict[str, Path]:
    return {name: row.folder for name, row in rows.items() if row.folder}


def _differences(evaluation: MapsEvaluation) -> report.Differences:
    """Of each method to the reference, on the same pictures, by measure."""
    reference = evaluation.methods.get(report.REFERENCE)
    found: report.Differences = {}
    for name, method in evaluation.methods.items():
        if reference is None or name == report.REFERENCE:
            continue
        pair = MapsEvaluation(evaluation.truth, {name: method, report.REFERENCE: reference})
        found[name] = {d.measure: d for d in paired_differences(pair)}
    return found


def _draw_scenes(work: Path, count: int, workers: int | None) -> tuple[str, str]:
    """Dataset of synthetic scenes, and the page's words for it."""
    name, seed, size = SCENES
    spec = DatasetSpec(work / "scenes", f"{name}_{count}", count, seed, SceneOptions(size=size))
    note = (
        f"The first {count} synthetic scenes of seed {seed}, 0 to 4 distractors, not chosen by "
        "result. Methods whose maps come from a folder have none of these; `--gallery` takes the "
        "pictures of another dataset."
    )
    return dataset_name(str(draw_once(spec, workers))), note


def draw_once(spec: DatasetSpec, workers: int | None) -> Path:
    """The json of a series of synthetic scenes, which are drawn if they are not there yet."""
    json_file = spec.root / "cosal" / f"{spec.name}.json"
    if not json_file.exists():
        write_dataset(spec, workers)
    return json_file
