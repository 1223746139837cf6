"""Paired bootstrap: how large the difference between two methods may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cosal_d2.evaluation.field import FIELD_MEASURES
from cosal_d2.evaluation.maps import MapsEvaluation
from cosal_d2.evaluation.measures import f_beta
from cosal_d2.evaluation.scorer import ImageResult
from cosal_d2.evaluation.tables import result_row

RESAMPLES = 2000
LEVEL = 0.95
CHUNK = 250  # resamples at once, for the memory
PAPER_MEASURES = ("P", "R", "F0.3", "F1", "raw_MAE", "raw_adpF")


@dataclass(frozen=True)
class Difference:
    """Measure of method ``a`` minus that of method ``b``.

    Attributes:
        a, b: names of the methods.
        measure: name, as in ``metrics.json``.
        difference: on the images that both have.
        low, high: the 95 % percentile interval over resamples of images.
        images: how many both have and the measure applies to.
    """

    a: str
    b: str
    measure: str
    difference: float
    low: float
    high: float
    images: int


def paired_differences(
    evaluation: MapsEvaluation, resamples: int = RESAMPLES, seed: int = 0
) -> list[Difference]:
    """Compare every two methods on the images that both have a map for.

    The images are drawn with replacement, the same for both methods, ``resamples`` times (Efron and
    Tibshirani 1993, percentile interval); each time both are summarized anew, so ``maxF`` takes the
    best threshold of each resample.

    Args:
        evaluation: of two or more methods.
        resamples: number of resamples.
        seed: of their drawing; the same seed gives the same intervals.

    Raises:
        ValueError: ``resamples`` is not positive, or ``seed`` is negative.
    """
    if resamples < 1:
        raise ValueError(f"bootstrap: {resamples} resamples asked for; give 1 or more")
    if seed < 0:
        raise ValueError(f"bootstrap: the seed is {seed}; give 0 or more")
    rows = []
    results = [(name, method.results) for name, method in evaluation.methods.items()]
    for (a, first), (b, second) in combinations(results, 2):
        places = sorted(set(first) & set(second))
        if not places:
            continue
        n = len(places)
        draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
        counts = np.concatenate([np.ones((1, n), dtype=np.int64), draws])
        values = [_resampled([own[p] for p in places], counts) for own in (first, second)]
        full = sum(not first[p].score.empty for p in places)
        for measure in values[0]:
            if measure not in values[1]:
                continue
            difference = values[0][measure] - values[1][measure]
            resampled = difference[1:][np.isfinite(difference[1:])]
            if resampled.size:
                tail = 100 * (1 - LEVEL) / 2
                low, high = map(float, np.percentile(resampled, [tail, 100 - tail]))
                images = full if measure in PAPER_MEASURES else n
                rows.append(Difference(a, b, measure, float(difference[0]), low, high, images))
    return rows


def _resampled(results: Sequence[ImageResult], counts: np.ndarray) -> dict[str, np.ndarray]:
    """The measures of a dataset under each row of ``counts``.

    Args:
        results: of N images.
        counts: ``(B, N)``, how often each image was drawn.

    Returns:
        ``(B,)`` by measure, nan where only images with an empty truth were drawn.
    """
    rows = [result_row(result) for result in results]
    fields = [result.field for result in results]
    values = {}
    for measure in FIELD_MEASURES:
        curve = measure.removeprefix("max")
        if curve != measure and all(f is not None and curve in f.curves for f in fields):
            values[measure] = _means(np.array([f.curves[curve] for f in fields]), counts, best=True)
        elif all(measure in row for row in rows):
            values[measure] = _means(np.array([row[measure] for row in rows]), counts)
    full = np.array([not result.score.empty for result in results])
    if full.any():
        paper = {
            name: _means(np.array([row[name] for row in rows], float)[full], counts[:, full])
            for name in PAPER_MEASURES
            if name in rows[0]
        }
        for name in ("F0.3", "F1"):
            beta2 = float(name.removeprefix("F"))
            pairs = zip(paper["P"], paper["R"], strict=True)
            paper[name] = np.array([f_beta(p, r, beta2) for p, r in pairs])
        values.update((name, paper[name]) for name in PAPER_MEASURES)
    return values


def _means(column: np.ndarray, counts: np.ndarray, best: bool = False) -> np.ndarray:
    """Means over the images, ``(N,)`` or ``(N, T)``, under each row of ``counts``, ``(B, N)``; of
    curves the highest point of the mean."""
    parts = []
    for start in range(0, len(counts), CHUNK):
        chunk = counts[start : start + CHUNK].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = ((chunk @ column).T / chunk.sum(axis=1)).T
        parts.append(means.max(axis=1) if best else means)
    return np.concatenate(parts)
