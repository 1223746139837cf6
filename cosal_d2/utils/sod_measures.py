"""S-measure, E-measure and weighted F of one map, by pysodmetrics: what worker processes run.

Importing this needs neither torch nor Detectron2, so that a worker starts quickly.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

import numpy as np


@cache
def library() -> ModuleType:
    """pysodmetrics.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import py_sod_metrics
    except ImportError as error:
        raise ImportError(
            "the field's measures need pysodmetrics, not found here; "
            "run: python -m cosal_d2.install_detectron2"
        ) from error
    return py_sod_metrics


@cache
def _structure_measure() -> type:
    class SafeSmeasure(library().Smeasure):
        """The library's S, where an empty quadrant (weight 0) adds 0 instead of nan."""

        def ssim(self, pred: np.ndarray, gt: np.ndarray) -> float:
            return super().ssim(pred, gt) if pred.size else 0.0

    return SafeSmeasure


def heavy_score(pair: tuple[np.ndarray, np.ndarray]) -> tuple[dict[str, float], np.ndarray]:
    """The measures of one map that need more than a histogram, as users of pysodmetrics call it:
    8-bit map, stretched to 0-1, default options.

    Args:
        pair: the map times 255, ``(H, W)`` uint8, and its truth, ``(H, W)`` boolean.

    Returns:
        ``S``, structure measure (Fan et al., ICCV 2017), alpha 0.5; ``adpE``, E-measure (Fan et
        al., IJCAI 2018) at the adaptive threshold; ``wF``, weighted F (Margolin et al., CVPR 2014),
        beta^2 = 1; and the E-measure at the levels 255, 254, ..., 0, ``(256,)`` float64.

    Raises:
        ImportError: pysodmetrics is not installed.
    """
    levels, truth = pair
    truth = np.asarray(truth, dtype=np.uint8) * np.uint8(255)
    s, e, w = _structure_measure()(), library().Emeasure(), library().WeightedFmeasure()
    with np.errstate(invalid="ignore", divide="ignore"):
        for measure in (s, e, w):
            measure.step(levels, truth)
    em = e.get_results()["em"]
    scalars = {
        "S": float(s.get_results()["sm"]),
        "adpE": float(em["adp"]),
        "wF": float(w.get_results()["wfm"]),
    }
    return scalars, np.asarray(em["curve"], dtype=np.float64)
