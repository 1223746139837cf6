"""Paired bootstrap: how sure the difference between two methods is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from cosal_d2.evaluation.field import MEASURES
from cosal_d2.evaluation.maps import MapsEvaluation
from cosal_d2.evaluation.metrics import f_beta
from cosal_d2.evaluation.results import ImageResult, result_row

RESAMPLES = 2000
LEVEL = 0.95
CHUNK = 250
PAPER = ("P", "R", "F0.3", "F1", "raw_MAE", "raw_adpF")


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
    for a, b in combinations(evaluation.methods.values(), 2):
        places = sorted(set(a.results) & set(b.results))
        if places:
            pair = [[m.results[p] for p in places] for m in (a, b)]
            rows += _compare(a.name, b.name, *pair, resamples, np.random.default_rng(seed))
    return rows


def _compare(
    a: str,
    b: str,
    results_a: Sequence[ImageResult],
    results_b: Sequence[ImageResult],
    resamples: int,
    rng: np.random.Generator,
) -> list[Difference]:
    n = len(results_a)
    full = np.array([not result.score.empty for result in results_a])
    everybody = np.ones(n, dtype=bool)
    draws = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    weights = np.concatenate([np.ones((1, n), dtype=np.int64), draws])
    rows = []
    tables = [_columns(results) for results in (results_a, results_b)]
    for measure in (*MEASURES, *PAPER):
        if not all(_applies(measure, table) for table in tables):
            continue
        members = full if measure in PAPER else everybody
        if not members.any():
            continue
        values_a, values_b = (_values(measure, table, weights, members) for table in tables)
        difference = values_a - values_b
        resampled = difference[1:][np.isfinite(difference[1:])]
        if not len(resampled):
            continue
        tail = 100 * (1 - LEVEL) / 2
        low, high = np.percentile(resampled, [tail, 100 - tail])
        rows.append(
            Difference(
                a, b, measure, float(difference[0]), float(low), float(high), int(members.sum())
            )
        )
    return rows


def _columns(results: Sequence[ImageResult]) -> dict[str, np.ndarray]:
    rows: list[dict[str, Any]] = [result_row(result) for result in results]
    columns = {
        name: np.array([np.nan if row.get(name) is None else row[name] for row in rows], float)
        for name in (*MEASURES, "P", "R", "raw_MAE", "raw_adpF")
        if name in rows[0]
    }
    if all(result.field is not None for result in results):
        for name in ("F", "E", "IoU", "Dice"):
            if name != "E" or all(result.field.heavy for result in results):
                columns[name] = np.array([result.field.curve(name) for result in results])
    return columns


def _applies(measure: str, table: dict[str, np.ndarray]) -> bool:
    return measure in table or measure in ("F0.3", "F1")


def _values(
    measure: str, table: dict[str, np.ndarray], weights: np.ndarray, members: np.ndarray
) -> np.ndarray:
    """The measure under each row of weights, ``(B,)``."""
    mean = _averager(weights[:, members], members)
    if measure in ("F0.3", "F1"):
        pairs = zip(mean(table["P"]), mean(table["R"]), strict=True)
        beta2 = float(measure.removeprefix("F"))
        return np.array([f_beta(p, r, beta2) for p, r in pairs])
    if measure.startswith("max"):
        return mean(table[measure.removeprefix("max")], np.max)
    return mean(table[measure])


def _averager(weights: np.ndarray, members: np.ndarray) -> Callable[..., np.ndarray]:
    def mean(column: np.ndarray, reduce: Callable[..., np.ndarray] | None = None) -> np.ndarray:
        parts = []
        for start in range(0, len(weights), CHUNK):
            chunk = weights[start : start + CHUNK].astype(np.float64)
            with np.errstate(invalid="ignore", divide="ignore"):
                sums = chunk @ column[members]
                count = chunk.sum(axis=1)
                part = (sums.T / count).T
            parts.append(part if reduce is None else reduce(part, axis=1))
        return np.concatenate(parts)

    return mean
