"""Tables of methods: terminal, Markdown, LaTeX and CSV."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from cosal_d2.evaluation.field import LOWER_IS_BETTER, MEASURES

COLUMNS = (
    *(name for name in MEASURES if not name.endswith(("IoU", "Dice"))),
    *("meanIoU", "meanDice", "P", "R", "F0.3", "F1", "raw_MAE", "raw_adpF"),
    *("object_recall", "box_recall", "count_error", "distractor_rejection"),
    *("empty_MAE", "empty_share", "images"),
)
LOWER = LOWER_IS_BETTER | {"raw_MAE", "empty_MAE"}
LATEX = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def columns_of(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The measures that a table shows: those that any method has, in a fixed order."""
    return [name for name in COLUMNS if any(name in row for row in metrics.values())]


def terminal_table(metrics: Mapping[str, Mapping[str, float]], width: int = 100) -> str:
    """Table of plain text, in blocks of at most ``width`` characters."""
    names = columns_of(metrics)
    first = max(len("method"), *(len(method) for method in metrics))
    blocks, block, used = [], [], first
    for name in names:
        size = max(len(name), 6) + 2
        if block and used + size > width:
            blocks.append(block)
            block, used = [], first
        block.append(name)
        used += size
    blocks.append(block)
    return "\n\n".join(
        tabulate(
            [[m, *(_number(row.get(name)) for name in block)] for m, row in metrics.items()],
            ["method", *block],
            tablefmt="simple",
            disable_numparse=True,
            colalign=("left", *("right" for _ in block)),
        )
        for block in blocks
    )


def markdown_table(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """GitHub table, the best of each column in bold."""
    rows = _marked(metrics, columns_of(metrics), "**{}**".format, lambda s: s.replace("|", r"\|"))
    headers = ["method", *columns_of(metrics)]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True) + "\n"


def latex_table(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """``tabular`` with the best of each column in bold."""
    names = columns_of(metrics)
    rows = _marked(metrics, names, r"\textbf{{{}}}".format, latex_escape)
    headers = ["method", *map(latex_escape, names)]
    align = ("left", *("right" for _ in names))
    return (
        tabulate(rows, headers, tablefmt="latex_raw", disable_numparse=True, colalign=align) + "\n"
    )


def latex_escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return re.sub(r"[&%$#_{}\\~^<>]", lambda match: LATEX[match.group()], text)


def best_of(metrics: Mapping[str, Mapping[str, float]], name: str) -> float | None:
    """Best value of a measure among two or more methods; None for counts, or where all agree."""
    values = [row[name] for row in metrics.values() if name in row]
    if name == "images" or len(set(values)) < 2:
        return None
    return min(values) if name in LOWER else max(values)


def _marked(
    metrics: Mapping[str, Mapping[str, float]], names: Sequence[str], mark, escape
) -> list[list[str]]:
    best = {name: best_of(metrics, name) for name in names}
    rows = []
    for method, row in metrics.items():
        cells = [escape(method)]
        for name in names:
            cell = _number(row.get(name))
            is_best = best[name] is not None and row.get(name) == best[name]
            cells.append(mark(cell) if is_best else cell)
        rows.append(cells)
    return rows


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
