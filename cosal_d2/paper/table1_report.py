"""The report of Table 1: Markdown, CSV and a picture of the cells that are finished."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from cosal_d2.evaluation.evaluator import METRICS_FILE
from cosal_d2.paper.trainings import has_diverged
from cosal_d2.utils.files import csv_text, replacing, table_text, write_text

F = "F0.3"
SCORES = {
    F: "F (β² = 0.3)",
    "F1": "F (β² = 1)",
    "adpF": "adaptive F",
    "MAE": "MAE",
    "P": "precision",
    "R": "recall",
    "object_recall": "object recall",
    "distractor_rejection": "distractor rejection",
    "empty_share": "empty answers where nothing repeats",
}
# F (%) in Table 1 of arXiv 1910.11819.
PAPER = {"1": 82.4, "2": 83.2, "3": 82.3, "4": 83.6, "5": 88.1, "6": 89.2, "7": 90.4}


@dataclass(frozen=True)
class Cell:
    """A column trained with one seed.

    Attributes:
        column: its name.
        title: of the column.
        seed: of the training.
        folder: of the training.
        datasets: names of the test sets.
    """

    column: str
    title: str
    seed: int
    folder: Path
    datasets: tuple[str, ...]

    @property
    def diverged(self) -> bool:
        """Whether losses or maps stopped being finite."""
        return has_diverged(self.folder)

    @property
    def finished(self) -> bool:
        """Whether the cell is scored on every test set, or diverged."""
        return self.diverged or all(self._metrics(name).is_file() for name in self.datasets)

    def scores(self, dataset: str) -> dict[str, float]:
        """The measures on a test set; empty for a diverged cell and one that is not scored yet."""
        path = self._metrics(dataset)
        if self.diverged or not path.is_file():
            return {}
        return json.loads(path.read_text(encoding="utf-8"))

    def _metrics(self, dataset: str) -> Path:
        return self.folder / "inference" / dataset / METRICS_FILE


def write_report(out: Path, cells: Sequence[Cell], about: str) -> str:
    """Write ``table1.md``, ``table1.csv`` and ``table1.png``, and return the first.

    Args:
        out: the folder.
        cells: all that were asked for, finished or not.
        about: a sentence on how they were trained.
    """
    text = markdown(cells, about)
    write_text(out / "table1.md", text)
    rows = [
        {"column": c.column, "title": c.title, "seed": c.seed, "dataset": name}
        | {"diverged": int(c.diverged), **c.scores(name)}
        for c in cells
        if c.finished
        for name in c.datasets
    ]
    write_text(out / "table1.csv", csv_text(rows))
    with replacing(out / "table1.png") as temporary:
        draw(cells).savefig(temporary, dpi=120)
    return text


def markdown(cells: Sequence[Cell], about: str) -> str:
    """The page: a table a test set, a row a column."""
    parts = ["# Table 1", about]
    titles = {cell.column: cell.title for cell in cells}
    for dataset in cells[0].datasets:
        shown = [s for s in SCORES if any(s in cell.scores(dataset) for cell in cells)]
        rows = []
        for name, title in titles.items():
            own = [cell for cell in cells if cell.column == name]
            values = (_mean_std(_values(own, dataset, score)) for score in shown)
            printed = f"{PAPER[name]:.1f}" if name in PAPER else "-"
            rows.append([f"{name} {title}", *values, _count(own, dataset), printed])
        head = ["column", *(SCORES[s] for s in shown), "n", "F (%) in the paper"]
        parts += [f"## {dataset}", table_text(head, rows)]
    parts.append("The paper's F has β² = 1 and is of its own 2,019 pictures.")
    return "\n\n".join(parts) + "\n"


def draw(cells: Sequence[Cell]) -> Figure:
    """F over the columns, a panel a test set: mean, standard deviation, and each seed."""
    datasets = cells[0].datasets
    names = list(dict.fromkeys(cell.column for cell in cells))
    width = max(1.4 + 0.6 * len(names), 3.5)
    figure = Figure(figsize=(width * len(datasets), 3.4), layout="constrained")
    panels = figure.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
    for ax, dataset in zip(panels, datasets, strict=True):
        for x, name in enumerate(names):
            values = _values([cell for cell in cells if cell.column == name], dataset, F)
            if values:
                spread = statistics.stdev(values) if len(values) > 1 else None
                ax.errorbar(x, statistics.fmean(values), spread, marker="s", capsize=5, color="C0")
                ax.scatter([x] * len(values), values, s=9, color="C1", zorder=3)
        ax.set_xticks(range(len(names)), names)
        ax.set(title=dataset, xlabel="column", ylabel=SCORES[F])
        ax.grid(alpha=0.3)
    return figure


def _values(cells: Sequence[Cell], dataset: str, score: str) -> list[float]:
    scores = (cell.scores(dataset) for cell in cells)
    return [own[score] for own in scores if score in own]


def _mean_std(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def _count(cells: Sequence[Cell], dataset: str) -> str:
    """How many seeds of a column are scored, and how many diverged."""
    scored = sum(bool(cell.scores(dataset)) for cell in cells)
    diverged = sum(cell.diverged for cell in cells)
    return f"{scored} ({diverged} diverged)" if diverged else str(scored)
