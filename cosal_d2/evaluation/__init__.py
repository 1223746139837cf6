"""Evaluation of co-saliency maps: a Detectron2 hook, and folders of anybody's maps."""

import cosal_d2._checked  # noqa: F401

from .evaluator import CoSaliencyEvaluator
from .field import FieldScore, field_curves, summarize_field
from .histogram import ThresholdScore, threshold_score, to_levels
from .instances import ObjectScore, object_means, score_objects
from .metrics import (
    ImageScore,
    adaptive_threshold,
    f_beta,
    mean_absolute_error,
    precision_recall,
    score_image,
    summarize,
)
from .references import reference_rows
from .results import ImageResult, group_rows, summarize_results
from .scorer import Scorer
from .truth import Truth, decode_truth

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
