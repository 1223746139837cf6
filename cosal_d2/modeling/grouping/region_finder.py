"""The regions of an image that are compared: RPN's, with masks, colours and embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.modeling.poolers import convert_boxes_to_pooler_format
from detectron2.structures import Boxes, Instances
from torch import nn

from cosal_d2.modeling.grouping.level_embedding import LevelEmbedding
from cosal_d2.modeling.grouping.region_colour import RegionColour
from cosal_d2.modeling.grouping.region_masks import (
    FOREGROUND_STRIDE,
    RegionMasks,
    RegionSet,
    tight_boxes,
    windows,
)
from cosal_d2.modeling.grouping.region_selection import select_regions

# Objectness logit of a region that is known to be an object.
KNOWN_OBJECTNESS = 4.0


class RegionFinder(nn.Module):
    """From the encoder's features, the foreground and RPN's regions to those that are compared."""

    def __init__(
        self,
        masks: RegionMasks,
        embedding: LevelEmbedding,
        colour: RegionColour,
        foreground_stride: int,
        num_regions: int,
        nms_thresh: float,
    ) -> None:
        """
        Args:
            masks: the encoder's features and regions to masks.
            embedding: the encoder's features, regions and masks to embeddings.
            colour: the network's input, regions and masks to colours.
            foreground_stride: input pixels a pixel of the foreground: 1, 2 or 4.
            num_regions: proposals that are compared, the most object-like ones.
            nms_thresh: IoU above which the less object-like of two proposals is dropped.

        Raises:
            ValueError: the foreground is too coarse.
        """
        super().__init__()
        if FOREGROUND_STRIDE % foreground_stride:
            raise ValueError(
                f"MODEL.GROUPING needs a decoder that ends at stride 1, 2 or 4, not at "
                f"{foreground_stride}: add finer features to MODEL.DECODER.SKIPS"
            )
        self.masks = masks
        self.embedding = embedding
        self.colour = colour
        self.foreground_stride = foreground_stride
        self.num_regions = num_regions
        self.nms_thresh = nms_thresh

    @torch.no_grad()
    def find_regions(
        self,
        features: dict[str, torch.Tensor],
        logits: torch.Tensor,
        regions: list[Instances],
        exemplars: list[torch.Tensor | None] | None = None,
    ) -> list[tuple[RegionSet, torch.Tensor]]:
        """At test time: the regions to compare.

        Args:
            features, logits, regions: as in training.
            exemplars: for an image a box (4,) XYXY in input pixels, which becomes its last region.

        Returns:
            an image each, its K regions and their embeddings (K, D).
        """
        known = [
            logits.new_zeros((0, 4)) if e is None else e[None].to(logits)
            for e in exemplars or [None] * len(regions)
        ]
        sets, embeddings = self._embedded(features, self.coarse(logits), regions, known)
        return list(zip(sets, embeddings, strict=True))

    def select(self, regions: list[Instances]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Boxes and objectness logits of the regions to compare, a tensor an image."""
        chosen = [
            select_regions(
                x.proposal_boxes.tensor, x.objectness_logits, self.num_regions, self.nms_thresh
            )
            for x in regions
        ]
        return [boxes for boxes, _ in chosen], [logits for _, logits in chosen]

    def coarse(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits (N, 1, H/s, W/s) of the foreground to float32 probabilities (N, 1, H/4, W/4)."""
        return F.avg_pool2d(logits.sigmoid().float(), FOREGROUND_STRIDE // self.foreground_stride)

    @torch.no_grad()
    def embed_objects(
        self,
        features: dict[str, torch.Tensor],
        logits: torch.Tensor,
        boxes: list[torch.Tensor],
        sizes: list[tuple[int, int]],
    ) -> list[torch.Tensor]:
        """Embeddings (K_i, D) of objects whose boxes are known, a tensor an image.

        Args:
            features: the encoder's features by name.
            logits: (N, 1, H/s, W/s) of the foreground.
            boxes: (K_i, 4) XYXY in input pixels, a tensor an image.
            sizes: (h, w) of each image, without the padding.
        """
        foreground = self.coarse(logits)
        objectness = [b.new_full((len(b),), KNOWN_OBJECTNESS) for b in boxes]
        sets = self._regions(features, foreground, boxes, objectness, sizes)
        for regions, b in zip(sets, boxes, strict=True):
            regions.boxes = b
        return self.embedding(features, foreground, sets)

    def _embedded(
        self,
        features: dict[str, torch.Tensor],
        foreground: torch.Tensor,
        regions: list[Instances],
        known: list[torch.Tensor],
    ) -> tuple[list[RegionSet], list[torch.Tensor]]:
        """RPN's regions that are compared, then those (K, 4) that are known to be objects, and the
        embeddings of all; an image each."""
        boxes, objectness = self.select(regions)
        boxes = [torch.cat(pair) for pair in zip(boxes, known, strict=True)]
        objectness = [
            torch.cat([o, k.new_full((len(k),), KNOWN_OBJECTNESS)])
            for o, k in zip(objectness, known, strict=True)
        ]
        sizes = [x.image_size for x in regions]
        sets = self._regions(features, foreground, boxes, objectness, sizes)
        return sets, self.embedding(features, foreground, sets)

    @torch.no_grad()
    def _regions(
        self,
        features: dict[str, torch.Tensor],
        foreground: torch.Tensor,
        boxes: list[torch.Tensor],
        objectness: list[torch.Tensor],
        sizes: list[tuple[int, int]],
    ) -> list[RegionSet]:
        """Regions with masks and the boxes around these; no gradient passes."""
        rois = convert_boxes_to_pooler_format([Boxes(windows(b)) for b in boxes])
        masks = self.masks.in_windows(features, foreground, rois).sigmoid()
        if self.training:  # colours take part in the verdicts at test time alone
            colours = masks.new_zeros((len(masks), 2))
        else:
            colours = self.colour(features["image"], rois, masks)
        counts = [len(b) for b in boxes]
        parts = zip(
            *(boxes, objectness, masks.split(counts), colours.split(counts), sizes), strict=True
        )
        return [RegionSet(b, tight_boxes(m, b, size), o, m, c) for b, o, m, c, size in parts]
