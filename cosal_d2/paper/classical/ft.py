"""FT: frequency-tuned salient region detection.

R. Achanta, S. Hemami, F. Estrada, S. Suesstrunk: "Frequency-tuned Salient Region Detection", CVPR
2009. A pixel is as salient as its slightly smoothed colour is far from the picture's mean colour,
which keeps all frequencies but the highest and the mean (eq. 4):

    S(x, y) = || I_mean - I_smooth(x, y) ||^2, Euclidean, in CIE L*a*b*

The square is that of the authors' published code; eq. 4 has the distance itself. Both order the
pixels alike, so precision-recall curves agree, but MAE and the adaptive threshold do not.
"""

from __future__ import annotations

import cv2
import numpy as np

from cosal_d2.paper.classical.colour import bgr_to_lab, stretch

# The paper's 5x5 separable binomial kernel.
BINOMIAL = np.array([1, 4, 6, 4, 1], dtype=np.float32) / 16


def frequency_tuned(image: np.ndarray) -> np.ndarray:
    """FT's saliency map, stretched to [0, 1].

    Args:
        image: uint8 BGR (H, W, 3).

    Returns:
        float32 (H, W) in [0, 1]; 0 everywhere for a picture of one colour.

    Raises:
        ValueError: the picture has another type or shape, or no pixel.
    """
    lab = bgr_to_lab(image)
    mean = lab.reshape(-1, 3).mean(axis=0, dtype=np.float64)
    smooth = cv2.sepFilter2D(lab, -1, BINOMIAL, BINOMIAL, borderType=cv2.BORDER_REPLICATE)
    return stretch(np.square(smooth - mean).sum(axis=2))
