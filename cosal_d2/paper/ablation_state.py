"""``ablation.json``: what a table's cells are, so that nothing else is ever mixed into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from cosal_d2.data.datasets import check_registered
from cosal_d2.paper.ablation_config import (
    Column,
    column_config,
    compared,
    content_hash,
    fingerprint,
    first_difference,
    set_schedule,
)
from cosal_d2.paper.ablation_files import read_json


def load_table(
    folder: Path, base: CfgNode, columns: Sequence[Column], steps: int | None
) -> dict[str, Any]:
    """The state of a folder; a new one where no cell was started.

    Args:
        folder: of the table.
        base: the base config.
        columns: asked for now.
        steps: asked for now, or None.

    Returns:
        ``steps`` (None where they are still to be planned), ``data`` (a content hash a dataset),
        ``base`` (the flat base config), ``columns``, ``fixed_seconds`` and ``commands``.

    Raises:
        ValueError: a started cell was trained with another number of steps, with another content
            of a dataset or from another base config.
    """
    started = started_cells(folder)
    path = folder / "ablation.json"
    if started and not path.is_file():
        raise refusal(folder, started[0], "ablation.json, which says with what, is missing")
    now = {"steps": steps, "data": {}, "columns": {}, "fixed_seconds": {}, "commands": []}
    table = read_json(path) if started else now
    if steps is not None and steps != table["steps"]:
        raise refusal(
            folder, started[0], _change("SOLVER.MAX_ITER (--steps)", table["steps"], steps)
        )
    names = {name for column in columns for name in _datasets(base, column)}
    check_registered(sorted(names))
    for name, value in content_hash(sorted(names)).items():
        if table["data"].setdefault(name, value) != value:
            raise refusal(folder, started[0], f"the files of {name} have changed")
    return table


def set_columns(
    table: dict[str, Any], folder: Path, base: CfgNode, columns: Sequence[Column]
) -> None:
    """Enter the base config and the columns into a table whose steps are known.

    A column is stored as what differs from the base. A started one stays as it was.

    Raises:
        ValueError: the base, or a started column, was something else.
    """
    started = started_cells(folder)
    base_now = _flat_base(base, table["steps"])
    if started:
        difference = first_difference(table["base"], base_now)
        if difference:
            raise refusal(folder, started[0], _change(*difference))
    else:
        table["base"] = base_now
    for column in columns:
        cells = [cell for cell in started if cell.rpartition("_")[0] == column.name]
        now = compared(column_config(base, column, table["steps"]))
        entry = table["columns"].get(column.name)
        if cells and entry is None:
            raise refusal(folder, cells[0], f"ablation.json has no column {column.name}")
        if cells:
            difference = first_difference(merged(table, column.name), now)
            if difference:
                raise refusal(folder, cells[0], _change(*difference))
            _check_fingerprints(folder, cells, entry["fingerprint"])
        else:
            data = {name: table["data"][name] for name in _datasets(base, column)}
            entry = table["columns"][column.name] = {
                "config": {k: v for k, v in now.items() if table["base"].get(k) != v},
                "fingerprint": fingerprint(now, data),
            }
        entry.update(title=column.title, file=column.file, keys=sorted(column.keys))


def merged(table: dict[str, Any], name: str) -> dict[str, Any]:
    """The flat config of a column."""
    return {**table["base"], **table["columns"][name]["config"]}


def started_cells(folder: Path) -> list[str]:
    """Names, ``COLUMN_SEED``, of finished cells and of those that have a checkpoint."""
    cells = {path.stem for path in (folder / "cells").glob("*.json")}
    return sorted(cells | {path.parent.name for path in folder.glob("runs/*/last_checkpoint")})


def refusal(folder: Path, cell: str, reason: str) -> ValueError:
    """The error for a folder whose cells are not what is asked for."""
    return ValueError(
        f"{folder} has the cell {cell}, trained with something else: {reason}; give another --out "
        "(nothing was changed here)"
    )


def _change(key: str, was: Any, now: Any) -> str:
    return f"{key} was {was!r}, now it is {now!r}"


def _datasets(base: CfgNode, column: Column) -> list[str]:
    datasets = column_config(base, column, 1).DATASETS
    return [*datasets.TRAIN, *datasets.TEST]


def _flat_base(base: CfgNode, steps: int) -> dict[str, Any]:
    cfg = base.clone()
    cfg.defrost()
    set_schedule(cfg, steps)
    return compared(cfg)


def _check_fingerprints(folder: Path, cells: Sequence[str], wanted: str) -> None:
    for cell in cells:
        path = folder / "cells" / f"{cell}.json"
        if path.is_file() and read_json(path).get("fingerprint") != wanted:
            raise refusal(folder, cell, "its fingerprint is not that of its column")
