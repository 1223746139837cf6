"""Masks of regions, as Mask R-CNN has them (He et al., 2017) but of any class: an extension.

A region says where an object is only roughly. Its mask says which of the region's pixels are the
object: those are compared with other regions, and those get the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.layers import ROIAlign, ShapeSpec
from detectron2.modeling.poolers import convert_boxes_to_pooler_format
from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import nn

from cosal_d2.config import MASK_GROUPS
from cosal_d2.modeling.backbone.encoder import check_features
from cosal_d2.modeling.layers import GroupNorm

POOLED = 14
SIDE = 2 * POOLED
# Input pixels per pixel of the foreground map that is pooled.
FOREGROUND_STRIDE = 4
# A region's window is its box, this much larger: its object may reach beyond it (ours).
WINDOW = 1.3
# A region learns the mask of the object that it overlaps by more than this IoU (ours).
MATCH_IOU = 0.35
# At most this many of an image's regions learn (ours).
MAX_REGIONS = 16
# A mask of fewer pixels than this leaves its region's box as it is (ours).
MIN_PIXELS = 4


@dataclass
class RegionSet:
    """The K regions of one image, with masks.

    Attributes:
        proposals: (K, 4) XYXY in input pixels, where the regions were looked for.
        boxes: (K, 4) XYXY in input pixels, around the masks.
        objectness: (K,) logits.
        masks: (K, 28, 28) probabilities in the proposals' windows
            (:func:`windows`).
        colours: (K, 2), mean a* and b* of CIELAB; 0 in training, which does without.
    """

    proposals: torch.Tensor
    boxes: torch.Tensor
    objectness: torch.Tensor
    masks: torch.Tensor
    colours: torch.Tensor

    def __len__(self) -> int:
        return len(self.proposals)

    def __getitem__(self, part: slice | torch.Tensor) -> RegionSet:
        return RegionSet(*(x[part] for x in self._parts()))

    def _parts(self) -> tuple[torch.Tensor, ...]:
        return self.proposals, self.boxes, self.objectness, self.masks, self.colours

    @classmethod
    def cat(cls, sets: Sequence[RegionSet]) -> RegionSet:
        """Regions of several sets that have one coordinate system."""
        return cls(*(torch.cat(x) for x in zip(*(s._parts() for s in sets), strict=True)))

    def moved(self, view: Sequence[float], size: tuple[int, int]) -> RegionSet:
        """The same regions in the pixels of a picture, of which they saw a view.

        Args:
            view: XYXY in the picture.
            size: (h, w) of the view in pixels of these regions.
        """
        x0, y0, x1, y1 = view
        scale = self.boxes.new_tensor([(x1 - x0) / size[1], (y1 - y0) / size[0]] * 2)
        origin = self.boxes.new_tensor([x0, y0] * 2)
        boxes = (self.proposals * scale + origin, self.boxes * scale + origin)
        return RegionSet(*boxes, self.objectness, self.masks, self.colours)


class RegionMasks(nn.Module):
    """A mask for each region, from several encoder levels and the foreground."""

    def __init__(
        self, shapes: dict[str, ShapeSpec], levels: Sequence[str], lateral: int, width: int
    ) -> None:
        """
        Args:
            shapes: channels and stride of the encoder's features, by name.
            levels: names of the levels that are used.
            lateral: channels that each level is reduced to; a multiple of 8.
            width: channels of the head's convolutions.

        Raises:
            ValueError: the encoder lacks a level.
        """
        super().__init__()
        check_features("MODEL.GROUPING.LEVELS", levels, shapes)
        self.levels = tuple(levels)
        self.laterals = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(shapes[n].channels, lateral, 1), GroupNorm(MASK_GROUPS, lateral)
            )
            for n in levels
        )
        self.poolers = nn.ModuleList(
            ROIAlign((POOLED, POOLED), 1.0 / shapes[n].stride, 2, aligned=True) for n in levels
        )
        self.foreground_pooler = ROIAlign(
            (POOLED, POOLED), 1.0 / FOREGROUND_STRIDE, 2, aligned=True
        )
        pooled = ShapeSpec(channels=len(self.levels) * lateral + 1, height=POOLED, width=POOLED)
        self.head = MaskRCNNConvUpsampleHead(pooled, num_classes=1, conv_dims=[width] * 4)

    def forward(
        self,
        features: dict[str, torch.Tensor],
        foreground: torch.Tensor,
        boxes: list[torch.Tensor],
    ) -> list[torch.Tensor]:
        """Masks of regions.

        Args:
            features: the encoder's features by name; no gradient reaches them.
            foreground: (N, 1, H/4, W/4) float32, probability of any object.
            boxes: (K_i, 4) XYXY in input pixels, a tensor an image.

        Returns:
            logits (K_i, 28, 28) of each region's window (:func:`windows`), a tensor an image.
        """
        rois = convert_boxes_to_pooler_format([Boxes(windows(b)) for b in boxes])
        return list(self.in_windows(features, foreground, rois).split([len(b) for b in boxes]))

    def in_windows(
        self, features: dict[str, torch.Tensor], foreground: torch.Tensor, rois: torch.Tensor
    ) -> torch.Tensor:
        """Logits (K, 28, 28) of windows (K, 5): index of the image, and XYXY in input pixels."""
        # torchvision's RoIAlign has no half-precision kernel on CPUs.
        parts = [
            pooler(lateral(features[name].detach()).float(), rois)
            for name, lateral, pooler in zip(self.levels, self.laterals, self.poolers, strict=True)
        ]
        parts.append(2 * self.foreground_pooler(foreground, rois) - 1)
        # RoIAlign's output is contiguous, whatever its input; convolutions are faster otherwise.
        pooled = torch.cat(parts, dim=1).contiguous(memory_format=torch.channels_last)
        return self.head.layers(pooled)[:, 0].float()

    def losses(
        self,
        features: dict[str, torch.Tensor],
        foreground: torch.Tensor,
        boxes: list[torch.Tensor],
        targets: list[Instances],
        generators: list[torch.Generator],
    ) -> dict[str, torch.Tensor]:
        """``loss_mask``: binary cross-entropy over the windows of regions that are on objects.

        Only these regions are passed through the head here: RoIAlign's backward pass is the
        dearest part of a step on a CPU.

        Args:
            features, foreground, boxes: as in a forward pass.
            targets: with ``gt_boxes`` and ``gt_masks`` (bit masks).
            generators: one an image; they draw which regions learn where there are many.
        """
        learning, truth = [], []
        for b, t, generator in zip(boxes, targets, generators, strict=True):
            index, matched = _matched(b, t, generator)
            learning.append(b[index])
            masks = t.gt_masks[matched].crop_and_resize(windows(b[index]), SIDE)
            truth.append(masks.float())
        logits, labels = torch.cat(self(features, foreground, learning)), torch.cat(truth)
        if len(labels) == 0:
            # Connected to every parameter, as DistributedDataParallel wants it.
            return {"loss_mask": 0 * (sum(p.sum() for p in self.parameters()) + logits.sum())}
        return {"loss_mask": F.binary_cross_entropy_with_logits(logits, labels)}


def _matched(
    boxes: torch.Tensor, targets: Instances, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which regions learn, and the object of each."""
    if len(targets) == 0 or len(boxes) == 0:
        empty = torch.zeros(0, dtype=torch.int64, device=boxes.device)
        return empty, empty
    iou, object_ = pairwise_iou(Boxes(boxes), targets.gt_boxes).max(dim=1)
    index = (iou > MATCH_IOU).nonzero()[:, 0]
    order = torch.randperm(len(index), generator=generator)[:MAX_REGIONS]
    index = index[order.to(index.device)]
    return index, object_[index]


def maskness(masks: torch.Tensor) -> torch.Tensor:
    """How certain masks are of their pixels: the mean probability of those over a half (SOLO v2,
    Wang et al. 2020).

    Args:
        masks: (..., K, h, w) probabilities.

    Returns:
        (..., K), 0 for a mask without such pixels.
    """
    inside = masks > 0.5
    return (masks * inside).sum(dim=(-2, -1)) / inside.sum(dim=(-2, -1)).clamp(min=1)


def windows(boxes: torch.Tensor) -> torch.Tensor:
    """The windows (..., 4) in which the masks of regions (..., 4) lie: ``WINDOW`` times larger."""
    low, high = boxes[..., :2], boxes[..., 2:]
    centres, halves = (low + high) / 2, (high - low) / 2
    return torch.cat([centres - WINDOW * halves, centres + WINDOW * halves], dim=-1)


def paste_masks(
    masks: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int], stride: int
) -> torch.Tensor:
    """Masks on the image's grid.

    Args:
        masks: (..., K, 28, 28) probabilities in the regions' windows.
        boxes: (..., K, 4) XYXY in input pixels.
        size: (h, w) of the grid.
        stride: input pixels per pixel of the grid.

    Returns:
        (..., K, h, w), 0 outside the windows.
    """
    h, w = size
    x = (torch.arange(w, device=boxes.device) + 0.5) * stride
    y = (torch.arange(h, device=boxes.device) + 0.5) * stride
    window = windows(boxes).flatten(end_dim=-2)
    sides = (window[:, 2:] - window[:, :2]).clamp(min=1e-6)
    u = (x[None] - window[:, :1]) / sides[:, :1] * 2 - 1
    v = (y[None] - window[:, 1:2]) / sides[:, 1:] * 2 - 1
    grid = torch.stack([u[:, None].expand(-1, h, w), v[:, :, None].expand(-1, h, w)], dim=3)
    flat = masks.flatten(end_dim=-3)[:, None]
    return F.grid_sample(flat, grid, align_corners=False).reshape(*masks.shape[:-2], h, w)


def tight_boxes(
    masks: torch.Tensor, boxes: torch.Tensor, image_size: tuple[int, int] | torch.Tensor
) -> torch.Tensor:
    """The boxes (K, 4) around the pixels of probability over a half, clipped to the image.

    Args:
        masks: (K, 28, 28) probabilities in the regions' windows.
        boxes: (K, 4); a region with too small a mask, or with one outside the image, keeps its own.
        image_size: (H, W) of the image; (K, 2) where there are several.
    """
    inside = masks > 0.5
    window = windows(boxes)
    sides = (window[:, 2:] - window[:, :2]) / SIDE
    columns, rows = inside.any(dim=1), inside.any(dim=2)
    low = torch.stack([_first(columns), _first(rows)], dim=1)
    high = SIDE - torch.stack([_first(columns.flip(1)), _first(rows.flip(1))], dim=1)
    fitted = torch.cat([window[:, :2] + low * sides, window[:, :2] + high * sides], dim=1)
    fitted = clip_boxes(fitted, image_size)
    keep = (inside.flatten(1).sum(dim=1) < MIN_PIXELS) | ~(fitted[:, 2:] > fitted[:, :2]).all(dim=1)
    return clip_boxes(torch.where(keep[:, None], boxes, fitted), image_size)


def clip_boxes(boxes: torch.Tensor, image_size: tuple[int, int] | torch.Tensor) -> torch.Tensor:
    """The part of boxes (..., 4) XYXY in an image of (H, W), or in several (..., 2)."""
    size = torch.as_tensor(image_size, dtype=boxes.dtype, device=boxes.device)
    return torch.minimum(boxes.clamp(min=0), size.flip(-1).repeat(*[1] * (size.ndim - 1), 2))


def _first(flags: torch.Tensor) -> torch.Tensor:
    """Index (K,) of the first True of each row of (K, n)."""
    return flags.to(torch.uint8).argmax(dim=1)
