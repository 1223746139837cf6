"""The classical methods of the paper's Table 2, from their own papers, on NumPy and OpenCV."""

from cosal_d2.paper.classical.cws import cluster_based
from cosal_d2.paper.classical.ft import frequency_tuned

__all__ = ["METHODS", "cluster_based", "frequency_tuned"]

# From a picture, uint8 BGR (H, W, 3), to its map, float32 (H, W) in [0, 1].
METHODS = {"FT": frequency_tuned, "CWS": cluster_based}
