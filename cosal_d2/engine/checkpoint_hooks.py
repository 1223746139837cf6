"""When a training saves its state, which checkpoints it keeps, and how it stops at a signal."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from torch import nn

from cosal_d2.config import LOWER_IS_BETTER
from cosal_d2.engine.checkpoint import CoSaliencyCheckpointer
from cosal_d2.engine.resume import BEST
from cosal_d2.engine.signals import StopSignals, TrainingStopped

FINAL, STOPPED = "model_final", "model_stopped"

logger = logging.getLogger(__name__)


class Checkpoints(HookBase):
    """Detectron2's PeriodicCheckpointer, which also saves at a signal and then stops the training,
    and whose last N checkpoints are the last N after a resume too.

    It is in all processes: they stop at the same iteration. ``model_stopped.pth`` lives until the
    next checkpoint. ``model_final.pth`` is no part of the N.

    Attributes:
        loaded: name of the checkpoint that a resumed training has loaded, without suffix.
    """

    def __init__(
        self, checkpointer: CoSaliencyCheckpointer, period: int, kept: int, signals: StopSignals
    ) -> None:
        """
        Args:
            checkpointer: of all that the training goes on from.
            period: in iterations.
            kept: number of checkpoints to keep, 0 for all.
            signals: noted while the training runs.
        """
        self.checkpointer = checkpointer
        self.period = period
        self.kept = kept
        self.signals = signals
        self.loaded = ""
        self._saved = -1  # the latest iteration that is in a checkpoint

    def before_train(self) -> None:
        self._saved = self.trainer.start_iter - 1

    def after_step(self) -> None:
        iteration = self.trainer.iter
        loaded = self.loaded if iteration < self.trainer.start_iter else ""
        if (iteration + 1) % self.period == 0:
            if not loaded:
                self._save(f"model_{iteration:07d}")
            self._drop_old(iteration)
        if iteration + 1 == self.trainer.max_iter and loaded != FINAL:
            self._save(FINAL)
        number = self.signals.agreed(next(self.checkpointer.model.parameters()).device)
        if number:
            self.stop(number)

    def stop(self, number: int) -> None:
        """Save what is in no checkpoint yet, and stop.

        Args:
            number: the signal's.

        Raises:
            TrainingStopped: always.
        """
        iteration = min(self.trainer.iter, self.trainer.max_iter - 1)
        if self._saved < iteration:
            self._save(STOPPED)
        comm.synchronize()  # the first process that ends takes the others with it
        logger.warning(
            "stopped by signal %d after iteration %d, which is saved in %s: go on with --resume",
            number,
            iteration,
            self.checkpointer.save_dir,
        )
        raise TrainingStopped(number)

    def _save(self, name: str) -> None:
        self._saved = iteration = self.trainer.iter
        if not comm.is_main_process():
            return
        self.checkpointer.save(name, iteration=iteration)
        if name != STOPPED:
            Path(self.checkpointer.save_dir, f"{STOPPED}.pth").unlink(missing_ok=True)

    def _drop_old(self, iteration: int) -> None:
        """Delete all but the last N checkpoints up to an iteration."""
        if not self.kept or not comm.is_main_process():
            return
        named = re.compile(r"model_(\d{7,})\.pth")
        found = {
            int(match[1]): name
            for name in os.listdir(self.checkpointer.save_dir)
            if (match := named.fullmatch(name)) and int(match[1]) <= iteration
        }
        for old in sorted(found)[: -self.kept]:
            Path(self.checkpointer.save_dir, found[old]).unlink(missing_ok=True)


def build_best_weights(cfg: CfgNode, model: nn.Module) -> BestWeights:
    """By ``TEST.BEST_METRIC`` on the first test dataset."""
    metric = f"cosal/{cfg.TEST.BEST_METRIC}"
    if len(cfg.DATASETS.TEST) > 1:
        metric = f"{cfg.DATASETS.TEST[0]}/{metric}"
    lower = cfg.TEST.BEST_METRIC in LOWER_IS_BETTER
    return BestWeights(model, cfg.OUTPUT_DIR, metric, cfg.TEST.EVAL_PERIOD, lower)


class BestWeights(hooks.BestCheckpointer):
    """Detectron2's BestCheckpointer, which knows the best so far after a resume, and saves the
    weights alone as ``model_best.pth``."""

    def __init__(
        self, model: nn.Module, folder: str, metric: str, period: int, lower: bool
    ) -> None:
        """
        Args:
            model: the network.
            folder: for the file.
            metric: as an evaluation logs it, such as ``cosal/F0.3``.
            period: of evaluations, in iterations.
            lower: whether less is better.
        """
        checkpointer = _Untagged(model, folder)
        super().__init__(period, checkpointer, metric, "min" if lower else "max", BEST)

    def _best_checking(self) -> None:
        if comm.is_main_process():
            super()._best_checking()

    def state_dict(self) -> dict:
        """The best value and its iteration."""
        return {"value": self.best_metric, "iteration": self.best_iter}

    def load_state_dict(self, state: dict) -> None:
        """Go on with that state."""
        self.best_metric, self.best_iter = state["value"], state["iteration"]


class _Untagged(CoSaliencyCheckpointer):
    """What it saves is nothing to go on from."""

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Leave ``last_checkpoint`` as it is."""
