"""S-measure, E-measure and weighted F of one map, by pysodmetrics: what worker processes run.

Importing this needs neither torch nor Detectron2, so that a worker starts quickly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

INSTALL_HINT = "run: python -m pip install pysodmetrics"


@dataclass(frozen=True)
class HeavyScore:
    """The measures of one image that need more than a histogram, at pysodmetrics' defaults.

    Attributes:
        S: structure measure (Fan et al., ICCV 2017), alpha 0.5.
        adpE: E-measure (Fan et al., IJCAI 2018) at the adaptive threshold.
        wF: weighted F (Margolin et al., CVPR 2014), beta^2 = 1.
        E: ``(256,)`` float64, E-measure at the levels 255, 254, ..., 0.
    """

    S: float
    adpE: float
    wF: float
    E: np.ndarray


@cache
def _library() -> tuple[type, type, type]:
    try:
        from py_sod_metrics import Emeasure, Smeasure, WeightedFmeasure
    except ImportError as error:
        raise ImportError(
            f"all measures need pysodmetrics, not found here; {INSTALL_HINT}"
        ) from error

    class SafeSmeasure(Smeasure):
        """The library's S, where an empty quadrant (weight 0) adds 0 instead of nan."""

        def ssim(self, pred: np.ndarray, gt: np.ndarray) -> Any:
            return super().ssim(pred, gt) if pred.size else 0.0

    return SafeSmeasure, Emeasure, WeightedFmeasure


def heavy_score(levels: np.ndarray, truth: np.ndarray) -> HeavyScore:
    """Score one map with pysodmetrics as its users call it: 8-bit map, stretched to 0-1.

    Args:
        levels: ``(H, W)`` uint8, the map times 255.
        truth: ``(H, W)`` boolean.

    Raises:
        ImportError: pysodmetrics is not installed.
    """
    truth = np.asarray(truth, dtype=np.uint8) * np.uint8(255)
    s, e, w = (measure() for measure in _library())
    with np.errstate(invalid="ignore", divide="ignore"):
        for measure in (s, e, w):
            measure.step(levels, truth)
    em = e.get_results()["em"]
    return HeavyScore(
        S=float(s.get_results()["sm"]),
        adpE=float(em["adp"]),
        wF=float(w.get_results()["wfm"]),
        E=np.asarray(em["curve"], dtype=np.float64),
    )
