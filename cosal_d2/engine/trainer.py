"""The one place for what Detectron2's DefaultTrainer cannot do."""

from __future__ import annotations

import logging
import os
import weakref

import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.engine import AMPTrainer, DefaultTrainer, SimpleTrainer, TrainerBase, hooks
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from detectron2.utils import comm
from torch.nn.parallel import DistributedDataParallel

from cosal_d2.data import CoSaliencyMapper, build_cosal_train_loader
from cosal_d2.data.build import load_training_records
from cosal_d2.data.datasets import check_registered
from cosal_d2.data.presence import check_pictures, datasets_beside_training
from cosal_d2.engine.checkpoint import CoSaliencyCheckpointer
from cosal_d2.engine.hooks import build_triplet_probe, log_anchor_recall
from cosal_d2.evaluation import CoSaliencyEvaluator

logger = logging.getLogger(__name__)


class Trainer(DefaultTrainer):
    """DefaultTrainer with data parallelism on CPUs, precision from ``MODEL.DTYPE``, exact resume.

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
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    @staticmethod
    def _build_loop(cfg: CfgNode, model, loader, optimizer) -> SimpleTrainer:
        if cfg.MODEL.DTYPE != "float16":
            return SimpleTrainer(model, loader, optimizer)
        if not cfg.MODEL.DEVICE.startswith("cuda"):
            raise ValueError(
                "MODEL.DTYPE float16 trains on CUDA only; on a CPU use bfloat16 or float32"
            )
        return AMPTrainer(model, loader, optimizer, precision=torch.float16)

    def resume_or_load(self, resume: bool = True) -> None:
        """As Detectron2's; a resumed run goes on with the sample after the last one it trained
        on."""
        self.checkpointer.partial = not (resume and self.checkpointer.has_checkpoint())
        super().resume_or_load(resume)
        self.sampler.start_iter = self.start_iter

    def state_dict(self) -> dict:
        """Detectron2's state, and the seed of the samples, which a negative ``SEED`` leaves to
        chance."""
        return super().state_dict() | {"seed": self.sampler.plan.seed}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on from a state, with its seed unless ``SEED`` gives one."""
        super().load_state_dict(state_dict)
        if self.cfg.SEED < 0 and "seed" in state_dict:
            self.sampler.plan.seed = state_dict["seed"]
            logger.info("samples go on from the checkpoint's random seed %d", state_dict["seed"])

    def build_hooks(self) -> list:
        """Detectron2's hooks, with the triplet probe before evaluation."""
        built = super().build_hooks()
        probe = build_triplet_probe(self.cfg, self.model)
        if probe is not None:
            place = next(i for i, h in enumerate(built) if isinstance(h, hooks.EvalHook))
            built.insert(place, probe)
        return built

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
        return build_detection_test_loader(cfg, dataset_name, mapper=CoSaliencyMapper(cfg, False))

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
