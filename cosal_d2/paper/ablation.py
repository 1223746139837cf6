"""One command for the paper's Table 1: columns times seeds, trained for an equal number of steps.

A table lives in a folder: ``ablation.json`` (what was asked for, the number of steps),
``cells/COLUMN_SEED.json`` (a finished cell), ``runs/COLUMN_SEED/`` (logs, and the checkpoints of
an unfinished one) and what :mod:`cosal_d2.paper.ablation_report` writes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from cosal_d2.paper.ablation_cell import train_cell
from cosal_d2.paper.ablation_config import Column, column_config
from cosal_d2.paper.ablation_files import table_lock
from cosal_d2.paper.ablation_plan import measure_cost, plan_steps
from cosal_d2.paper.ablation_report import SINGLE_SCALE, single_scale, write_report
from cosal_d2.paper.ablation_state import load_table, set_columns
from cosal_d2.paper.stopping import Stopped, StopRequest
from cosal_d2.utils.files import write_json, write_text

logger = logging.getLogger(__name__)

# At most this share of the budget, and this many seconds a column, go into timing steps.
TIMING_SHARE = 0.05
MAX_TIMING_SECONDS = 20.0
IGNORED = "# Logs, checkpoints and weights.\nruns/\nweights/\n.lock\n"


@dataclass(frozen=True)
class Ablation:
    """What is asked for.

    Attributes:
        config_name: of the base config, without its folder.
        base: the base config, with ``DATASETS.TRAIN`` and ``DATASETS.TEST``.
        columns: what is compared.
        seeds: one training each.
        folder: of the table.
        steps: of each training, or None to plan them from the budget.
        budget_minutes: of the whole command, or None.
        keep_weights: whether a cell's trainable weights go to ``weights/COLUMN_SEED.pth``.
        command: as typed, for the table.
        started: ``time.monotonic()`` from which the budget counts; None for now.

    Raises:
        ValueError: a value is unusable; the message names the option.
    """

    config_name: str
    base: CfgNode
    columns: Sequence[Column]
    seeds: Sequence[int]
    folder: Path
    steps: int | None = None
    budget_minutes: float | None = None
    keep_weights: bool = False
    command: str = ""
    started: float | None = None

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"--columns: {', '.join(names) or 'none'}; name each once")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("--seeds: give different whole numbers from 0 on")
        if (self.steps is None) == (self.budget_minutes is None):
            raise ValueError("give either --budget MINUTES or --steps NUMBER")
        if min(x for x in (self.steps, self.budget_minutes) if x is not None) <= 0:
            raise ValueError("--budget and --steps: give more than 0")
        if not self.base.DATASETS.TEST:
            raise ValueError("DATASETS.TEST is empty: name the datasets to score with --test")

    @property
    def cells(self) -> list[tuple[Column, int]]:
        """Seed by seed, so that columns can be compared early."""
        return [(column, seed) for seed in self.seeds for column in self.columns]


def run_ablation(ablation: Ablation) -> str:
    """Train the cells that are not finished, and bring the table up to date after each.

    Returns:
        "" when every cell is finished, else why it stopped: the same call goes on from there.

    Raises:
        ValueError: a cell of the folder was trained with something else; the budget is too small.
        RuntimeError: another run is working in the folder.
    """
    minutes = ablation.budget_minutes
    start = time.monotonic() if ablation.started is None else ablation.started
    stop = StopRequest(None if minutes is None else start + 60 * minutes)
    (ablation.folder / "cells").mkdir(parents=True, exist_ok=True)
    with table_lock(ablation.folder), stop.listening():
        try:
            table = _prepare(ablation, stop)
            for column, seed in ablation.cells:
                _finish_cell(ablation, table, column, seed, stop)
            write_report(ablation.folder)
        except Stopped as stopped:
            return str(stopped)
    return ""


def _prepare(ablation: Ablation, stop: StopRequest) -> dict[str, Any]:
    """The table's state, checked against what is asked for now, and written."""
    folder = ablation.folder
    table = load_table(folder, ablation.base, ablation.columns, ablation.steps)
    if table["steps"] is None:
        _plan(ablation, table, stop)
    set_columns(table, folder, ablation.base, ablation.columns)
    flat = single_scale(table, [column.name for column in ablation.columns])
    if flat:
        logger.warning(SINGLE_SCALE.format(", ".join(flat)))
    table["config"] = ablation.config_name
    table["train"] = list(ablation.base.DATASETS.TRAIN)
    table["test"] = list(ablation.base.DATASETS.TEST)
    if ablation.command and ablation.command not in table["commands"]:
        table["commands"].append(ablation.command)
    write_json(folder / "ablation.json", table)
    write_text(folder / ".gitignore", IGNORED)
    return table


def _plan(ablation: Ablation, table: dict[str, Any], stop: StopRequest) -> None:
    """Enter ``steps`` and ``fixed_seconds`` (a column's time beside its steps) into the table."""
    share = TIMING_SHARE * 60 * ablation.budget_minutes / len(ablation.columns)
    costs = {}
    for column in ablation.columns:
        logger.info("timing column %s (%s)", column.name, column.title)
        cfg = column_config(ablation.base, column, 100)
        costs[column.name] = measure_cost(cfg, min(MAX_TIMING_SECONDS, share), stop)
    left = stop.deadline - time.monotonic()
    table["steps"] = plan_steps(left, [costs[column.name] for column, _ in ablation.cells])
    table["fixed_seconds"] = {name: round(c.fixed_seconds, 2) for name, c in costs.items()}
    parts = (f"{n}: {c.step_seconds:.2f}+{c.fixed_seconds:.0f}" for n, c in costs.items())
    logger.info("%d steps a cell; seconds a step + fixed: %s", table["steps"], ", ".join(parts))


def _finish_cell(
    ablation: Ablation, table: dict[str, Any], column: Column, seed: int, stop: StopRequest
) -> None:
    name = f"{column.name}_{seed}"
    path = ablation.folder / "cells" / f"{name}.json"
    run = ablation.folder / "runs" / name
    if not path.is_file():
        known = table["fixed_seconds"]
        needed = known.get(column.name, max(known.values(), default=0.0))
        stop.check(needed)
        logger.info("training cell %s (%s) for %d steps", name, column.title, table["steps"])
        cfg = column_config(ablation.base, column, table["steps"], seed)
        cfg.OUTPUT_DIR = str(run)
        weights = ablation.folder / "weights" / f"{name}.pth" if ablation.keep_weights else None
        head = {"column": column.name, "title": column.title, "seed": seed}
        tail = {"fingerprint": table["columns"][column.name]["fingerprint"]}
        write_json(path, {**head, **train_cell(cfg, stop, needed, weights), **tail})
        write_report(ablation.folder)
    for checkpoint in [*run.glob("*.pth"), run / "last_checkpoint"]:
        checkpoint.unlink(missing_ok=True)
