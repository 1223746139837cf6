"""The augmentations that a config asks for, and a resize for pictures of any shape."""

from __future__ import annotations

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T

from cosal_d2.data.augmentations import RandomObjectCrop, RandomOcclusion


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


def build_object_crop(cfg: CfgNode) -> list[T.Augmentation]:
    """Random object clipping as ``INPUT.OBJECT_CROP`` says; empty when it is off."""
    keys = cfg.INPUT.OBJECT_CROP
    if keys.PROB == 0:
        return []
    crop = RandomObjectCrop(
        tuple(keys.SIZES), tuple(keys.ASPECTS), keys.MIN_SHARE, keys.MIN_OBJECTS
    )
    return [T.RandomApply(crop, keys.PROB)]


def build_occlusion(cfg: CfgNode) -> list[T.Augmentation]:
    """Random occlusion as ``INPUT.OCCLUSION`` says; empty when it is off."""
    keys = cfg.INPUT.OCCLUSION
    if keys.PROB == 0:
        return []
    occlusion = RandomOcclusion(keys.MAX_PATCHES, keys.MAX_SHARE, tuple(keys.FILLS))
    return [T.RandomApply(occlusion, keys.PROB)]


def build_color_jitter(cfg: CfgNode) -> list[T.Augmentation]:
    """Brightness, contrast and saturation within 1 +- ``INPUT.COLOR_JITTER.STRENGTH``, and grey
    with ``GRAY_PROB``."""
    keys = cfg.INPUT.COLOR_JITTER
    jitter: list[T.Augmentation] = []
    if keys.STRENGTH > 0:
        low, high = 1 - keys.STRENGTH, 1 + keys.STRENGTH
        jitter += [
            T.RandomBrightness(low, high),
            T.RandomContrast(low, high),
            T.RandomSaturation(low, high),
        ]
    if keys.GRAY_PROB > 0:
        jitter.append(T.RandomApply(T.RandomSaturation(0, 0), keys.GRAY_PROB))
    return jitter
