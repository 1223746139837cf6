"""Anchor, positive and negative regions for the triplet loss (section "Sample Selection Strategy").

Boxes are XYXY absolute pixels of the network's input, (N, 4) float32. Everything random is drawn
from the generator that the caller passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import nms
from detectron2.structures import Instances
from detectron2.utils.registry import Registry

from cosal_d2.modeling.regions import classify_regions, jitter_boxes, random_boxes

TRIPLET_SAMPLER_REGISTRY = Registry("TRIPLET_SAMPLER")
TRIPLET_SAMPLER_REGISTRY.__doc__ = """
Triplet samplers. A sampler is built from ``cfg``, says in ``needs_regions`` whether it wants RPN's
regions, and maps ``(targets, regions, generator)`` of one image to a :class:`TripletRegions`.
"""


@dataclass
class TripletRegions:
    """Regions of one image and the triplets drawn from them.

    Attributes:
        boxes: (M, 4) regions, positives first.
        quality: (M,) IoU of a positive with its ground-truth box (eq. 9), 0 for negatives.
        triplets: (T, 3) int64 indices into ``boxes``: anchor, positive, negative.
        num_positives: how many of the boxes are positives.
        num_filled: how many boxes were generated because too few regions met the conditions.
    """

    boxes: torch.Tensor
    quality: torch.Tensor
    triplets: torch.Tensor
    num_positives: int
    num_filled: int = 0


def build_triplet_sampler(cfg: CfgNode):
    """Build the sampler that ``MODEL.RFM.SAMPLER`` names."""
    return TRIPLET_SAMPLER_REGISTRY.get(cfg.MODEL.RFM.SAMPLER)(cfg)


def draw_triplets(
    classes: torch.Tensor, num_negatives: int, count: int, generator: torch.Generator
) -> torch.Tensor:
    """Draw anchor, positive and negative at random; anchor and positive are two regions of one
    class.

    Args:
        classes: (P,) class of the object under each positive region.
        num_negatives: number of negative regions, which follow the positives.
        count: triplets to draw, with replacement.

    Returns:
        (T, 3) int64 with T = ``count``, or 0 where no triplet exists.
    """
    p = len(classes)
    same = classes[:, None] == classes[None]
    same.fill_diagonal_(False)
    pairs = same.nonzero()
    if len(pairs) == 0 or num_negatives == 0:
        return torch.zeros((0, 3), dtype=torch.int64, device=classes.device)
    pick = _randint(len(pairs), count, generator).to(classes.device)
    negative = p + _randint(num_negatives, count, generator).to(classes.device)
    return torch.cat([pairs[pick], negative[:, None]], dim=1)


def _randint(high: int, count: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(high, (count,), generator=generator)


class _Sampler:
    """What both samplers share: the conditions, generated regions, and the draw."""

    needs_regions = False

    @configurable
    def __init__(
        self,
        *,
        num_positives: int = 32,
        num_negatives: int = 96,
        num_triplets: int = 128,
        positive_iou: float = 0.5,
        negative_iou: float = 0.1,
        contain_share: float = 0.5,
        region_sides: tuple[float, float] = (128.0, 512.0),
        region_aspects: tuple[float, float] = (0.5, 2.0),
        jitter_offset: float = 0.25,
        jitter_scale: tuple[float, float] = (0.75, 1.35),
        pre_nms_topk: int = 2000,
        post_nms_topk: int = 512,
        nms_thresh: float = 0.7,
    ) -> None:
        """The arguments are the keys of ``MODEL.RFM`` in lower case; see the config."""
        self.num_positives = num_positives
        self.num_negatives = num_negatives
        self.num_triplets = num_triplets
        self.conditions = (positive_iou, negative_iou, contain_share)
        self.region_sides = tuple(region_sides)
        self.region_aspects = tuple(region_aspects)
        self.jitter = (jitter_offset, tuple(jitter_scale))
        self.pre_nms_topk = pre_nms_topk
        self.post_nms_topk = post_nms_topk
        self.nms_thresh = nms_thresh

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        names = (
            *("num_positives", "num_negatives", "num_triplets", "positive_iou", "negative_iou"),
            *("contain_share", "region_sides", "region_aspects", "jitter_offset", "jitter_scale"),
            *("pre_nms_topk", "post_nms_topk", "nms_thresh"),
        )
        return {name: cfg.MODEL.RFM[name.upper()] for name in names}

    def generate(
        self, targets: Instances, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Candidate regions made without a network.

        Returns:
            jittered co-salient boxes within the ranges of side and aspect, in random order; and
            distractors, jittered distractors and random boxes, in this order. The ranges give way
            to an object that lies outside of them.
        """
        size = targets.image_size
        boxes = targets.gt_boxes.tensor
        cosalient = boxes[targets.gt_cosalient]
        distractors = boxes[~targets.gt_cosalient]
        tries = 4 * self.num_positives // max(len(cosalient), 1) + 1
        positives = jitter_boxes(cosalient.repeat(tries, 1), size, *self.jitter, generator)
        fits = self._in_range(positives)
        # An object outside of the ranges keeps its jittered boxes: it would have none at all.
        outside = ~self._in_range(cosalient).repeat(tries)
        positives = positives[fits | outside]
        singles = jitter_boxes(distractors.repeat(4, 1), size, *self.jitter, generator)
        background = random_boxes(
            8 * self.num_negatives, size, self.region_sides, self.region_aspects, generator
        ).to(boxes)
        order = torch.randperm(len(positives), generator=generator).to(boxes.device)
        return positives[order], torch.cat([distractors, singles, background])

    def _in_range(self, boxes: torch.Tensor) -> torch.Tensor:
        w, h = (boxes[:, 2:] - boxes[:, :2]).unbind(dim=1)
        side, aspect = (w * h).clamp(min=0).sqrt(), w / h.clamp(min=1e-6)
        low, high = self.region_sides
        narrow, wide = self.region_aspects
        return (side >= low) & (side <= high) & (aspect >= narrow) & (aspect <= wide)

    def assemble(
        self,
        targets: Instances,
        positives: torch.Tensor,
        negatives: torch.Tensor,
        generator: torch.Generator,
        num_filled: int = 0,
    ) -> TripletRegions:
        """Draw the triplets of regions that already meet the conditions."""
        boxes = torch.cat([positives, negatives])
        matched, iou, _ = classify_regions(boxes, targets, *self.conditions)
        count = len(positives)
        quality = iou.clone()
        quality[count:] = 0
        classes = targets.gt_classes[matched[:count]]
        triplets = draw_triplets(classes, len(negatives), self.num_triplets, generator)
        return TripletRegions(boxes, quality, triplets, count, num_filled)

    def select(
        self, targets: Instances, candidates: torch.Tensor, want_positive: bool, limit: int
    ) -> torch.Tensor:
        """The first ``limit`` candidates that meet the condition, in their order."""
        matched, _, negative = classify_regions(candidates, targets, *self.conditions)
        keep = (matched >= 0) if want_positive else negative
        return candidates[keep][:limit]


@TRIPLET_SAMPLER_REGISTRY.register()
class OfflineSampler(_Sampler):
    """Ground-truth boxes with random scale and offset; negatives from anywhere else."""

    def __call__(
        self, targets: Instances, regions: Instances | None, generator: torch.Generator
    ) -> TripletRegions:
        """Sample one image.

        Args:
            targets: with ``gt_boxes``, ``gt_classes`` and ``gt_cosalient``.
            regions: not used.
            generator: a CPU generator.
        """
        positives, negatives = self.generate(targets, generator)
        positives = self.select(targets, positives, True, self.num_positives)
        negatives = self.select(targets, negatives, False, self.num_negatives)
        return self.assemble(targets, positives, negatives, generator)


@TRIPLET_SAMPLER_REGISTRY.register()
class OnlineSampler(_Sampler):
    """RPN's regions, the hardest that meet the conditions (after Shrivastava et al. 2016).

    Regions are ranked by their own training loss, those that highly overlap a harder one are
    suppressed, and the hardest positives and negatives stay. While the RPN is too poor to fill the
    counts, generated regions of the offline strategy fill them. The truth's distractors come first
    among the negatives, where they overlap no co-salient box.
    """

    needs_regions = True

    def __call__(
        self, targets: Instances, regions: Instances, generator: torch.Generator
    ) -> TripletRegions:
        """Sample one image.

        Args:
            targets: with ``gt_boxes``, ``gt_classes`` and ``gt_cosalient``.
            regions: with ``proposal_boxes``, ``region_loss`` and ``labelled``.
            generator: a CPU generator.
        """
        hard = self.rank(regions)
        easy_positives, easy_negatives = self.generate(targets, generator)
        distractors = targets.gt_boxes.tensor[~targets.gt_cosalient]
        hard_positives = self.select(targets, hard, True, self.num_positives)
        hard_negatives = torch.cat([distractors, hard])
        hard_negatives = self.select(targets, hard_negatives, False, self.num_negatives)
        positives = self._fill(targets, hard_positives, easy_positives, True, self.num_positives)
        negatives = self._fill(targets, hard_negatives, easy_negatives, False, self.num_negatives)
        filled = len(positives) + len(negatives) - len(hard_positives) - len(hard_negatives)
        return self.assemble(targets, positives, negatives, generator, filled)

    def rank(self, regions: Instances) -> torch.Tensor:
        """Labelled boxes by training loss, hardest first, after non-maximum suppression."""
        regions = regions[regions.labelled]
        loss, order = regions.region_loss.float().sort(descending=True, stable=True)
        loss, order = loss[: self.pre_nms_topk], order[: self.pre_nms_topk]
        boxes = regions.proposal_boxes.tensor[order].float()
        keep = nms(boxes, loss, self.nms_thresh)[: self.post_nms_topk]
        return boxes[keep]

    def _fill(
        self,
        targets: Instances,
        chosen: torch.Tensor,
        easy: torch.Tensor,
        want_positive: bool,
        limit: int,
    ) -> torch.Tensor:
        extra = self.select(targets, easy, want_positive, limit - len(chosen))
        return torch.cat([chosen, extra])
