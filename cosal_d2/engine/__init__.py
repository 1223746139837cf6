"""What training needs beyond Detectron2: trainer, checkpoints, hooks."""

from cosal_d2.utils.requirements import require_detectron2

require_detectron2()

from cosal_d2.engine.checkpoint import CoSaliencyCheckpointer, released_weights
from cosal_d2.engine.trainer import Trainer

__all__ = ["CoSaliencyCheckpointer", "Trainer", "released_weights"]
