"""Evaluation of co-saliency maps as a Detectron2 hook."""

import cosal_d2._checked  # noqa: F401

from .evaluator import CoSaliencyEvaluator
from .metrics import (
    ImageScore,
    adaptive_threshold,
    f_beta,
    mean_absolute_error,
    object_means,
    precision_recall,
    score_image,
    summarize,
)
from .references import reference_rows
from .truth import Truth, decode_truth

__all__ = [
    "CoSaliencyEvaluator",
    "ImageScore",
    "Truth",
    "adaptive_threshold",
    "decode_truth",
    "f_beta",
    "mean_absolute_error",
    "object_means",
    "precision_recall",
    "reference_rows",
    "score_image",
    "summarize",
]
