"""Scoring of maps one by one, with all measures behind one option."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cosal_d2.config import MEASURES
from cosal_d2.evaluation.field import FieldScore, threshold_score, to_levels
from cosal_d2.evaluation.measures import ImageScore, score_image
from cosal_d2.evaluation.objects import ObjectScore
from cosal_d2.evaluation.truth import Truth
from cosal_d2.utils.maps import as_float64
from cosal_d2.utils.parallel import WAITING_PER_WORKER, Pool, worker_count
from cosal_d2.utils.sod_measures import heavy_score

RANGE_TOLERANCE = 1e-6
MAX_WORKERS = 8
PAPER, FAST, ALL = MEASURES


class NotFiniteError(ValueError, FloatingPointError):
    """A co-saliency map has nan or inf: the training has diverged."""


@dataclass(frozen=True)
class ImageResult:
    """Everything known of one image under one map: a few kilobytes, the map itself is not kept.

    Attributes:
        file_name: of the image.
        image_id: of the image.
        score: the paper's protocol.
        objects: object by object.
        field: the field's measures; None where they were not asked for.
        repeats: the network's probability that anything repeats; None where it gives none.
    """

    file_name: str
    image_id: int | str
    score: ImageScore
    objects: tuple[ObjectScore, ...]
    field: FieldScore | None = None
    repeats: float | None = None


class Scorer:
    """Scores maps and keeps their results.

    Args:
        measures: "paper": the paper's protocol and the object-wise measures; "fast": also MAE,
            F, IoU, Dice, precision and recall as pysodmetrics gives them, from histograms on the
            map's device; "all": also S, E and weighted F, in worker processes.
        workers: number of those; 0 works in the calling process, None takes the usable cores.
        processes: among how many processes, each with its scorer, the usable cores are shared out.

    Raises:
        ValueError: ``measures`` is none of the three, or ``workers`` is negative.
    """

    def __init__(
        self, measures: str = PAPER, workers: int | None = None, processes: int = 1
    ) -> None:
        if measures not in MEASURES:
            raise ValueError(f"measures: {measures!r} is none of {', '.join(MEASURES)}")
        if workers is None:
            workers = max(1, min(MAX_WORKERS, worker_count(None) // processes))
        self._measures = measures
        self._workers = 0 if workers == 0 else worker_count(workers)
        self._pool: Pool | None = None
        self._queued: deque[Hashable] = deque()
        self._results: dict[Hashable, ImageResult] = {}

    def add(
        self,
        key: Hashable,
        cosal_map: Any,
        truth: Truth,
        *,
        name: str,
        image_id: Any,
        repeats: float | None = None,
    ) -> None:
        """Score a map; a key's last map counts.

        Args:
            key: names the result.
            cosal_map: ``(H, W)`` in [0, 1], array or tensor on any device. Values that rounding
                pushed out of the range by at most 1e-6 are clipped.
            truth: of the image.
            name: the image's file name, for the rows and for errors.
            image_id: for the rows.
            repeats: the network's probability that anything repeats.

        Raises:
            ValueError: the map is of another size, not finite, or outside [0, 1].
            ChildProcessError: a worker process died.
        """
        pred = checked_map(cosal_map, name, truth.mask.shape)
        score, objects = score_image(pred, truth)
        result = ImageResult(name, image_id, score, objects, repeats=repeats)
        if self._measures != PAPER:
            levels = to_levels(cosal_map)
            result = replace(result, field=threshold_score(levels, truth.mask))
        self._results[key] = result
        if self._measures != ALL:
            return
        pair = levels.cpu().numpy(), truth.mask
        if not self._workers:
            self._complete(key, *heavy_score(pair))
            return
        if self._pool is None:
            self._pool = Pool(heavy_score, self._workers)
        self._pool.submit(pair)
        self._queued.append(key)
        self._take(WAITING_PER_WORKER * self._workers)

    def collect(self) -> dict[Hashable, ImageResult]:
        """Wait for the workers, end them, and give the results of all maps so far by key.

        Raises:
            ChildProcessError: a worker process died.
        """
        try:
            self._take(0)
            return dict(self._results)
        finally:
            self._end_workers()

    def close(self) -> None:
        """Forget all results and end the workers."""
        self._results = {}
        self._end_workers()

    def _take(self, leave: int) -> None:
        if self._pool is not None:
            for heavy in self._pool.results(leave):
                self._complete(self._queued.popleft(), *heavy)

    def _complete(self, key: Hashable, scalars: dict[str, float], e_curve: np.ndarray) -> None:
        result = self._results[key]
        field = FieldScore(result.field.scalars | scalars, result.field.curves | {"E": e_curve})
        self._results[key] = replace(result, field=field)

    def _end_workers(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._pool = None
        self._queued.clear()


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
