"""Table 2 and Figures 5 and 6 of the paper in this project's own form: Markdown and pictures."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.data import DatasetCatalog

from cosal_d2.evaluation import decode_truth
from cosal_d2.evaluation.bootstrap import Difference
from cosal_d2.evaluation.maps import MapsEvaluation, find_maps, read_map
from cosal_d2.evaluation.tables import LOWER_IS_BETTER
from cosal_d2.evaluation.truth import load_truth
from cosal_d2.paper.method_maps import picture_of, seconds_per_map
from cosal_d2.paper.table2_rows import RowMaps
from cosal_d2.utils.drawing import save_gallery
from cosal_d2.utils.files import table_text

# Names in the evaluation of Table 2's columns, and of what else tells methods apart.
COLUMNS: Mapping[str, str] = {
    "F0.3": "F (β² = 0.3)",
    "F1": "F (β² = 1)",
    "R": "recall",
    "P": "precision",
    "raw_MAE": "MAE",
    "maxF": "max F",
    "object_recall": "objects found",
}
# The row that the others are compared with, and the columns of the differences.
REFERENCE = "ours-online"
COMPARED: Mapping[str, str] = {"F0.3": "F (β² = 0.3) - {}", "raw_MAE": "MAE - {}"}
Differences = dict[str, dict[str, Difference]]  # by method and measure
WIDTH = 320  # of Figure 6's pictures, pixels
PRINTED = ("F", "recall", "precision", "MAE")
NOT_PRINTED = ["-"] * len(PRINTED)


@dataclass(frozen=True)
class Row:
    """A row of Table 2.

    Attributes:
        title: as the table shows it.
        own: F, recall, precision and MAE printed in arXiv 1910.11819 for its own 2,019 images; None
            where it has no such row.
        sdcs: the same for SDCS.
    """

    title: str
    own: tuple[float, float, float, float] | None = None
    sdcs: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Section:
    """A dataset's part of the page.

    Attributes:
        title: name of the dataset.
        evaluation: of the rows that have maps.
        differences: of each to the reference.
        rows: all rows in order.
    """

    title: str
    evaluation: MapsEvaluation
    differences: Differences
    rows: Mapping[str, RowMaps]


ROWS: Mapping[str, Row] = {
    "FT": Row(
        "FT (Achanta et al. 2009)", (0.536, 0.640, 0.461, 0.258), (0.580, 0.530, 0.600, 0.244)
    ),
    "CWS": Row("CWS (Fu et al. 2013)", (0.707, 0.764, 0.658, 0.166), (0.767, 0.700, 0.790, 0.165)),
    "U-Net": Row(
        "U-Net (Ronneberger et al. 2015)",
        (0.824, 0.805, 0.846, 0.096),
        (0.856, 0.762, 0.889, 0.107),
    ),
    "RFCN": Row(
        "RFCN (Wang et al. 2016)", (0.852, 0.858, 0.847, 0.083), (0.883, 0.848, 0.895, 0.083)
    ),
    "PiCANet": Row(
        "PiCANet (Liu et al. 2018)", (0.856, 0.883, 0.830, 0.086), (0.854, 0.841, 0.869, 0.088)
    ),
    "DCL": Row("DCL (Li and Yu 2016)", (0.887, 0.860, 0.916, 0.059), (0.888, 0.844, 0.902, 0.059)),
    "LFM": Row("LFM (Yu et al. 2018)", (0.893, 0.881, 0.907, 0.051), (0.903, 0.850, 0.912, 0.050)),
    "CPFE": Row("CPFE / PFA (Zhao and Wu 2019)"),
    "ours-offline": Row(
        "Ours (offline)", (0.892, 0.870, 0.917, 0.050), (0.907, 0.855, 0.924, 0.048)
    ),
    "ours-online": Row("Ours (online)", (0.904, 0.917, 0.892, 0.047), (0.911, 0.865, 0.925, 0.044)),
    "ours-grouping": Row("Ours with grouping"),
}


def markdown(
    sections: Sequence[Section], command: Sequence[str], gallery_note: str, device: str
) -> str:
    """The page: what was measured, what the paper printed, and the two figures.

    Args:
        sections: one a dataset.
        command: that made the page.
        gallery_note: says what Figure 6's pictures are.
        device: on which the networks ran, "cpu" or "cuda".
    """
    titles = ", ".join(f"`{section.title}`" for section in sections)
    on_gpu = torch.device(device).type == "cuda"
    count = torch.get_num_threads()
    threads = f"{count} thread{'s' if count > 1 else ''} of the CPU"
    where = f"{torch.cuda.get_device_name(device)} and {threads}" if on_gpu else threads
    parts = [
        "# Table 2 and Figures 5 and 6",
        f"Every row that can be run or was given maps, on {titles}, by\n\n    "
        + shlex.join(command),
        "Maps are 8-bit and scored alike. F comes from the mean precision and the mean recall at "
        "the adaptive threshold, with both of Table 2's β²; MAE is of the map as it is; the best "
        f"of a column is bold. The columns “- {title_of(REFERENCE)}” are the row minus that one on "
        "the same pictures, with the 95 % interval of a paired bootstrap over pictures. Seconds "
        f"are the median of a picture, networks on {where}, FT and CWS on one thread. Parameters, "
        "in millions, are those that work at test time, the frozen encoder's too.",
    ]
    for section in sections:
        images = next(iter(section.evaluation.metrics.values()))["images"]
        parts += [f"## {section.title}: {images:.0f} pictures", _measured(section)]
    parts += [
        "## What made the maps",
        _origins(sections[0].rows),
        "This compares maps, not trainings: networks whose weights were given may differ in "
        "iterations and data. `cosal paper table1` is about equal ones.",
        "## What the paper printed",
        "Its own 2,019 pictures (F with β² = 1) and SDCS (F with β² = 0.3): other pictures, other "
        "training data, so no number here compares with one above.",
        _printed(),
        "## Figure 5: precision-recall curves",
        "Means over the pictures at 256 thresholds, maps stretched to their own range.",
    ]
    parts += [
        f"![precision-recall curves on {s.title}](table2_pr_{s.title}.png) "
        f"([as SVG](table2_pr_{s.title}.svg))"
        for s in sections
    ]
    parts += [
        "## Figure 6: maps side by side",
        "![pictures, truths and maps](table2_gallery.png)",
        gallery_note,
    ]
    return "\n\n".join(parts) + "\n"


def draw_gallery(path: Path, dataset: str, folders: Mapping[str, Path], count: int) -> None:
    """Figure 6: picture, truth and maps of pictures spread evenly over a dataset.

    Args:
        path: of the PNG.
        dataset: name in Detectron2's catalog.
        folders: of maps, by method; a map that is missing stays grey.
        count: pictures.

    Raises:
        ValueError: a picture or a map cannot be read.
    """
    truth = load_truth(dataset)
    records = list(DatasetCatalog.get(dataset))
    places = np.unique(np.linspace(0, len(records) - 1, min(count, len(records))).round())
    maps = {name: find_maps(truth, name, folder)[0] for name, folder in folders.items()}
    drawn = []
    for place in (int(p) for p in places):
        record = records[place]
        size = (record["height"], record["width"])
        row = [picture_of(record), decode_truth(record).mask.astype(np.uint8) * 255]
        for files in maps.values():
            given = place in files
            row.append(read_map(files[place], *size) if given else np.full(size, 128, np.uint8))
        target = (WIDTH, max(1, round(WIDTH * size[0] / size[1])))
        drawn.append([cv2.resize(p, target, interpolation=cv2.INTER_AREA) for p in row])
    save_gallery(path, ["picture", "truth", *folders], drawn, 1.7)


def title_of(method: str) -> str:
    """A method as tables and figures show it."""
    return ROWS[method].title if method in ROWS else method


def _measured(section: Section) -> str:
    metrics = section.evaluation.metrics
    columns = [c for c in COLUMNS if any(c in m for m in metrics.values())]
    best = {}
    for column in columns:
        pick = min if column in LOWER_IS_BETTER else max
        best[column] = pick(f"{m[column]:.3f}" for m in metrics.values() if column in m)
    compared = COMPARED if section.differences else {}
    lines = []
    for name, row in section.rows.items():
        own = metrics.get(name, {})
        shown = [f"{own[c]:.3f}" if c in own else "-" for c in columns]
        bold = [
            f"**{s}**" if c in own and s == best[c] else s
            for s, c in zip(shown, columns, strict=True)
        ]
        against = section.differences.get(name, {})
        seconds = seconds_per_map(row.folder) if row.folder else None
        size = "-" if row.parameters is None else f"{row.parameters / 1e6:.1f}"
        lines.append(
            [title_of(name), *bold]
            + [_interval(against[c]) if c in against else "-" for c in compared]
            + ["-" if seconds is None else f"{seconds:.3f}", size]
        )
    head = [COLUMNS[c] for c in columns]
    head += [text.format(title_of(REFERENCE)) for text in compared.values()]
    return table_text(["method", *head, "seconds", "parameters"], lines)


def _interval(found: Difference) -> str:
    return f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _origins(rows: Mapping[str, RowMaps]) -> str:
    return "\n".join(f"- {title_of(name)}: {row.origin}." for name, row in rows.items())


def _printed() -> str:
    head = ["method", *(f"own: {p}" for p in PRINTED), *(f"SDCS: {p}" for p in PRINTED)]
    lines = []
    for row in ROWS.values():
        halves = [
            [f"{v:.3f}" for v in part] if part else NOT_PRINTED for part in (row.own, row.sdcs)
        ]
        lines.append([row.title, *halves[0], *halves[1]])
    return table_text(head, lines)
