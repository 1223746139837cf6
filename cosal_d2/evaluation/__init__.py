"""Evaluation of co-saliency maps: a Detectron2 hook, and folders of anybody's maps."""

from cosal_d2.utils.requirements import require_detectron2

require_detectron2()


from cosal_d2.evaluation.evaluator import CoSaliencyEvaluator
from cosal_d2.evaluation.field import FieldScore, field_curves, summarize_field
from cosal_d2.evaluation.histogram import ThresholdScore, threshold_score, to_levels
from cosal_d2.evaluation.instances import ObjectScore, object_means, score_objects
from cosal_d2.evaluation.metrics import (
    ImageScore,
    adaptive_threshold,
    f_beta,
    mean_absolute_error,
    precision_recall,
    score_image,
    summarize,
)
from cosal_d2.evaluation.references import reference_rows
from cosal_d2.evaluation.results import ImageResult, group_rows, summarize_results
from cosal_d2.evaluation.scorer import Scorer
from cosal_d2.evaluation.truth import Truth, decode_truth

__all__ = [
    "CoSaliencyEvaluator",
    "FieldScore",
    "ImageResult",
    "ImageScore",
    "ObjectScore",
    "Scorer",
    "ThresholdScore",
    "Truth",
    "adaptive_threshold",
    "decode_truth",
    "f_beta",
    "field_curves",
    "group_rows",
    "mean_absolute_error",
    "object_means",
    "precision_recall",
    "reference_rows",
    "score_image",
    "score_objects",
    "summarize",
    "summarize_field",
    "summarize_results",
    "threshold_score",
    "to_levels",
]
