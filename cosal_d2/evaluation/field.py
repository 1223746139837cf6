"""The field's measures of a dataset, at pysodmetrics' defaults, from the scores of its images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from cosal_d2.evaluation.histogram import CURVES, ThresholdScore
from cosal_d2.utils.sod_measures import HeavyScore

__all__ = ["MEASURES", "FieldScore", "field_curves", "field_row", "summarize_field"]

MEASURES = (
    *("MAE", "adpF", "meanF", "maxF", "S", "adpE", "meanE", "maxE", "wF"),
    *("adpIoU", "meanIoU", "maxIoU", "adpDice", "meanDice", "maxDice"),
)
LOWER_IS_BETTER = frozenset({"MAE", "count_error"})
SCALARS = {"MAE", "adpF", "adpIoU", "adpDice", "S", "adpE", "wF"}


@dataclass(frozen=True)
class FieldScore:
    """The field's measures of one image; ``heavy`` is None where only the fast ones are asked."""

    thresholds: ThresholdScore
    heavy: HeavyScore | None = None

    def scalar(self, name: str) -> float:
        """A measure with one number an image: MAE, S, wF, or one that starts with adp."""
        return getattr(self.heavy if name in ("S", "adpE", "wF") else self.thresholds, name)

    def curve(self, name: str) -> np.ndarray:
        """``(256,)`` at the levels 255 to 0: precision, recall, F, IoU, Dice or E."""
        return self.heavy.E if name == "E" else self.thresholds.curves[name]


def field_curves(scores: Sequence[FieldScore]) -> dict[str, np.ndarray]:
    """Mean curves over images, each ``(256,)`` at the levels 255, 254, ..., 0.

    Args:
        scores: one an image, at least one.

    Returns:
        ``precision``, ``recall``, ``F``, ``IoU``, ``Dice``, and ``E`` where all have it.
    """
    names = [*CURVES, "E"] if all(score.heavy for score in scores) else CURVES
    return {name: np.mean([score.curve(name) for score in scores], axis=0) for name in names}


def summarize_field(scores: Sequence[FieldScore]) -> OrderedDict[str, float]:
    """Dataset's measures as pysodmetrics gives them: images with an empty truth count too.

    ``meanX`` and ``maxX`` are the mean and the maximum of the mean curve.

    Args:
        scores: one an image.

    Returns:
        the names in ``MEASURES`` that were scored, as plain floats; empty without an image.
    """
    result: OrderedDict[str, float] = OrderedDict()
    if not scores:
        return result
    curves = field_curves(scores)
    complete = all(score.heavy for score in scores)
    for name in MEASURES:
        if name in SCALARS:
            if complete or name not in ("S", "adpE", "wF"):
                result[name] = fmean(score.scalar(name) for score in scores)
        elif (curve := curves.get(name.removeprefix("mean").removeprefix("max"))) is not None:
            result[name] = float(curve.mean() if name.startswith("mean") else curve.max())
    return result


def field_row(score: FieldScore) -> OrderedDict[str, float]:
    """The same measures of one image, whose ``maxX`` is at that image's own best threshold."""
    return summarize_field([score])
