"""Detectron2's resize and flip, for pictures of any shape."""

from __future__ import annotations

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T


class ResizeShortestEdge(T.ResizeShortestEdge):
    """Detectron2's, but a very thin picture keeps at least one pixel a side instead of failing."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """The resize for ``image``, (H, W, 3), with both new sides at least 1."""
        transform = super().get_transform(image)
        if isinstance(transform, T.ResizeTransform):
            transform.new_h = max(transform.new_h, 1)
            transform.new_w = max(transform.new_w, 1)
        return transform


def build_augmentation(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """The resize of ``INPUT.MIN_SIZE_*`` and ``MAX_SIZE_*``, then in training the flip."""
    resize, *flip = utils.build_augmentation(cfg, is_train)
    style = "range" if resize.is_range else "choice"
    return [ResizeShortestEdge(resize.short_edge_length, resize.max_size, style), *flip]
