"""Co-saliency measures as pure functions of a map and its truth.

Maps are ``(H, W)`` arrays or tensors in [0, 1], masks are ``(H, W)`` boolean. All arithmetic is
float64, and every result is a fraction, never a percentage. ``docs/metrics.md`` gives the
definitions with their sources.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

EMPTY_ANSWER_LEVEL = 0.5


def as_float64(cosal_map: Any) -> np.ndarray:
    """Give a map as a float64 numpy array, whatever library, device or precision it comes from.

    Args:
        cosal_map: ``(H, W)`` numpy array or torch tensor (any float type, any device).

    Returns:
        ``(H, W)`` float64 array; the input itself where it already is one.

    Raises:
        ValueError: the map does not have two dimensions, or has no pixel.
    """
    if hasattr(cosal_map, "detach"):
        tensor = cosal_map.detach().cpu()
        if tensor.element_size() < 4:  # numpy has no bfloat16
            tensor = tensor.float()
        cosal_map = tensor.numpy()
    array = np.asarray(cosal_map, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"a map is (H, W) with at least one pixel, not {array.shape}")
    return array


def _as_mask(mask: Any, shape: tuple[int, int]) -> np.ndarray:
    if hasattr(mask, "detach"):
        mask = mask.detach().cpu().numpy()
    array = np.asarray(mask, dtype=bool)
    if array.shape != shape:
        raise ValueError(f"map is {shape} but its mask is {array.shape}; both must have one size")
    return array


def mean_absolute_error(cosal_map: Any, truth: Any) -> float:
    """Mean of ``|map - truth|`` over all pixels of the raw map (Perazzi et al. 2012, eq. 12).

    Args:
        cosal_map: ``(H, W)`` in [0, 1], taken as it is: no min-max stretching.
        truth: ``(H, W)`` boolean.

    Returns:
        Error in [0, 1].
    """
    pred = as_float64(cosal_map)
    return float(np.abs(pred - _as_mask(truth, pred.shape)).mean())


def adaptive_threshold(cosal_map: Any) -> float:
    """Twice the mean of the map, at most 1 (Achanta et al. 2009)."""
    return min(2.0 * float(as_float64(cosal_map).mean()), 1.0)


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
    mask = _as_mask(truth, pred.shape)
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


def object_means(cosal_map: Any, masks: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Mean map value over each object.

    Args:
        cosal_map: ``(H, W)`` in [0, 1].
        masks: N masks of ``(H, W)``, boolean, none of them without a pixel; they may overlap.

    Returns:
        ``(N,)`` float64.

    Raises:
        ValueError: a mask has no pixel, or another size than the map.
    """
    pred = as_float64(cosal_map)
    means = np.empty(len(masks), dtype=np.float64)
    for i, mask in enumerate(masks):
        values = pred[_as_mask(mask, pred.shape)]
        if values.size == 0:
            raise ValueError(f"object {i} has no pixel, so its mean is undefined; leave it out")
        means[i] = values.mean()
    return means


def count_found(cosal_map: Any, masks: Sequence[Any] | np.ndarray, threshold: float) -> int:
    """Number of objects found: mean map value over the object at or above ``threshold``."""
    return int(np.count_nonzero(object_means(cosal_map, masks) >= float(threshold)))


def count_rejected(cosal_map: Any, masks: Sequence[Any] | np.ndarray, threshold: float) -> int:
    """Number of distractors rejected: mean map value over the object below ``threshold``."""
    return int(np.count_nonzero(object_means(cosal_map, masks) < float(threshold)))


def is_empty_answer(cosal_map: Any, level: float = EMPTY_ANSWER_LEVEL) -> bool:
    """Whether a map says "nothing is co-salient here": no pixel reaches ``level``."""
    return bool(as_float64(cosal_map).max() < level)


@dataclass(frozen=True)
class ImageScore:
    """The numbers of one image: one row of ``per_image.csv``, and all that processes exchange.

    ``precision``, ``recall``, ``adpF`` and ``distractors_rejected`` are None where the truth is
    empty; ``empty`` and ``empty_answer`` are 0 or 1.
    """

    file_name: str
    image_id: int | str
    mae: float
    threshold: float
    precision: float | None
    recall: float | None
    adpF: float | None
    objects: int
    objects_found: int
    distractors: int
    distractors_rejected: int | None
    empty: int
    empty_answer: int


def score_image(
    cosal_map: Any,
    truth: Any,
    objects: Sequence[Any] | np.ndarray = (),
    distractors: Sequence[Any] | np.ndarray = (),
    *,
    file_name: str = "",
    image_id: int | str = 0,
) -> ImageScore:
    """Score one map.

    Args:
        cosal_map: ``(H, W)`` in [0, 1].
        truth: ``(H, W)`` boolean, the union of the co-salient objects.
        objects: N masks ``(H, W)``, the co-salient objects one by one.
        distractors: M masks ``(H, W)``, salient objects outside the truth.
        file_name: copied into the row.
        image_id: copied into the row.
    """
    pred = as_float64(cosal_map)
    mask = _as_mask(truth, pred.shape)
    threshold = adaptive_threshold(pred)
    empty = not mask.any()
    precision = recall = adp_f = rejected = None
    if not empty:
        precision, recall = precision_recall(pred, mask, threshold)
        adp_f = f_beta(precision, recall, 0.3)
        rejected = count_rejected(pred, distractors, threshold)
    return ImageScore(
        file_name=file_name,
        image_id=image_id,
        mae=mean_absolute_error(pred, mask),
        threshold=threshold,
        precision=precision,
        recall=recall,
        adpF=adp_f,
        objects=len(objects),
        objects_found=count_found(pred, objects, threshold),
        distractors=len(distractors),
        distractors_rejected=rejected,
        empty=int(empty),
        empty_answer=int(is_empty_answer(pred)),
    )


def summarize(scores: Iterable[ImageScore]) -> OrderedDict[str, float]:
    """Bring the rows of a dataset together.

    Images with an empty truth only enter ``empty_MAE`` and ``empty_share``; all other numbers are
    over the rest. A number that does not apply (no distractor, no empty truth, ...) has no key, so
    no value is ever nan. Sums are exactly rounded: the order of the rows does not matter.

    Args:
        scores: one row an image.

    Returns:
        ``MAE``, ``P``, ``R``, ``F0.3`` and ``F1`` (from the mean P and the mean R), ``adpF`` (mean
        of per-image F), ``distractor_rejection``, ``object_recall``, ``empty_MAE``,
        ``empty_share``, as plain floats.
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
    if empty:
        result["empty_MAE"] = fmean(row.mae for row in empty)
        result["empty_share"] = fmean(row.empty_answer for row in empty)
    return result
