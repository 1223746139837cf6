"""Trainings that a table compares: the same number of iterations and a folder each.

One that was stopped resumes from its last checkpoint, and a finished one is never trained again.
"""

from __future__ import annotations

import logging
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng

from cosal_d2.engine.resume import differences
from cosal_d2.engine.trainer import Trainer
from cosal_d2.utils.files import write_text

logger = logging.getLogger(__name__)

# In the folder of a training whose losses or maps stopped being finite.
DIVERGED_FILE = "diverged.txt"
# Where and by how many processes a training runs changes nothing in it.
NOT_COMPARED = {"DATALOADER.NUM_WORKERS", "MODEL.DEVICE", "OUTPUT_DIR", "VERSION"}


def scale_schedule(cfg: CfgNode, iterations: int, seed: int = 0) -> None:
    """Shorten or stretch a config's schedule, in place.

    ``SOLVER.STEPS`` and ``SOLVER.WARMUP_ITERS`` keep their share of ``MAX_ITER``, the warm-up at
    most a tenth; a checkpoint is written every fifth, and the network is scored at the end only.

    Args:
        cfg: not frozen.
        iterations: ``SOLVER.MAX_ITER``.
        seed: ``SEED``.
    """
    solver = cfg.SOLVER
    share = iterations / solver.MAX_ITER
    solver.STEPS = tuple(sorted({max(round(step * share), 1) for step in solver.STEPS}))
    solver.WARMUP_ITERS = min(round(solver.WARMUP_ITERS * share), iterations // 10)
    solver.CHECKPOINT_PERIOD = max(iterations // 5, 1)
    solver.MAX_ITER = iterations
    cfg.TEST.EVAL_PERIOD = 0
    cfg.SEED = seed


def has_diverged(folder: Path) -> bool:
    """Whether the losses or maps of the training in a folder stopped being finite."""
    return (folder / DIVERGED_FILE).is_file()


def check_settings(cfg: CfgNode, finished: bool) -> None:
    """Refuse a config whose folder, ``OUTPUT_DIR``, holds a training with another one.

    Args:
        cfg: of the training.
        finished: whether the training in its folder is.

    Raises:
        ValueError: naming the first key that differs.
    """
    folder = Path(cfg.OUTPUT_DIR)
    path = folder / "config.yaml"
    started = finished or (folder / "last_checkpoint").is_file()
    if not (started and path.is_file()):
        return
    for key, (was, now) in differences(path.read_text(encoding="utf-8"), cfg).items():
        if key not in NOT_COMPARED:
            raise ValueError(
                f"{folder} was trained with other settings: {key} was {was!r}, now it is "
                f"{now!r}; give another folder, or remove this one"
            )


def train_in_folder(cfg: CfgNode) -> None:
    """Train in ``OUTPUT_DIR``, from the last checkpoint if there is one, and score on
    ``DATASETS.TEST``; of the checkpoints the final one stays.

    ``config.yaml`` is written here, as Detectron2's ``default_setup`` would: that adds a log
    handler with every call.
    """
    folder = Path(cfg.OUTPUT_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.yaml", cfg.dump())
    seed_all_rng(cfg.SEED)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=True)
    try:
        trainer.train()
    except FloatingPointError as error:
        logger.warning("%s diverged: %s", folder, error)
        write_text(folder / DIVERGED_FILE, f"{error}\n")
    for checkpoint in folder.glob("model_[0-9]*.pth"):
        checkpoint.unlink()
