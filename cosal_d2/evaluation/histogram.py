"""Threshold measures of a map from one histogram, taken on the device that the map is on.

An 8-bit map has 256 levels, so the number of its pixels on each, inside and outside the truth,
holds MAE, precision, recall, F, IoU and Dice at every threshold. The numbers are those of
pysodmetrics at its defaults; its own handlers turn counts into measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from cosal_d2.utils.sod_measures import INSTALL_HINT

LEVELS = 256
THRESHOLDS = np.arange(LEVELS - 1, -1, -1)  # the order of every curve
TIE = 1e-9
CURVES = ("precision", "recall", "F", "IoU", "Dice")


@dataclass(frozen=True)
class ThresholdScore:
    """The threshold measures of one image, on the map stretched to 0-1.

    Attributes:
        MAE: mean absolute error.
        adpF: F with beta^2 = 0.3 at the adaptive threshold; likewise ``adpIoU`` and ``adpDice``.
        curves: ``precision``, ``recall``, ``F``, ``IoU`` and ``Dice``, each ``(256,)`` float64, of
            the pixels with a level >= 255, 254, ..., 0.
    """

    MAE: float
    adpF: float
    adpIoU: float
    adpDice: float
    curves: dict[str, np.ndarray]


@cache
def _handlers() -> dict[str, Any]:
    try:
        import py_sod_metrics as sod
    except ImportError as error:
        raise ImportError(
            f"these measures need pysodmetrics, not found here; {INSTALL_HINT}"
        ) from error
    kinds = {
        "precision": sod.PrecisionHandler,
        "recall": sod.RecallHandler,
        "F": sod.FmeasureHandler,
        "IoU": sod.IOUHandler,
        "Dice": sod.DICEHandler,
    }
    return {name: kind(with_dynamic=False, with_adaptive=False) for name, kind in kinds.items()}


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


def level_histogram(levels: torch.Tensor, truth: Any) -> np.ndarray:
    """Count pixels by level, outside (row 0) and inside (row 1) the truth.

    Args:
        levels: ``(H, W)`` uint8, on any device; the counting is done there.
        truth: ``(H, W)`` boolean array or tensor.

    Returns:
        ``(2, 256)`` int64.
    """
    inside = torch.as_tensor(truth).to(levels.device, torch.int64)
    bins = inside.mul_(LEVELS).add_(levels).flatten()
    return torch.bincount(bins, minlength=2 * LEVELS).reshape(2, LEVELS).cpu().numpy()


def stretch(histogram: np.ndarray) -> np.ndarray:
    """Value of each level after pysodmetrics' min-max stretching, ``(256,)`` float64.

    A constant map is not stretched. Levels that no pixel has may lie outside [0, 1].
    """
    used = np.flatnonzero(histogram.sum(axis=0))
    values = np.arange(LEVELS) / 255
    low, high = values[used[0]], values[used[-1]]
    return values if low == high else (values - low) / (high - low)


def threshold_score(levels: torch.Tensor, truth: Any) -> ThresholdScore:
    """Score one map without a loop over thresholds.

    Args:
        levels: ``(H, W)`` uint8 tensor on any device, see :func:`to_levels`.
        truth: ``(H, W)`` boolean.

    Raises:
        ImportError: pysodmetrics is not installed.
    """
    histogram = level_histogram(levels, truth)
    outside, inside = histogram
    both = outside + inside
    values = stretch(histogram)
    size = int(both.sum())
    mae = float(outside @ np.abs(values) + inside @ np.abs(1 - values)) / size

    threshold = min(2 * float(both @ values) / size, 1.0)
    if np.any((np.abs(values - threshold) < TIE) & (both > 0)):
        # A level on the threshold: the library's own sum over pixels decides.
        threshold = min(2 * float(values[levels.cpu().numpy()].mean()), 1.0)
    chosen = values >= threshold
    adaptive = _counts(int(inside[chosen].sum()), int(outside[chosen].sum()), inside, outside)

    bins = np.clip(values * 255, 0, 255).astype(np.uint8)
    above = [
        np.cumsum(np.bincount(bins, weights=row, minlength=LEVELS)[::-1].astype(np.int64))
        for row in (inside, outside)
    ]
    dynamic = _counts(*above, inside, outside)
    handlers = _handlers()
    return ThresholdScore(
        MAE=mae,
        adpF=float(handlers["F"](**adaptive)),
        adpIoU=float(handlers["IoU"](**adaptive)),
        adpDice=float(handlers["Dice"](**adaptive)),
        curves={name: handlers[name](**dynamic) for name in CURVES},
    )


def _counts(tp: Any, fp: Any, inside: np.ndarray, outside: np.ndarray) -> dict[str, Any]:
    return {"tp": tp, "fp": fp, "fn": int(inside.sum()) - tp, "tn": int(outside.sum()) - fp}
