"""Scoring of maps one by one, with all measures behind one option."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from cosal_d2.config import MEASURES
from cosal_d2.evaluation.field import FieldScore
from cosal_d2.evaluation.histogram import threshold_score, to_levels
from cosal_d2.evaluation.metrics import as_float64, score_image
from cosal_d2.evaluation.pool import HeavyPool, default_workers
from cosal_d2.evaluation.results import ImageResult
from cosal_d2.evaluation.truth import Truth

RANGE_TOLERANCE = 1e-6
PAPER, FAST, ALL = MEASURES


class NotFiniteError(ValueError, FloatingPointError):
    """A co-saliency map has nan or inf: the training has diverged."""


class Scorer:
    """Scores maps and keeps their results.

    Args:
        measures: "paper": the paper's protocol and the object-wise measures; "fast": also MAE,
            F, IoU, Dice, precision and recall as pysodmetrics gives them, from histograms on the
            map's device; "all": also S, E and weighted F, in worker processes.
        workers: number of those; 0 works in the calling process, None takes the usable cores.

    Raises:
        ValueError: ``measures`` is none of the three.
    """

    def __init__(self, measures: str = PAPER, workers: int | None = None) -> None:
        if measures not in MEASURES:
            raise ValueError(f"measures: {measures!r} is none of {', '.join(MEASURES)}")
        self._measures = measures
        self._pool = HeavyPool(default_workers() if workers is None else workers)
        self._results: dict[Hashable, ImageResult] = {}

    def add(self, key: Hashable, cosal_map: Any, truth: Truth, *, name: str, image_id: Any) -> None:
        """Score a map; a key's last map counts.

        Args:
            key: names the result.
            cosal_map: ``(H, W)`` in [0, 1], array or tensor on any device. Values that rounding
                pushed out of the range by at most 1e-6 are clipped.
            truth: of the image.
            name: the image's file name, for the rows and for errors.
            image_id: for the rows.

        Raises:
            ValueError: the map is of another size, not finite, or outside [0, 1].
        """
        pred = checked_map(cosal_map, name, truth.mask.shape)
        score, objects = score_image(pred, truth, file_name=name, image_id=image_id)
        field = None
        if self._measures != PAPER:
            levels = to_levels(cosal_map)
            field = FieldScore(threshold_score(levels, truth.mask))
            if self._measures == ALL:
                self._pool.submit(key, levels.cpu().numpy(), truth.mask)
        self._results[key] = ImageResult(score, objects, field)

    def collect(self) -> dict[Hashable, ImageResult]:
        """Wait for the workers, end them, and give the results of all maps so far by key."""
        for key, heavy in self._pool.collect().items():
            result = self._results[key]
            field = FieldScore(result.field.thresholds, heavy)
            self._results[key] = ImageResult(result.score, result.objects, field)
        return dict(self._results)

    def close(self) -> None:
        """Forget all results and end the workers."""
        self._results = {}
        self._pool.close()


def checked_map(cosal_map: Any, name: str, size: tuple[int, int]) -> np.ndarray:
    """Give a map as float64 in [0, 1].

    Args:
        cosal_map: ``(H, W)`` array or tensor.
        name: for errors.
        size: (H, W) of the image.

    Raises:
        ValueError: another size, values that are not finite, or outside [0, 1] by more than 1e-6.
    """
    try:
        pred = as_float64(cosal_map)
    except ValueError as error:
        raise ValueError(f"{name}: 'cosal_map': {error}") from error
    if pred.shape != size:
        raise ValueError(
            f"{name}: 'cosal_map' is {pred.shape[0]}x{pred.shape[1]} but the image is "
            f"{size[0]}x{size[1]} (height x width); resize the map to the image's original size"
        )
    low, high = float(pred.min()), float(pred.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        n_bad = int(np.count_nonzero(~np.isfinite(pred)))
        raise NotFiniteError(
            f"{name}: 'cosal_map' has {n_bad} values that are not finite (nan or inf)"
        )
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise ValueError(
            f"{name}: 'cosal_map' goes from {low:.6g} to {high:.6g}; it must lie in [0, 1] "
            "(apply the sigmoid to logits)"
        )
    return np.clip(pred, 0.0, 1.0) if low < 0 or high > 1 else pred
