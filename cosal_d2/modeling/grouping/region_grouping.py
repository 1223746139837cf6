"""Grouping of regions at test time: an extension of the paper, off in its own configs.

The paper uses what the bottom-up branch learned only through R. Here the branch itself speaks at
test time: the decoder finds the foreground, RPN's proposals get masks, are embedded and compared
with each other, and each gets a probability of belonging to the repeated group. The verdicts are
painted into a gate that the foreground passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.structures import Instances
from detectron2.utils.events import get_event_storage
from torch import nn

from cosal_d2.modeling.grouping.gate import gated_logits, paint_gate
from cosal_d2.modeling.grouping.level_embedding import LevelEmbedding
from cosal_d2.modeling.grouping.region_judge import NUM_FEATURES, RegionJudge, describe
from cosal_d2.modeling.grouping.region_labels import (
    OTHER,
    YES,
    RegionLabels,
    balanced_bce,
    label_regions,
)
from cosal_d2.modeling.grouping.region_masks import RegionMasks, RegionSet, paste_masks, tight_boxes
from cosal_d2.modeling.grouping.region_selection import apart, distinct, select_regions
from cosal_d2.modeling.regions import jitter_boxes

# Input pixels per pixel of a gate.
GATE_STRIDE = 4
# Lowest evidence of resemblance, a logit; that of regions that are one object.
FAR = -20.0
# Objectness logit of a region that is known to be an object.
SURE = 4.0
# Where another region stands for the same object, a region's verdict counts this much (ours).
QUIET = 0.01


@dataclass
class Verdicts:
    """What the grouping says about the K regions of one image.

    Attributes:
        group: (K,) logits of belonging to the repeated group.
        voice: (K,) logits: how much a region's verdict counts where regions overlap.
        pairs: (K, K) logits of being two instances of one class.
    """

    group: torch.Tensor
    voice: torch.Tensor
    pairs: torch.Tensor


class RegionGrouping(nn.Module):
    """From embedded regions to the probability that each belongs to the repeated group."""

    @configurable
    def __init__(
        self,
        *,
        masks: RegionMasks,
        embedding: LevelEmbedding,
        num_regions: int = 48,
        nms_thresh: float = 0.6,
        apart_share: float = 0.5,
        hidden: int = 32,
        loss_weight: float = 1.0,
        jitter: tuple[float, tuple[float, float]] = (0.1, (0.85, 1.2)),
        sharpness: float = 4.0,
        threshold: float = 0.5,
        foreground_sharpness: float = 5.0,
    ) -> None:
        """
        Args:
            masks: the encoder's features and regions to masks.
            embedding: the encoder's features, regions and masks to embeddings.
            num_regions: proposals that are compared, the most object-like ones.
            nms_thresh: IoU above which the less object-like of two proposals is dropped.
            apart_share: see :func:`apart`.
            hidden: width of the small network that judges a region's evidence.
            loss_weight: weight of ``loss_group`` and ``loss_pair``.
            jitter: offset and scale of the ground-truth boxes that join the training.
            sharpness, threshold: at test time a verdict's logit minus the threshold is multiplied
                by the sharpness: a map has to decide, where the training asks for probabilities.
            foreground_sharpness: factor of the foreground's logits at test time.
        """
        super().__init__()
        self.masks = masks
        self.embedding = embedding
        self.num_regions = num_regions
        self.nms_thresh = nms_thresh
        self.apart_share = apart_share
        self.loss_weight = loss_weight
        self.jitter = jitter
        self.sharpness = sharpness
        self.threshold = threshold
        self.foreground_sharpness = foreground_sharpness
        # Similarity of two embeddings as the logit of "two instances of one class", at first as
        # it fits composites of training classes (ours).
        self.scale = nn.Parameter(torch.tensor(12.0))
        self.shift = nn.Parameter(torch.tensor(-2.5))
        self.judge = RegionJudge(NUM_FEATURES, hidden)

    @classmethod
    def from_config(cls, cfg: CfgNode, shapes: dict[str, ShapeSpec]) -> dict:
        keys = cfg.MODEL.GROUPING
        return {
            "masks": RegionMasks(shapes, keys.LEVELS, keys.MASK_LATERAL, keys.MASK_WIDTH),
            "embedding": LevelEmbedding(shapes, keys.LEVELS),
            "num_regions": keys.NUM_REGIONS,
            "nms_thresh": keys.NMS_THRESH,
            "apart_share": keys.APART_SHARE,
            "hidden": keys.HIDDEN,
            "jitter": (keys.JITTER_OFFSET, tuple(keys.JITTER_SCALE)),
            "loss_weight": keys.LOSS_WEIGHT,
            "sharpness": keys.SHARPNESS,
            "threshold": keys.THRESHOLD,
            "foreground_sharpness": keys.FOREGROUND_SHARPNESS,
        }

    def select(self, regions: list[Instances]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Boxes and objectness logits of the regions to compare, a tensor an image."""
        chosen = [
            select_regions(
                x.proposal_boxes.tensor, x.objectness_logits, self.num_regions, self.nms_thresh
            )
            for x in regions
        ]
        return [boxes for boxes, _ in chosen], [logits for _, logits in chosen]

    @torch.no_grad()
    def segment(
        self,
        features: dict[str, torch.Tensor],
        foreground: torch.Tensor,
        boxes: list[torch.Tensor],
        objectness: list[torch.Tensor],
        sizes: list[tuple[int, int]],
    ) -> list[RegionSet]:
        """Give regions masks and the boxes around these.

        Args:
            features: the encoder's features by name.
            foreground: (N, 1, H, W) probability of any object, at the input's resolution.
            boxes: (K_i, 4), a tensor an image.
            objectness: (K_i,) logits, a tensor an image.
            sizes: (h, w) of each image, without the padding.
        """
        masks = [x.sigmoid() for x in self.masks(features, foreground, boxes)]
        return [
            RegionSet(b, tight_boxes(m, b, size), o, m)
            for b, o, m, size in zip(boxes, objectness, masks, sizes, strict=True)
        ]

    def group(
        self,
        features: dict[str, torch.Tensor],
        foreground: torch.Tensor,
        regions: list[Instances],
        known: list[torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, list[Verdicts], list[RegionSet]]:
        """Compare RPN's regions, and known objects as well, and let the foreground pass where RPN's
        regions belong together.

        Args:
            features: the encoder's features by name.
            foreground: (N, 1, H, W) logits; no gradient reaches them.
            regions: RPN's, an image each.
            known: boxes of objects (T_i, 4), an image each, that are compared with each other as
                well; they have no say in the gate.

        Returns:
            logits (N, 1, H, W); verdicts and regions, N each, or 2N with ``known``: first RPN's of
            each image, then the known ones of each image.
        """
        foreground = foreground.detach()
        verdicts, sets = self._judge(features, foreground.sigmoid(), regions, known)
        h, w = foreground.shape[-2:]
        size = (h // GATE_STRIDE, w // GATE_STRIDE)
        gates = [self.gate(verdicts[i], sets[i], size) for i in range(len(regions))]
        if not self.training:
            foreground = self.foreground_sharpness * foreground
        return gated_logits(foreground, torch.stack(gates)), verdicts, sets

    def _judge(
        self,
        features: dict[str, torch.Tensor],
        foreground: torch.Tensor,
        regions: list[Instances],
        known: list[torch.Tensor] | None,
    ) -> tuple[list[Verdicts], list[RegionSet]]:
        """Masks, embeddings and verdicts, of RPN's regions and known objects in one pass."""
        boxes, objectness = self.select(regions)
        counts = [len(b) for b in boxes]
        if known is not None:
            boxes = [torch.cat(pair) for pair in zip(boxes, known, strict=True)]
            sure = [k.new_full((len(k),), SURE) for k in known]
            objectness = [torch.cat(pair) for pair in zip(objectness, sure, strict=True)]
        sizes = [x.image_size for x in regions]
        sets = self.segment(features, foreground, boxes, objectness, sizes)
        embeddings = self.embedding(features, foreground, sets)
        if known is not None:
            halves = [s.split(n) for s, n in zip(sets, counts, strict=True)]
            sets = [found for found, _ in halves] + [truth for _, truth in halves]
            of_known = [e[n:] for e, n in zip(embeddings, counts, strict=True)]
            embeddings = [e[:n] for e, n in zip(embeddings, counts, strict=True)] + of_known
        verdicts = [self(e, s.boxes, s.objectness) for e, s in zip(embeddings, sets, strict=True)]
        return verdicts, sets

    def forward(
        self, embeddings: torch.Tensor, boxes: torch.Tensor, objectness: torch.Tensor
    ) -> Verdicts:
        """Compare the regions of one image, in float32 whatever the network's precision.

        Args:
            embeddings: (K, D) of unit length.
            boxes: (K, 4), around the masks.
            objectness: (K,) logits.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            return self._compare(embeddings.float(), boxes.float(), objectness.float())

    def _compare(
        self, embeddings: torch.Tensor, boxes: torch.Tensor, objectness: torch.Tensor
    ) -> Verdicts:
        pairs = self.scale * (embeddings @ embeddings.T) + self.shift
        if len(boxes) == 0:
            group, voice = self.judge(pairs.new_zeros((0, NUM_FEATURES)), pairs)
            return Verdicts(group, voice, pairs)
        # A resemblance counts as much as the other region is an object, and elsewhere.
        evidence = pairs + F.logsigmoid(objectness)[None]
        evidence = torch.where(apart(boxes, self.apart_share), evidence, FAR).clamp(min=FAR)
        group, voice = self.judge(describe(evidence, objectness), evidence)
        return Verdicts(group, voice, pairs)

    def gate(self, verdicts: Verdicts, regions: RegionSet, size: tuple[int, int]) -> torch.Tensor:
        """The gate of one image, float32 of ``size``, at ``GATE_STRIDE`` input pixels a pixel."""
        masks = paste_masks(regions.masks.float(), regions.proposals, size, GATE_STRIDE)
        weight = regions.objectness.float().sigmoid() * verdicts.voice.sigmoid()
        chosen = distinct(masks, regions.objectness, self.apart_share)
        weight = torch.where(chosen, weight, QUIET * weight)
        group = verdicts.group
        if not self.training:
            group = self.sharpness * (group - self.threshold)
        return paint_gate(masks, group.sigmoid(), weight)

    def training_losses(
        self,
        features: dict[str, torch.Tensor],
        foreground: torch.Tensor,
        verdicts: list[Verdicts],
        sets: list[RegionSet],
        targets: list[Instances],
        generators: list[torch.Generator],
    ) -> dict[str, torch.Tensor]:
        """Losses over RPN's regions and over the known ones.

        Args:
            features: the encoder's features by name.
            foreground: (N, 1, H, W) probability of any object.
            verdicts, sets: 2N each, from :meth:`group` with :meth:`jittered_truth` as ``known``.
            targets: with ``gt_boxes``, ``gt_masks``, ``gt_classes`` and ``gt_cosalient``.
            generators: one an image.

        Returns:
            ``loss_mask``, ``loss_group`` and ``loss_pair``.
        """
        n = len(targets)
        labelled = [
            (v, label_regions(s.boxes, t))
            for v, s, t in zip(verdicts, sets, [*targets, *targets], strict=True)
        ]
        boxes = [
            torch.cat([a.proposals, b.proposals]) for a, b in zip(sets[:n], sets[n:], strict=True)
        ]
        losses = self.masks.losses(features, foreground, boxes, targets, generators)
        return losses | self.losses(labelled)

    def losses(self, parts: list[tuple[Verdicts, RegionLabels]]) -> dict[str, torch.Tensor]:
        """``loss_group`` and ``loss_pair``: balanced binary cross-entropies.

        Args:
            parts: verdicts and labels of each set of regions.
        """
        group = torch.cat([v.group for v, _ in parts])
        group_labels = torch.cat([x.group for _, x in parts])
        pairs = torch.cat([v.pairs.flatten() for v, _ in parts])
        pair_labels = torch.cat([x.pairs.flatten() for _, x in parts])
        self._log(group, group_labels)
        return {
            "loss_group": self.loss_weight * balanced_bce(group, group_labels),
            "loss_pair": self.loss_weight * balanced_bce(pairs, pair_labels),
        }

    @torch.no_grad()
    def _log(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        storage = get_event_storage()
        for name, value in (("found", YES), ("rejected", OTHER)):
            of_kind = labels == value
            if bool(of_kind.any()):
                right = (logits[of_kind] > 0) == (value == YES)
                storage.put_scalar(f"grouping/{name}", right.float().mean().item())

    def jittered_truth(self, targets: Instances, generator: torch.Generator) -> torch.Tensor:
        """The ground truth's boxes, slightly moved and scaled: regions that no RPN has to find."""
        boxes = targets.gt_boxes.tensor
        return jitter_boxes(boxes, targets.image_size, *self.jitter, generator)
