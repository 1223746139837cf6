"""Evaluation of co-saliency maps: a Detectron2 hook, and folders of anybody's maps."""

from cosal_d2.utils.requirements import require_detectron2

require_detectron2()


from cosal_d2.evaluation.evaluator import CoSaliencyEvaluator, reference_rows
from cosal_d2.evaluation.field import FieldScore, field_curves, summarize_field
from cosal_d2.evaluation.instances import ImageInstances, score_instances, summarize_instances
from cosal_d2.evaluation.maps import evaluate_methods
from cosal_d2.evaluation.measures import (
    ImageScore,
    adaptive_threshold,
    f_beta,
    mean_absolute_error,
    precision_recall,
    score_image,
    summarize,
)
from cosal_d2.evaluation.objects import ObjectScore, score_objects
from cosal_d2.evaluation.scorer import ImageResult, Scorer
from cosal_d2.evaluation.tables import group_rows, summarize_results
from cosal_d2.evaluation.truth import Truth, TruthObject, decode_truth, load_truth

__all__ = [
    "CoSaliencyEvaluator",
    "FieldScore",
    "ImageInstances",
    "ImageResult",
    "ImageScore",
    "ObjectScore",
    "Scorer",
    "Truth",
    "TruthObject",
    "adaptive_threshold",
    "decode_truth",
    "evaluate_methods",
    "f_beta",
    "field_curves",
    "group_rows",
    "load_truth",
    "mean_absolute_error",
    "precision_recall",
    "reference_rows",
    "score_image",
    "score_instances",
    "score_objects",
    "summarize",
    "summarize_field",
    "summarize_instances",
    "summarize_results",
]
