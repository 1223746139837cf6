"""The one place for what Detectron2's DefaultTrainer cannot do."""

from __future__ import annotations

import logging
import os
import signal
import sys
import weakref
from functools import partial
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.engine import DefaultTrainer, TrainerBase, hooks
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from detectron2.utils import comm
from torch.nn.parallel import DistributedDataParallel

from cosal_d2.data import CoSaliencyMapper, build_cosal_train_loader
from cosal_d2.data.build import load_training_records
from cosal_d2.data.datasets import check_registered
from cosal_d2.data.presence import check_pictures, datasets_beside_training
from cosal_d2.engine.checkpoint import CoSaliencyCheckpointer
from cosal_d2.engine.checkpoint_hooks import FINAL, Checkpoints, build_best_weights
from cosal_d2.engine.hooks import build_triplet_probe, log_anchor_recall
from cosal_d2.engine.loop import TrainingLoop
from cosal_d2.engine.metrics_hook import MetricsWriter
from cosal_d2.engine.resume import find_start
from cosal_d2.engine.signals import Interrupted, StopSignals, start_worker
from cosal_d2.evaluation import CoSaliencyEvaluator
from cosal_d2.utils.files import remove_unfinished

logger = logging.getLogger(__name__)


class Trainer(DefaultTrainer):
    """DefaultTrainer with data parallelism on CPUs, precision from ``MODEL.DTYPE``, exact resume,
    and a stop at a signal.

    Autocast lives in the network; here only float16 on CUDA gets a gradient scaler.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """Build model, optimizer, loader, scheduler, checkpointer and hooks from ``cfg``.

        Raises:
            ValueError: float16 training without CUDA; a dataset is unusable.
            FileNotFoundError: pictures are missing.
        """
        TrainerBase.__init__(self)
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        records = load_training_records(cfg)
        others = datasets_beside_training(cfg)
        self.picture_sizes = check_pictures({"the training datasets": records} | others)
        for name in cfg.DATASETS.TEST:  # what it would say after the last iteration
            self.build_evaluator(cfg, name)
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        loader, self.sampler = build_cosal_train_loader(cfg, records)
        loader.worker_init_fn = start_worker
        if self.sampler.share % cfg.SOLVER.GRADIENT_PARTS:
            raise ValueError(
                f"SOLVER.GRADIENT_PARTS is {cfg.SOLVER.GRADIENT_PARTS}: make it a divisor of the "
                f"{self.sampler.share} pictures of SOLVER.IMS_PER_BATCH that a process computes"
            )
        if comm.is_main_process():
            log_anchor_recall(cfg, model, records)
        model = distribute(model)
        self._trainer = self._build_loop(cfg, model, loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = CoSaliencyCheckpointer(
            model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self)
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.resumed_from = ""
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    @staticmethod
    def _build_loop(cfg: CfgNode, model, loader, optimizer) -> TrainingLoop:
        scaler = None
        if cfg.MODEL.DTYPE == "float16":
            if not cfg.MODEL.DEVICE.startswith("cuda"):
                raise ValueError(
                    "MODEL.DTYPE float16 trains on CUDA only; on a CPU use bfloat16 or float32"
                )
            scaler = torch.amp.GradScaler("cuda")
        return TrainingLoop(
            model,
            loader,
            optimizer,
            parts=cfg.SOLVER.GRADIENT_PARTS,
            scaler=scaler,
            folder=cfg.OUTPUT_DIR,
        )

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from :func:`.resume.find_start`'s checkpoint with the sample after the last one
        that was trained on, or start from ``MODEL.WEIGHTS``.

        Raises:
            ValueError: see there; or the checkpoint holds no state of a training.
        """
        path = find_start(self.cfg, resume)
        self.checkpointer.partial = not path
        if path:
            self.iter = None
            self.checkpointer.load(path)
            if self.iter is None:
                raise ValueError(
                    f"{path} holds weights alone: to start from them, set MODEL.WEIGHTS and "
                    "another OUTPUT_DIR"
                )
            self.start_iter = self.iter + 1
            self.checkpoints.loaded = Path(path).stem
            if self.checkpoints.loaded == FINAL and self.start_iter < self.max_iter:
                self.metrics.prolong()
        else:
            self.checkpointer.load(self.cfg.MODEL.WEIGHTS, checkpointables=[])
            if resume:
                self.metrics.forget()
        if comm.is_main_process():
            output = Path(self.cfg.OUTPUT_DIR)
            for folder in (output, *output.glob("inference/*")):
                remove_unfinished(folder)
        self.resumed_from = path
        self.sampler.start_iter = self.start_iter

    def train(self) -> dict | None:
        """Train, or go on; SIGTERM and SIGINT stop it after an iteration, with a checkpoint.

        Returns:
            as Detectron2's.

        Raises:
            TrainingStopped: by a signal.
        """
        with self.signals:
            try:
                return super().train()
            finally:
                self._trainer.end_workers()

    def before_train(self) -> None:
        """Detectron2's; and what was to come after the loaded checkpoint was written: a resumed
        training evaluates and logs all that an uninterrupted one does."""
        super().before_train()
        if self.start_iter:
            self.iter = self.storage.iter = self.start_iter - 1
            for hook in self._hooks[self._hooks.index(self.checkpoints) :]:
                hook.after_step()

    def after_train(self) -> None:
        """Detectron2's, or after an error the end of the log."""
        if sys.exc_info()[0] is None:
            super().after_train()
        else:
            self.metrics.close()

    def state_dict(self) -> dict:
        """Detectron2's state, the config, and the seed of the samples, which a negative ``SEED``
        leaves to chance."""
        own = {"seed": self.sampler.plan.seed, "config": self.cfg.dump()}
        return super().state_dict() | own

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on from a state, with its seed unless ``SEED`` gives one."""
        super().load_state_dict(state_dict)
        if self.cfg.SEED < 0 and "seed" in state_dict:
            self.sampler.plan.seed = state_dict["seed"]
            logger.info("samples go on from the checkpoint's random seed %d", state_dict["seed"])

    def build_hooks(self) -> list:
        """Detectron2's hooks, with checkpoints, log and best weights that survive a resume, and
        with the triplet probe."""
        cfg = self.cfg
        self.signals = StopSignals()
        self.checkpoints = Checkpoints(
            self.checkpointer,
            cfg.SOLVER.CHECKPOINT_PERIOD,
            cfg.SOLVER.CHECKPOINTS_KEPT,
            self.signals,
        )
        self.metrics = MetricsWriter(cfg.OUTPUT_DIR)
        built = [self.checkpoints, build_triplet_probe(cfg, self.model)]
        built.append(hooks.EvalHook(cfg.TEST.EVAL_PERIOD, self._evaluate))
        if cfg.TEST.BEST_METRIC and cfg.TEST.EVAL_PERIOD and cfg.DATASETS.TEST:
            built.append(build_best_weights(cfg, self.model))
        replaced = (hooks.PeriodicCheckpointer, hooks.EvalHook, hooks.PeriodicWriter)
        kept = [hook for hook in super().build_hooks() if not isinstance(hook, replaced)]
        return [*kept, *built, self.metrics]

    def build_writers(self) -> list:
        """None: :class:`MetricsWriter` has them."""
        return []

    def _evaluate(self) -> dict:
        """Score the test datasets; a signal ends it, and the training."""
        try:
            scores = self.signals.interruptible(lambda: self.test(self.cfg, self.model))
        except Interrupted:
            self.checkpoints.stop(self.signals.received)
        self._last_eval_results = scores
        return scores

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model) -> torch.optim.Optimizer:
        """SGD as Detectron2 builds it, or AdamW over the same parameter groups."""
        if cfg.SOLVER.OPTIMIZER == "SGD":
            return super().build_optimizer(cfg, model)
        params = get_default_optimizer_params(
            model,
            base_lr=cfg.SOLVER.BASE_LR,
            weight_decay=cfg.SOLVER.WEIGHT_DECAY,
            weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
            bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
            weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
        )
        optimizer = maybe_add_gradient_clipping(cfg, torch.optim.AdamW)
        # A fused step unscales float16 gradients itself, after they were clipped: too late.
        fused = cfg.MODEL.DTYPE != "float16"
        return optimizer(params, cfg.SOLVER.BASE_LR, fused=fused)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> torch.utils.data.DataLoader:
        """The loader of :func:`cosal_d2.data.build_cosal_train_loader`."""
        return build_cosal_train_loader(cfg)[0]

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> torch.utils.data.DataLoader:
        """One picture at a time, in the dataset's order."""
        check_registered([dataset_name])
        mapper = CoSaliencyMapper(cfg, False)
        loader = build_detection_test_loader(cfg, dataset_name, mapper=mapper)
        loader.worker_init_fn = partial(start_worker, deaf_to=(signal.SIGINT,))
        return loader

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> CoSaliencyEvaluator:
        """Scores into ``OUTPUT_DIR/inference/DATASET``."""
        folder = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
        workers = cfg.TEST.MEASURE_WORKERS
        return CoSaliencyEvaluator(
            dataset_name,
            folder,
            measures=cfg.TEST.MEASURES,
            workers=None if workers < 0 else workers,
        )


def distribute(model: torch.nn.Module) -> torch.nn.Module:
    """DistributedDataParallel on GPUs or CPUs; the model alone for one process.

    Detectron2's ``create_ddp_model`` always passes ``device_ids``, which fails on CPUs.
    """
    if comm.get_world_size() == 1:
        return model
    ids = [comm.get_local_rank()] if next(model.parameters()).is_cuda else None
    return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)
