"""One cell of an ablation table: train, score, measure."""

from __future__ import annotations

import datetime
import gc
import json
import logging
import math
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine.hooks import PeriodicCheckpointer
from detectron2.utils.env import seed_all_rng

from cosal_d2.data import build_cosal_train_loader
from cosal_d2.engine.checkpoint import save_atomically, trainable_state_dict
from cosal_d2.engine.gradients import branch_gradients
from cosal_d2.engine.trainer import Trainer
from cosal_d2.paper.ablation_files import read_json
from cosal_d2.paper.stopping import StopHook, StopRequest
from cosal_d2.utils.files import write_json

logger = logging.getLogger(__name__)


def train_cell(
    cfg: CfgNode, stop: StopRequest, needed: float = 0.0, weights: Path | None = None
) -> dict[str, Any]:
    """Train in ``OUTPUT_DIR``, from its last checkpoint if there is one, and score.

    Args:
        cfg: of the cell.
        stop: may end the training between two steps.
        needed: seconds to keep free before the deadline for everything after the last step.
        weights: where to write the trainable weights, None for nowhere.

    Returns:
        ``steps``; ``seconds`` over all runs of the cell; ``step_seconds``, the median step;
        ``scores`` a test dataset; ``probe``; ``gradients``, see
        :func:`cosal_d2.engine.gradients.branch_gradients`, None where a norm is not finite;
        ``diverged``: whether losses or maps stopped being finite, which leaves no scores, probe,
        gradients or weights; ``date``; ``hardware``.

    Raises:
        Stopped: an end was asked for; a checkpoint of the last finished step is written.
    """
    folder = Path(cfg.OUTPUT_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    clock = folder / "seconds.json"
    if not (folder / "last_checkpoint").is_file():
        for log in (clock, folder / "metrics.json"):
            log.unlink(missing_ok=True)
    earlier = read_json(clock) if clock.is_file() else 0.0
    start = time.monotonic()
    try:
        seed_all_rng(cfg.SEED)
        trainer = Trainer(cfg)
        for hook in trainer._hooks:
            if isinstance(hook, PeriodicCheckpointer):
                hook.max_to_keep = 1
        trainer.register_hooks([StopHook(stop, needed)])
        trainer.resume_or_load(resume=True)
        diverged, gradients = False, {}
        try:
            with stop.excusing():
                trainer.train()
            gradients = branch_gradients(trainer.model, fixed_batch(cfg))
        except FloatingPointError as error:
            logger.warning("the training diverged: %s", error)
            diverged = True
        if weights is not None and not diverged:
            weights.parent.mkdir(exist_ok=True)
            save_atomically({"model": trainable_state_dict(trainer.model)}, str(weights))
    finally:
        seconds = earlier + time.monotonic() - start
        write_json(clock, seconds)
    scores = {name: {"cosal": {}} for name in cfg.DATASETS.TEST}
    if not diverged:
        last = trainer._last_eval_results
        scores = {cfg.DATASETS.TEST[0]: last} if len(scores) == 1 else last
    del trainer
    gc.collect()
    step_seconds, probe = _from_metrics(folder / "metrics.json")
    return {
        "steps": cfg.SOLVER.MAX_ITER,
        "seconds": round(seconds, 1),
        "step_seconds": step_seconds,
        "probe": {} if diverged else probe,
        "scores": {name: dict(score["cosal"]) for name, score in scores.items()},
        "gradients": {k: v if math.isfinite(v) else None for k, v in gradients.items()},
        "diverged": diverged,
        "date": datetime.date.today().isoformat(),
        "hardware": hardware(),
    }


def fixed_batch(cfg: CfgNode) -> list[dict]:
    """The first training batch of SEED 0, whatever the seed of the training."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEED = 0
    cfg.DATALOADER.NUM_WORKERS = 0
    return next(iter(build_cosal_train_loader(cfg)[0]))


def _from_metrics(path: Path) -> tuple[float | None, dict[str, float]]:
    """Median step time and last probe from the training's log, which outlives an interruption."""
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    times = [line["time"] for line in lines if "time" in line]
    probes = [line for line in lines if "probe/satisfied" in line]
    probe = {k: v for k, v in probes[-1].items() if k.startswith("probe/")} if probes else {}
    return statistics.median(times) if times else None, probe


def hardware() -> str:
    """The GPU, or the CPU and the number of threads in use."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    return f"{name}, {torch.get_num_threads()} threads"
