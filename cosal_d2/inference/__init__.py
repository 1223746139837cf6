"""From pictures to maps."""

from cosal_d2.utils.requirements import require_detectron2

require_detectron2()

from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.inference.results import CoSaliencyResult

__all__ = ["CoSaliencyPredictor", "CoSaliencyResult"]
