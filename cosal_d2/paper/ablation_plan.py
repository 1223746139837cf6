"""How many steps fit into a time budget."""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import EventStorage

from cosal_d2.engine.trainer import Trainer
from cosal_d2.paper.stopping import StopRequest

logger = logging.getLogger(__name__)

RESERVE = 0.15
WARM_UP_STEPS = 1
MIN_STEPS, MAX_STEPS = 2, 30
EVALUATED_IMAGES = 1
# Beside its steps a cell measures gradients: a step's forward pass and one backward pass a loss.
GRADIENT_STEPS = 4


@dataclass(frozen=True)
class Cost:
    """What a cell takes.

    Attributes:
        step_seconds: one training step.
        fixed_seconds: everything else: building, probe, evaluation, gradients.
    """

    step_seconds: float
    fixed_seconds: float


def plan_steps(budget_seconds: float, cells: Sequence[Cost], reserve: float = RESERVE) -> int:
    """The number of steps, equal for all cells, with which they fit into the budget.

    Args:
        budget_seconds: what is left of the budget.
        cells: one entry a cell that is still to be trained.
        reserve: share of the budget that stays unplanned, for a machine that gets slower.

    Returns:
        a number with at most two digits that are not 0, rounded down.

    Raises:
        ValueError: not a single step fits; the message names the budget that would do.
    """
    fixed = sum(cell.fixed_seconds for cell in cells)
    a_step = sum(cell.step_seconds for cell in cells)
    steps = int((budget_seconds * (1 - reserve) - fixed) / a_step)
    if steps < 1:
        needed = (fixed + a_step) / (1 - reserve)
        raise ValueError(
            f"--budget: {budget_seconds / 60:.1f} minutes are left, but {len(cells)} cells need "
            f"{needed / 60:.1f} for a single step each; give more, or fewer columns or seeds"
        )
    unit = 10 ** max(len(str(steps)) - 2, 0)
    return steps // unit * unit


def measure_cost(cfg: CfgNode, seconds: float, stop: StopRequest) -> Cost:
    """Time a column's steps and evaluation in a training that is thrown away.

    Args:
        cfg: of the column.
        seconds: for which steps are timed; at least two are, and at most thirty.
        stop: may end it between two steps.
    """
    with tempfile.TemporaryDirectory() as folder:
        cfg = cfg.clone()
        cfg.defrost()
        cfg.OUTPUT_DIR = folder
        start = time.perf_counter()
        seed_all_rng(cfg.SEED)
        trainer = Trainer(cfg)
        build = time.perf_counter() - start
        # First the evaluation: it refuses the maps of a training that diverges.
        image, images = _time_evaluation(cfg, trainer.model)
        step = _time_steps(trainer, seconds, stop)
        del trainer
        gc.collect()
    images += 2 * cfg.TEST.TRIPLET_PROBE_IMAGES
    return Cost(step, build + image * images + GRADIENT_STEPS * step)


def _time_steps(trainer: Trainer, seconds: float, stop: StopRequest) -> float:
    times: list[float] = []
    with EventStorage(0) as trainer.storage:
        for trainer.iter in range(WARM_UP_STEPS + MAX_STEPS):
            stop.check()
            start = time.perf_counter()
            # A diverging step takes its time too; what comes of it is the cell's matter.
            with contextlib.suppress(FloatingPointError):
                trainer.run_step()
            if trainer.iter >= WARM_UP_STEPS:
                times.append(time.perf_counter() - start)
            if len(times) >= MIN_STEPS and sum(times) >= seconds:
                break
    return statistics.median(times)


@torch.no_grad()
def _time_evaluation(cfg: CfgNode, model: torch.nn.Module) -> tuple[float, int]:
    """Seconds a picture (the first is a warm-up), and the number of test pictures."""
    model.eval()
    times: list[float] = []
    count = 0
    for name in cfg.DATASETS.TEST:
        loader = Trainer.build_test_loader(cfg, name)
        evaluator = Trainer.build_evaluator(cfg, name)
        evaluator.reset()
        count += len(loader)
        samples = iter(loader)
        for _ in itertools.islice(range(len(loader)), EVALUATED_IMAGES + 1):
            start = time.perf_counter()
            inputs = next(samples)
            evaluator.process(inputs, model(inputs))
            times.append(time.perf_counter() - start)
    model.train()
    return statistics.median(times[1:] or times), count
