"""The field's measures at pysodmetrics' defaults, of one map and of a dataset.

An 8-bit map has 256 levels, so the number of its pixels on each, inside and outside the truth,
holds MAE, precision, recall, F, IoU and Dice at every threshold. The counting is done on the
device that the map is on; pysodmetrics' own handlers turn counts into measures. S, E and weighted F
come from :mod:`cosal_d2.utils.sod_measures`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch

from cosal_d2.utils.sod_measures import library

FIELD_MEASURES = (
    *("MAE", "adpF", "meanF", "maxF", "S", "adpE", "meanE", "maxE", "wF"),
    *("adpIoU", "meanIoU", "maxIoU", "adpDice", "meanDice", "maxDice"),
)
LEVELS = 256
THRESHOLDS = np.arange(LEVELS - 1, -1, -1)  # the order of every curve
TIE = 1e-9


@dataclass(frozen=True)
class FieldScore:
    """The field's measures of one image, on the map stretched to 0-1.

    Attributes:
        scalars: ``MAE``, and F with beta^2 = 0.3, IoU and Dice at the adaptive threshold
            (``adpF``, ``adpIoU``, ``adpDice``); where all measures were asked for also ``S``,
            ``adpE`` and ``wF``.
        curves: ``precision``, ``recall``, ``F``, ``IoU``, ``Dice`` and, like those, ``E``, each
            ``(256,)`` float64, of the pixels with a level >= 255, 254, ..., 0.
    """

    scalars: dict[str, float]
    curves: dict[str, np.ndarray]


def to_levels(cosal_map: Any) -> torch.Tensor:
    """Round a map to the 8 bits of a file, floor(255 p + 0.5), on its own device.

    Args:
        cosal_map: ``(H, W)`` float array or tensor in [0, 1].

    Returns:
        ``(H, W)`` uint8 tensor.
    """
    values = torch.as_tensor(cosal_map).detach()
    if values.element_size() < 4:
        values = values.float()
    return (values.clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def threshold_score(levels: torch.Tensor, truth: Any) -> FieldScore:
    """The measures that thresholds give, without a loop over them.

    Args:
        levels: ``(H, W)`` uint8 tensor on any device, see :func:`to_levels`.
        truth: ``(H, W)`` boolean.

    Raises:
        ImportError: pysodmetrics is not installed.
    """
    outside, inside = _histogram(levels, truth)
    both = outside + inside
    values = _stretched(both)
    size = int(both.sum())
    mae = float(outside @ np.abs(values) + inside @ np.abs(1 - values)) / size

    threshold = min(2 * float(both @ values) / size, 1.0)
    if np.any((np.abs(values - threshold) < TIE) & (both > 0)):
        # A level on the threshold: the library's own sum over pixels decides.
        threshold = min(2 * float(values[levels.cpu().numpy()].mean()), 1.0)
    chosen = values >= threshold
    bins = np.clip(values * 255, 0, 255).astype(np.uint8)
    above = [
        np.cumsum(np.bincount(bins, weights=row, minlength=LEVELS)[::-1].astype(np.int64))
        for row in (inside, outside)
    ]

    sod = library()
    kinds = {
        "precision": sod.PrecisionHandler,
        "recall": sod.RecallHandler,
        "F": sod.FmeasureHandler,
        "IoU": sod.IOUHandler,
        "Dice": sod.DICEHandler,
    }
    handlers = {name: kind(with_dynamic=False, with_adaptive=False) for name, kind in kinds.items()}

    def measure(name: str, tp: Any, fp: Any) -> Any:
        return handlers[name](tp=tp, fp=fp, fn=int(inside.sum()) - tp, tn=int(outside.sum()) - fp)

    adaptive = int(inside[chosen].sum()), int(outside[chosen].sum())
    scalars = {f"adp{name}": float(measure(name, *adaptive)) for name in ("F", "IoU", "Dice")}
    return FieldScore({"MAE": mae, **scalars}, {name: measure(name, *above) for name in kinds})


def _histogram(levels: torch.Tensor, truth: Any) -> np.ndarray:
    """Number of pixels on each level, outside (row 0) and inside (row 1) the truth, (2, 256)."""
    inside = torch.as_tensor(truth).to(levels.device, torch.int64)
    bins = inside.mul_(LEVELS).add_(levels).flatten()
    return torch.bincount(bins, minlength=2 * LEVELS).reshape(2, LEVELS).cpu().numpy()


def _stretched(counts: np.ndarray) -> np.ndarray:
    """Value of each level after pysodmetrics' min-max stretching, (256,), from the number of pixels
    on each. A constant map is not stretched. Unused levels may lie outside [0, 1]."""
    used = np.flatnonzero(counts)
    values = np.arange(LEVELS) / 255
    low, high = values[used[0]], values[used[-1]]
    return values if low == high else (values - low) / (high - low)


def field_curves(scores: Sequence[FieldScore]) -> dict[str, np.ndarray]:
    """Mean curves over images, each ``(256,)`` at the levels 255, 254, ..., 0.

    Args:
        scores: one an image, at least one.

    Returns:
        ``precision``, ``recall``, ``F``, ``IoU``, ``Dice``, and ``E`` where all have it.
    """
    names = [name for name in scores[0].curves if all(name in s.curves for s in scores)]
    return {name: np.mean([score.curves[name] for score in scores], axis=0) for name in names}


def summarize_field(scores: Sequence[FieldScore]) -> OrderedDict[str, float]:
    """A dataset's measures as pysodmetrics gives them: images with an empty truth count too.

    ``meanX`` and ``maxX`` are the mean and the maximum of the mean curve; of a single image,
    ``maxX`` is at its own best threshold.

    Args:
        scores: one an image.

    Returns:
        the names in ``FIELD_MEASURES`` that were scored, as plain floats; empty without an image.
    """
    result: OrderedDict[str, float] = OrderedDict()
    curves = field_curves(scores) if scores else {}
    for name in FIELD_MEASURES:
        curve = curves.get(name.removeprefix("mean").removeprefix("max"))
        if curve is not None:
            result[name] = float(curve.mean() if name.startswith("mean") else curve.max())
        elif scores and all(name in score.scalars for score in scores):
            result[name] = fmean(score.scalars[name] for score in scores)
    return result
