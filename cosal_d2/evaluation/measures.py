"""Co-saliency measures as pure functions of a map and its truth.

Maps are ``(H, W)`` arrays or tensors in [0, 1], masks are ``(H, W)`` boolean. All arithmetic is
float64, and every result is a fraction, never a percentage. ``docs/measures.md`` gives the
definitions with their sources.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from cosal_d2.evaluation.objects import (
    BOX_IOU,
    ObjectScore,
    as_mask,
    count_false_regions,
    score_objects,
)
from cosal_d2.evaluation.truth import Truth
from cosal_d2.utils.maps import adaptive_threshold, as_float64

EMPTY_ANSWER_LEVEL = 0.5  # a map that nowhere reaches it says that nothing is co-salient


def mean_absolute_error(cosal_map: Any, truth: Any) -> float:
    """Mean of ``|map - truth|`` over all pixels of the raw map (Perazzi et al. 2012, eq. 12).

    Args:
        cosal_map: ``(H, W)`` in [0, 1], taken as it is: no min-max stretching.
        truth: ``(H, W)`` boolean.

    Returns:
        Error in [0, 1].
    """
    pred = as_float64(cosal_map)
    return float(np.abs(pred - as_mask(truth, pred.shape)).mean())


def precision_recall(cosal_map: Any, truth: Any, threshold: float) -> tuple[float, float]:
    """Precision and recall of the pixels with ``map >= threshold``.

    Args:
        cosal_map: ``(H, W)`` in [0, 1].
        truth: ``(H, W)`` boolean.
        threshold: level in [0, 1]; a pixel exactly on it counts as predicted.

    Returns:
        ``(precision, recall)``. Precision is 0 where no pixel is predicted, recall is 0 where the
        truth is empty.
    """
    pred = as_float64(cosal_map)
    mask = as_mask(truth, pred.shape)
    predicted = pred >= float(threshold)
    hits = int(np.count_nonzero(predicted & mask))
    n_predicted, n_true = int(np.count_nonzero(predicted)), int(np.count_nonzero(mask))
    return (hits / n_predicted if n_predicted else 0.0), (hits / n_true if n_true else 0.0)


def f_beta(precision: float, recall: float, beta2: float) -> float:
    """``(1 + beta2) P R / (beta2 P + R)``, and 0 where both are 0.

    Args:
        precision: P in [0, 1].
        recall: R in [0, 1].
        beta2: beta SQUARED: 0.3 weighs precision more, 1 gives the harmonic mean.
    """
    denominator = beta2 * precision + recall
    return (1.0 + beta2) * precision * recall / denominator if denominator > 0 else 0.0


@dataclass(frozen=True)
class ImageScore:
    """The paper's measures of one image: its row of ``per_image.csv``.

    ``precision``, ``recall``, ``adpF``, ``distractors_rejected``, ``false_regions`` and
    ``count_error`` are None where the truth is empty, ``count_error`` also where it has a crowd;
    ``empty`` and ``empty_answer`` are 0 or 1.
    """

    mae: float
    threshold: float
    precision: float | None
    recall: float | None
    adpF: float | None
    objects: int
    objects_found: int
    boxes_found: int
    distractors: int
    distractors_rejected: int | None
    false_regions: int | None
    count_error: int | None
    empty: int
    empty_answer: int


def score_image(cosal_map: Any, truth: Truth) -> tuple[ImageScore, tuple[ObjectScore, ...]]:
    """Score one map by the paper's protocol, and its objects one by one.

    Args:
        cosal_map: ``(H, W)`` in [0, 1].
        truth: of the image.

    Returns:
        the image's measures, and those of its objects and distractors.
    """
    pred = as_float64(cosal_map)
    mask = as_mask(truth.mask, pred.shape)
    threshold = adaptive_threshold(pred)
    details = score_objects(pred, truth, threshold)
    objects = [row for row in details if row.role == "object"]
    distractors = [row for row in details if row.role == "distractor"]
    found = sum(row.found for row in objects)
    empty = not mask.any()
    precision = recall = adp_f = rejected = false_regions = count_error = None
    if not empty:
        precision, recall = precision_recall(pred, mask, threshold)
        adp_f = f_beta(precision, recall, 0.3)
        rejected = sum(not row.found for row in distractors)
        false_regions = count_false_regions(pred, mask, threshold)
        if not truth.crowd:
            count_error = abs(found + false_regions - len(objects))
    score = ImageScore(
        mae=mean_absolute_error(pred, mask),
        threshold=threshold,
        precision=precision,
        recall=recall,
        adpF=adp_f,
        objects=len(objects),
        objects_found=found,
        boxes_found=sum(row.box_iou >= BOX_IOU for row in objects),
        distractors=len(distractors),
        distractors_rejected=rejected,
        false_regions=false_regions,
        count_error=count_error,
        empty=int(empty),
        empty_answer=int(pred.max() < EMPTY_ANSWER_LEVEL),
    )
    return score, details


def summarize(scores: Iterable[ImageScore]) -> OrderedDict[str, float]:
    """Bring the rows of a dataset together.

    Images with an empty truth only enter ``empty_MAE`` and ``empty_share``; all other numbers are
    over the rest: ``wrongly_empty`` is the share of those that get an empty answer. A number that
    does not apply (no distractor, no empty truth, ...) has no key, so no value is ever nan. Sums
    are exactly rounded: the order of the rows does not matter.

    Args:
        scores: one row an image.

    Returns:
        ``MAE``, ``P``, ``R``, ``F0.3`` and ``F1`` (from the mean P and the mean R), ``adpF`` (mean
        of per-image F), ``distractor_rejection``, ``object_recall``, ``box_recall``,
        ``count_error``, ``wrongly_empty``, ``empty_MAE``, ``empty_share``, as plain floats.
    """
    rows = list(scores)
    full = [row for row in rows if not row.empty]
    empty = [row for row in rows if row.empty]
    result: OrderedDict[str, float] = OrderedDict()
    if full:
        precision, recall = fmean(row.precision for row in full), fmean(row.recall for row in full)
        result["MAE"] = fmean(row.mae for row in full)
        result["P"] = precision
        result["R"] = recall
        result["F0.3"] = f_beta(precision, recall, 0.3)
        result["F1"] = f_beta(precision, recall, 1.0)
        result["adpF"] = fmean(row.adpF for row in full)
    n_distractors = sum(row.distractors for row in full)
    if n_distractors:
        rejected = sum(row.distractors_rejected for row in full)
        result["distractor_rejection"] = rejected / n_distractors
    n_objects = sum(row.objects for row in full)
    if n_objects:
        result["object_recall"] = sum(row.objects_found for row in full) / n_objects
        result["box_recall"] = sum(row.boxes_found for row in full) / n_objects
    counted = [row.count_error for row in full if row.count_error is not None]
    if counted:
        result["count_error"] = fmean(counted)
    if full:
        result["wrongly_empty"] = fmean(row.empty_answer for row in full)
    if empty:
        result["empty_MAE"] = fmean(row.mae for row in empty)
        result["empty_share"] = fmean(row.empty_answer for row in empty)
    return result
