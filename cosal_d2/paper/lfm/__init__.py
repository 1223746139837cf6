"""LFM: co-saliency within one picture by groups of proposals (Yu et al. AAAI 2018)."""

from cosal_d2.paper.lfm.method import common_saliency

__all__ = ["common_saliency"]
