"""The report of an ablation table: Markdown laid out as the paper's Table 1, CSV, a picture."""

from __future__ import annotations

import csv
import io
import os
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from cosal_d2.paper.ablation_config import column_order
from cosal_d2.paper.ablation_files import read_json
from cosal_d2.paper.ablation_state import merged
from cosal_d2.utils.files import write_text

F = "F0.3"
SCORES = {
    F: "F (beta² = 0.3)",
    "F1": "F1",
    "adpF": "adaptive F",
    "MAE": "MAE",
    "P": "P",
    "R": "R",
    "object_recall": "object recall",
    "distractor_rejection": "distractor rejection",
    "empty_share": "empty answers where nothing repeats",
}
# Table 1 of arXiv 1910.11819.
PAPER = {"1": 82.4, "2": 83.2, "3": 82.3, "4": 83.6, "5": 88.1, "6": 89.2, "7": 90.4}
SINGLE_SCALE = (
    "augmented but trained at a single scale, unlike the paper's multi-scale training: column {}. "
    "Give the base config several INPUT.MIN_SIZE_TRAIN."
)
PAPER_ROW = "Reference: F-measure (%) printed in the paper, on its own 2,019 images, beta² = 1"
# Keys that the paper's four rows stand for.
IN_ROWS = (
    "INPUT.MIN_SIZE_TRAIN",
    "INPUT.COLOR_JITTER.",
    "INPUT.OBJECT_CROP.",
    "INPUT.OCCLUSION.",
    "MODEL.FEATURE_SENSITIVE.ENABLED",
)
SAMPLER = "MODEL.RFM.SAMPLER"
SAMPLERS = ("", "OfflineSampler", "OnlineSampler")


def write_report(folder: Path) -> None:
    """Write ``ablation.md``, ``.csv`` and ``.png`` of the cells that are finished, if any is."""
    table = read_json(folder / "ablation.json")
    cells = [read_json(path) for path in (folder / "cells").glob("*.json")]
    if not cells:
        return
    cells.sort(key=lambda cell: (column_order(cell["column"]), cell["seed"]))
    write_text(folder / "ablation.md", markdown(table, cells))
    write_text(folder / "ablation.csv", csv_text(cells))
    temporary = folder / ".ablation.tmp.png"
    draw(cells).savefig(temporary, dpi=120)
    os.replace(temporary, folder / "ablation.png")


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (over n - 1), None for a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def single_scale(table: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Those of the columns that are augmented but see pictures at one scale only."""
    configs = {name: merged(table, name) for name in names}
    return [n for n, c in configs.items() if _augmented(c) and len(_scales(c)) == 1]


def markdown(table: dict[str, Any], cells: Sequence[dict[str, Any]]) -> str:
    """The whole report.

    Args:
        table: ``ablation.json``.
        cells: finished cells, by column and seed.
    """
    names = _columns(cells)
    parts = ["# Ablation", _circumstances(table, cells), _table_1(table, cells, names)]
    legend = (f"{n}: {table['columns'][n]['title']}" for n in names)
    parts.append(f"Columns: {'; '.join(legend)}.")
    flat = single_scale(table, names)
    if flat:
        parts.append(f"**Warning**: {SINGLE_SCALE.format(', '.join(flat))}")
    for dataset in _datasets(cells):
        parts += [f"## {dataset}", _scores(table, cells, names, dataset)]
    gradients = _gradients(table, cells, names)
    return "\n\n".join([*parts, *gradients]) + "\n"


def csv_text(cells: Sequence[dict[str, Any]]) -> str:
    """Long format: a line a cell and number, with ``n``, ``mean`` and ``std`` over the seeds."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["column", "title", "dataset", "score", "seed", "value", "n", "mean", "std", "steps"]
    )
    numbers = [(cell, *number) for cell in cells for number in _numbers(cell)]
    groups: dict[tuple[str, str, str], list[float]] = {}
    for cell, dataset, score, value in numbers:
        groups.setdefault((cell["column"], dataset, score), []).append(value)
    for cell, dataset, score, value in numbers:
        group = groups[cell["column"], dataset, score]
        mean, std = mean_std(group)
        writer.writerow(
            [cell["column"], cell["title"], dataset, score, cell["seed"], value]
            + [len(group), mean, "" if std is None else std, cell["steps"]]
        )
    return buffer.getvalue()


def draw(cells: Sequence[dict[str, Any]]) -> Figure:
    """F over the columns, a panel a test set: mean, standard deviation, and each seed."""
    datasets, names = _datasets(cells), _columns(cells)
    width = 1.4 + 0.6 * len(names)
    figure = Figure(figsize=(max(width, 3.5) * len(datasets), 3.4), layout="constrained")
    panels = figure.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
    for ax, dataset in zip(panels, datasets, strict=True):
        for x, name in enumerate(names):
            values = [100 * v for v in _values(cells, name, dataset, F)]
            if values:
                mean, std = mean_std(values)
                ax.errorbar(x, mean, std, marker="s", capsize=5, color="C0")
                ax.scatter([x] * len(values), values, s=9, color="C1", zorder=3)
        ax.set_xticks(range(len(names)), names)
        ax.set_title(dataset)
        ax.set_xlabel("column")
        ax.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("F-measure (%), beta² = 0.3")
    return figure


def _circumstances(table: dict[str, Any], cells: Sequence[dict[str, Any]]) -> str:
    dates = sorted({cell["date"] for cell in cells})
    seeds = sorted({cell["seed"] for cell in cells})
    commands = "".join(f"\n\n    {command}" for command in table["commands"])
    return (
        f"Trained on {', '.join(table['train'])} for {table['steps']} steps a cell from "
        f"{table['config']}; seeds {', '.join(map(str, seeds))}; mean ± sample standard deviation "
        f"over the seeds (n of them). {'; '.join(sorted({c['hardware'] for c in cells}))}; "
        f"{' to '.join(dict.fromkeys([dates[0], dates[-1]]))}.{commands}"
    )


def _table_1(table: dict[str, Any], cells: Sequence[dict[str, Any]], names: list[str]) -> str:
    configs = [merged(table, name) for name in names]
    rows = [
        [
            "Data augmentation (scales, colour jitter, clipping, occlusion)",
            *(_tick(_augmented(c)) for c in configs),
        ],
        [
            "Feature-Sensitive block",
            *(_tick(c["MODEL.FEATURE_SENSITIVE.ENABLED"]) for c in configs),
        ],
        ["Offline training (RFM)", *(_tick(c[SAMPLER] == SAMPLERS[1]) for c in configs)],
        ["Online training (RFM)", *(_tick(c[SAMPLER] == SAMPLERS[2]) for c in configs)],
    ]
    for key in _extensions(table, names, configs):
        settings = [_setting(c.get(key, "")) for c in configs]
        if set(settings) != {"-"}:
            rows.append([f"`{key}`", *settings])
    for dataset in _datasets(cells):
        values = {n: [100 * v for v in _values(cells, n, dataset, F)] for n in names}
        lost = {c["column"] for c in cells if c.get("diverged")}
        shown = ("diverged" if n in lost and not v else _shown(v, 1) for n, v in values.items())
        rows.append([f"F-measure (%), {dataset}", *shown])
    rows.append(["n", *(_count(cells, name) for name in names)])
    rows.append([PAPER_ROW, *(f"{PAPER[n]:.1f}" if n in PAPER else "-" for n in names)])
    return _grid(["The proposed method", *names], rows)


def _extensions(
    table: dict[str, Any], names: list[str], configs: Sequence[dict[str, Any]]
) -> list[str]:
    keys = {key for name in names for key in table["columns"][name]["keys"]}
    keys = {key for key in keys if not key.startswith(IN_ROWS) and key != SAMPLER}
    others = any(c[SAMPLER] not in SAMPLERS for c in configs)
    return sorted(keys) + [SAMPLER] * others


def _scores(
    table: dict[str, Any], cells: Sequence[dict[str, Any]], names: list[str], dataset: str
) -> str:
    scores = [s for s in SCORES if any(s in cell["scores"].get(dataset, {}) for cell in cells)]
    times = {n: [c["step_seconds"] for c in cells if c["column"] == n] for n in names}
    times = {n: statistics.fmean(t) for n, t in times.items() if None not in t}
    rows = []
    for name in names:
        shown = [_shown(_values(cells, name, dataset, score), 3) for score in scores]
        first = times.get(names[0])
        ratio = f"{times[name] / first:.2f}" if first and name in times else "-"
        probe = [c["probe"]["probe/satisfied"] for c in cells if c["column"] == name and c["probe"]]
        title = f"{name} {table['columns'][name]['title']}"
        rows.append([title, *shown, _shown(probe, 3), ratio, _count(cells, name)])
    head = [SCORES[s] for s in scores]
    return _grid(["Column", *head, "triplets satisfied", f"step time over {names[0]}", "n"], rows)


def _gradients(
    table: dict[str, Any], cells: Sequence[dict[str, Any]], names: list[str]
) -> Iterator[str]:
    losses = list(dict.fromkeys(loss for cell in cells for loss in cell["gradients"]))
    if not losses:
        return
    yield "## Gradient norms of the feature-sensitive block, by loss, after the last step"
    rows = []
    for name in names:
        own = [c["gradients"] for c in cells if c["column"] == name and c["gradients"]]
        values = [_shown([g[loss] for g in own if g.get(loss) is not None], 4) for loss in losses]
        if own:
            rows.append([f"{name} {table['columns'][name]['title']}", *values])
    yield _grid(["Column", *losses], rows)


def _numbers(cell: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    for dataset, scores in cell["scores"].items():
        yield from ((dataset, score, value) for score, value in scores.items())
    for key in ("seconds", "step_seconds"):
        if cell[key] is not None:
            yield "", key, cell[key]
    yield from (("", key, value) for key, value in cell["probe"].items())
    norms = cell["gradients"].items()
    yield from (("", f"gradient/{loss}", value) for loss, value in norms if value is not None)
    if cell.get("diverged"):
        yield "", "diverged", 1


def _values(cells: Sequence[dict[str, Any]], name: str, dataset: str, score: str) -> list[float]:
    own = [c["scores"].get(dataset, {}) for c in cells if c["column"] == name]
    return [scores[score] for scores in own if score in scores]


def _count(cells: Sequence[dict[str, Any]], name: str) -> str:
    """How many seeds of a column are scored, and how many diverged."""
    diverged = [bool(c.get("diverged")) for c in cells if c["column"] == name]
    scored = str(diverged.count(False))
    return f"{scored} ({sum(diverged)} diverged)" if any(diverged) else scored


def _columns(cells: Sequence[dict[str, Any]]) -> list[str]:
    return sorted({cell["column"] for cell in cells}, key=column_order)


def _datasets(cells: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for cell in cells for name in cell["scores"]))


def _augmented(config: dict[str, Any]) -> bool:
    on = ("COLOR_JITTER.STRENGTH", "COLOR_JITTER.GRAY_PROB", "OBJECT_CROP.PROB", "OCCLUSION.PROB")
    return len(_scales(config)) > 1 or any(config.get(f"INPUT.{key}", 0) > 0 for key in on)


def _scales(config: dict[str, Any]) -> set[int]:
    return set(config["INPUT.MIN_SIZE_TRAIN"])


def _setting(value: Any) -> str:
    return _tick(value) if isinstance(value, bool) else str(value) or "-"


def _tick(on: bool) -> str:
    return "✓" if on else "-"


def _shown(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    mean, std = mean_std(values)
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
