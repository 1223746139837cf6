"""Training, checkpoints and prediction."""

import cosal_d2._checked  # noqa: F401
from cosal_d2.engine.checkpoint import CoSaliencyCheckpointer, released_weights
from cosal_d2.engine.predictor import CoSaliencyPredictor
from cosal_d2.engine.trainer import Trainer

__all__ = ["CoSaliencyCheckpointer", "CoSaliencyPredictor", "Trainer", "released_weights"]
