"""Region embeddings: the frozen encoder's own levels, pooled where the object is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.layers import ROIAlign, ShapeSpec
from detectron2.modeling.poolers import convert_boxes_to_pooler_format
from detectron2.structures import Boxes
from torch import nn

from cosal_d2.modeling.backbone.encoder import check_features
from cosal_d2.modeling.grouping.region_masks import FOREGROUND_STRIDE, SIDE, RegionSet, windows

POOLED = 7
# Spread of the centre weight, in squared half sides of the box (ours).
SPREAD = 0.3
# What a place outside mask or foreground still counts, so that no region is without a place.
FLOOR = 0.02


class LevelEmbedding(nn.Module):
    """What the frozen encoder knows about regions, for comparisons at test time.

    Regions are pooled from several encoder levels, each place of the RoIAlign grid weighted by how
    near to the centre it lies and how much of the region's mask and of the foreground is there.
    The levels' means are normalised as LayerNorm does, concatenated and scaled to unit length.
    Nothing here is trained: a trained projection fitted the training classes and separated others
    less well (docs/paper.md).
    """

    def __init__(self, shapes: dict[str, ShapeSpec], levels: Sequence[str]) -> None:
        """
        Args:
            shapes: channels and stride of the encoder's features, by name.
            levels: names of the levels that are compared.

        Raises:
            ValueError: the encoder lacks a level.
        """
        super().__init__()
        check_features("MODEL.GROUPING.COMPARED_LEVELS", levels, shapes)
        self.levels = tuple(levels)
        self.strides = {n: shapes[n].stride for n in levels}
        self.foreground_pooler = ROIAlign(
            (POOLED, POOLED), 1.0 / FOREGROUND_STRIDE, 2, aligned=True
        )
        self.mask_pooler = ROIAlign((POOLED, POOLED), 1.0, 2, aligned=True)
        offsets = (torch.arange(POOLED) + 0.5) * 2 / POOLED - 1
        centre = torch.exp(-(offsets[None] ** 2 + offsets[:, None] ** 2) / SPREAD).flatten()
        self.register_buffer("centre", centre, persistent=False)

    @torch.no_grad()
    def forward(
        self,
        features: dict[str, torch.Tensor],
        foreground: torch.Tensor,
        regions: list[RegionSet],
    ) -> list[torch.Tensor]:
        """Embed regions; no gradient passes.

        Args:
            features: the encoder's features by name.
            foreground: (N, 1, H/4, W/4) float32, probability of any object.
            regions: K_i of each image; they are pooled in their ``boxes``.

        Returns:
            (K_i, D) float32 of unit length, D the levels' channels together, a tensor an image.
        """
        rois = convert_boxes_to_pooler_format([Boxes(r.boxes) for r in regions])
        parts = []
        counts = [len(r) for r in regions]
        weights = self.bin_weights(foreground, rois, RegionSet.cat(regions)).split(counts)
        for name in self.levels:
            means = [
                weighted_mean(f, r.boxes / self.strides[name], w)
                for f, r, w in zip(features[name].float(), regions, weights, strict=True)
            ]
            parts.append(F.layer_norm(torch.cat(means), features[name].shape[1:2]))
        embeddings = F.normalize(torch.cat(parts, dim=1), dim=1)
        return list(embeddings.split(counts))

    def bin_weights(
        self, foreground: torch.Tensor, rois: torch.Tensor, regions: RegionSet
    ) -> torch.Tensor:
        """What each bin of K regions counts, (K, 7, 7).

        Args:
            foreground: (N, 1, H/4, W/4) float32, probability of any object.
            rois: (K, 5), the index of the image and the region's box.
            regions: K.
        """
        weight = self.foreground_pooler(foreground, rois).flatten(1) * self._pooled_masks(regions)
        weight = (weight + FLOOR) * self.centre
        weight = weight / weight.sum(dim=1, keepdim=True)
        return weight.unflatten(1, (POOLED, POOLED))

    def _pooled_masks(self, regions: RegionSet) -> torch.Tensor:
        """Masks (K, 49) in the grids of the regions' boxes."""
        window = windows(regions.proposals)
        sides = (window[:, 2:] - window[:, :2]).clamp(min=1e-6)
        low, high = regions.boxes[:, :2] - window[:, :2], regions.boxes[:, 2:] - window[:, :2]
        index = torch.arange(window.shape[0], device=window.device)[:, None]
        rois = torch.cat([index, SIDE * low / sides, SIDE * high / sides], dim=1)
        return self.mask_pooler(regions.masks[:, None].float(), rois).flatten(1)


def weighted_mean(
    feature: torch.Tensor, boxes: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Weighted sums over RoIAlign's bins (aligned, two samples a side), without the bins.

    RoIAlign is linear and separable: a bin is a mean of rows times a mean of columns. So the
    weights become a map over the feature's places, and one matrix product replaces the pooling of
    each channel.

    Args:
        feature: (..., C, H, W) float32.
        boxes: (..., K, 4) XYXY in the feature's pixels, inside of it.
        weights: (..., K, b, b) of the bins.

    Returns:
        (..., K, C).
    """
    bins = weights.shape[-1]
    height, width = feature.shape[-2:]
    rows = _bin_samples(boxes[..., 1], boxes[..., 3], bins, height)
    columns = _bin_samples(boxes[..., 0], boxes[..., 2], bins, width)
    places = rows.transpose(-1, -2) @ weights @ columns
    return places.flatten(-2) @ feature.flatten(-2).transpose(-1, -2)


def _bin_samples(low: torch.Tensor, high: torch.Tensor, bins: int, size: int) -> torch.Tensor:
    """How much each of ``size`` places counts for the bins between two coordinates: (..., bins,
    size), bilinear, the mean of two samples a bin."""
    steps = (torch.arange(2 * bins, device=low.device) + 0.5) / (2 * bins)
    at = (low[..., None] + (high - low)[..., None] * steps - 0.5).clamp(0, size - 1)
    places = torch.arange(size, device=low.device)
    share = (1 - (at[..., None] - places).abs()).clamp(min=0)
    return share.unflatten(-2, (bins, 2)).mean(dim=-2)
