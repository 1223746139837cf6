"""Grouping of regions at test time: an extension of the paper, off in its own configs.

The paper uses what the bottom-up branch learned only through R. Here the branch works at test time
too: the decoder finds the foreground, RPN's proposals get masks, are embedded and compared with
each other, and each gets a probability of belonging to the repeated group. These are painted into
a gate that the foreground passes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.structures import Instances
from torch import nn

from cosal_d2.modeling.backbone.encoder import region_features
from cosal_d2.modeling.grouping.gate import GATE_STRIDE, gated_logits, paint_gate
from cosal_d2.modeling.grouping.judged_regions import JudgedRegions
from cosal_d2.modeling.grouping.level_embedding import LevelEmbedding
from cosal_d2.modeling.grouping.region_colour import RegionColour
from cosal_d2.modeling.grouping.region_finder import RegionFinder
from cosal_d2.modeling.grouping.region_judge import NUM_FEATURES, RegionJudge, describe
from cosal_d2.modeling.grouping.region_labels import grouping_losses, label_regions, repeats_loss
from cosal_d2.modeling.grouping.region_masks import RegionMasks, RegionSet, maskness, paste_masks
from cosal_d2.modeling.grouping.region_selection import different_objects, suppress_duplicates
from cosal_d2.modeling.grouping.verdicts import NO_EVIDENCE, NO_REGION, Verdicts, settle
from cosal_d2.modeling.regions import jitter_boxes
from cosal_d2.utils.object_instances import InstanceOptions

# Where another region stands for the same object, a region's weight is multiplied by this (ours).
DUPLICATE_WEIGHT = 0.01


class RegionGrouping(RegionFinder):
    """From the encoder's features, the foreground and RPN's regions to the probability that each
    region belongs to the repeated group, and to a gated foreground."""

    @configurable
    def __init__(
        self,
        *,
        masks: RegionMasks,
        embedding: LevelEmbedding,
        colour: RegionColour,
        foreground_stride: int = 1,
        num_regions: int = 48,
        nms_thresh: float = 0.6,
        same_object_share: float = 0.5,
        hidden: int = 32,
        loss_weight: float = 1.0,
        jitter: tuple[float, tuple[float, float]] = (0.1, (0.85, 1.2)),
        sharpness: float = 4.0,
        threshold: float = 0.5,
        foreground_sharpness: float = 5.0,
        repeats_threshold: float = 0.0,
        instance_threshold: float = 0.3,
        pair_threshold: float = 0.5,
        odd_colour_weight: float = 0.0,
    ) -> None:
        """
        Args:
            masks, embedding, colour, foreground_stride, num_regions, nms_thresh: of
                :class:`RegionFinder`.
            same_object_share: see :func:`different_objects`.
            hidden: width of the small network that judges a region's evidence.
            loss_weight: weight of ``loss_group``, ``loss_pair`` and ``loss_repeats``.
            jitter: offset and scale of the ground-truth boxes that join the training.
            sharpness, threshold: at test time a group logit minus the threshold is multiplied by
                the sharpness: a map has to decide, where the training asks for probabilities.
            foreground_sharpness: factor of the foreground's logits at test time.
            repeats_threshold: least probability that something repeats, below which an image's map
                is empty at test time.
            instance_threshold, pair_threshold: of :func:`find_instances`.
            odd_colour_weight: of :func:`settle`.
        """
        super().__init__(masks, embedding, colour, foreground_stride, num_regions, nms_thresh)
        self.same_object_share = same_object_share
        self.loss_weight = loss_weight
        self.jitter = jitter
        self.sharpness = sharpness
        self.threshold = threshold
        self.foreground_sharpness = foreground_sharpness
        self.repeats_threshold = repeats_threshold
        self.odd_colour_weight = odd_colour_weight
        self.options = InstanceOptions(same_object_share, instance_threshold, pair_threshold)
        # Similarity of two embeddings as the logit of "two instances of one class"; at first what
        # fits composites of training classes and ResNet-50's res4 (ours).
        self.scale = nn.Parameter(torch.tensor(13.0))
        self.shift = nn.Parameter(torch.tensor(-4.0))
        self.judge = RegionJudge(NUM_FEATURES, hidden)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, shapes: dict[str, ShapeSpec], foreground_stride: int
    ) -> dict:
        keys = cfg.MODEL.GROUPING
        levels = tuple(keys.LEVELS) or region_features(shapes)
        return {
            "masks": RegionMasks(shapes, levels, keys.MASK_LATERAL, keys.MASK_WIDTH),
            "embedding": LevelEmbedding(shapes, tuple(keys.COMPARED_LEVELS) or levels),
            "colour": RegionColour(cfg),
            "foreground_stride": foreground_stride,
            "num_regions": keys.NUM_REGIONS,
            "nms_thresh": keys.NMS_THRESH,
            "same_object_share": keys.SAME_OBJECT_SHARE,
            "hidden": keys.HIDDEN,
            "jitter": (keys.JITTER_OFFSET, tuple(keys.JITTER_SCALE)),
            "loss_weight": keys.LOSS_WEIGHT,
            "sharpness": keys.SHARPNESS,
            "threshold": keys.THRESHOLD,
            "foreground_sharpness": keys.FOREGROUND_SHARPNESS,
            "repeats_threshold": keys.REPEATS_THRESHOLD,
            "instance_threshold": keys.INSTANCE_THRESHOLD,
            "pair_threshold": keys.PAIR_THRESHOLD,
            "odd_colour_weight": keys.ODD_COLOUR_WEIGHT,
        }

    def forward(
        self,
        features: dict[str, torch.Tensor],
        logits: torch.Tensor,
        regions: list[Instances],
        targets: list[Instances],
        generators: list[torch.Generator],
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """In training: compare RPN's regions and let the foreground pass where they belong
        together.

        Args:
            features: the encoder's features by name.
            logits: (N, 1, H/s, W/s) of the foreground, s the foreground's stride; no gradient
                reaches them.
            regions: RPN's, an image each.
            targets: with ``gt_boxes``, ``gt_masks``, ``gt_classes`` and ``gt_cosalient``; jittered
                ground-truth boxes are compared with each other as well, without a part in the gate.
            generators: one CPU generator an image.

        Returns:
            gated logits of the same shape; ``loss_mask``, ``loss_group``, ``loss_pair`` and
            ``loss_repeats``.
        """
        logits = logits.detach()
        known = [self._jittered_truth(t, g) for t, g in zip(targets, generators, strict=True)]
        foreground = self.coarse(logits)
        sets, embeddings = self._embedded(features, foreground, regions, known)
        counts = [len(s) - len(k) for s, k in zip(sets, known, strict=True)]
        found = [s[:n] for s, n in zip(sets, counts, strict=True)]
        verdicts = [self.compare(e[: len(s)], s) for e, s in zip(embeddings, found, strict=True)]
        gates = [
            self.gate(v, s, foreground.shape[-2:]) for v, s in zip(verdicts, found, strict=True)
        ]
        boxes = [s.proposals for s in sets]
        losses = self.masks.losses(features, foreground, boxes, targets, generators)
        repeats = torch.stack([v.repeats for v in verdicts])
        losses["loss_repeats"] = self.loss_weight * repeats_loss(repeats, targets)
        truth = [s[n:] for s, n in zip(sets, counts, strict=True)]
        of_truth = [e[n:] for e, n in zip(embeddings, counts, strict=True)]
        verdicts += [self.compare(e, s) for e, s in zip(of_truth, truth, strict=True)]
        labels = [
            label_regions(s.boxes, t)
            for s, t in zip([*found, *truth], [*targets, *targets], strict=True)
        ]
        for name, loss in grouping_losses(verdicts, labels).items():
            losses[name] = self.loss_weight * loss
        return gated_logits(logits, torch.stack(gates)), losses

    @torch.no_grad()
    def judge_regions(
        self,
        image_size: tuple[int, int],
        regions: RegionSet,
        embeddings: torch.Tensor,
        by_last: bool = False,
    ) -> JudgedRegions:
        """At test time: compare the regions of one image.

        Args:
            image_size: (h, w) in the regions' pixels.
            regions, embeddings: from :meth:`find_regions`.
            by_last: what resembles the last region, with ``pair_threshold``, belongs to the group,
                and nothing else.
        """
        if by_last:  # it stands for its object, whatever else was found there
            regions.objectness[-1] = regions.objectness.max() + 1
        verdicts = self.compare(embeddings, regions)
        objects = is_object(regions)
        if by_last:  # the judge's threshold is of its own logits, not of resemblance
            least = torch.tensor(self.options.pair_threshold).logit().item()
            verdicts.group = verdicts.pairs[-1] - least + self.threshold
            verdicts.group[-1] = -NO_EVIDENCE
        else:
            different = different_objects(regions.boxes.float(), self.same_object_share)
            verdicts = settle(
                verdicts,
                objects,
                different,
                regions.colours.float(),
                self.odd_colour_weight,
            )
        scores = objects.exp() * self.decided(verdicts.group).sigmoid()
        return JudgedRegions(
            image_size, regions, embeddings, verdicts, scores, self.options, by_last
        )

    @torch.no_grad()
    def gated(self, logits: torch.Tensor, judged: list[JudgedRegions]) -> torch.Tensor:
        """At test time: the foreground's logits (N, 1, H/s, W/s), gated by the regions'
        verdicts."""
        pairs = zip(logits.split(1), judged, strict=True)
        return torch.cat([self.gated_by(z, x.verdicts, x.regions) for z, x in pairs])

    def gated_by(
        self, logits: torch.Tensor, verdicts: Verdicts, regions: RegionSet
    ) -> torch.Tensor:
        """The foreground's logits (N, 1, H/s, W/s), gated by verdicts on N sets of K regions; or
        those of one image, by verdicts on its own."""
        h, w = (side * self.foreground_stride // GATE_STRIDE for side in logits.shape[-2:])
        gates = self.gate(verdicts, regions, (h, w)).reshape(-1, h, w)
        return gated_logits(self.foreground_sharpness * logits, gates)

    def compare(self, embeddings: torch.Tensor, regions: RegionSet) -> Verdicts:
        """Compare the K regions of one image, in float32 whatever the network's precision.

        Args:
            embeddings: (K, D) of unit length; or (N, K, D) of N images, as all else.
            regions: with boxes around the masks, and objectness, ``NO_REGION`` for none.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings, objectness = embeddings.float(), regions.objectness.float()
            pairs = self.scale * (embeddings @ embeddings.transpose(-1, -2)) + self.shift
            if pairs.shape[-1] == 0:
                features = pairs.new_zeros((0, NUM_FEATURES))
                group, weight, repeats = self.judge(features, pairs, objectness)
                return Verdicts(group, weight, repeats + NO_EVIDENCE, pairs)
            # A resemblance counts as much as the other region is an object, and elsewhere.
            evidence = pairs + F.logsigmoid(objectness)[..., None, :]
            different = different_objects(regions.boxes.float(), self.same_object_share)
            evidence = torch.where(different, evidence, NO_EVIDENCE).clamp(min=NO_EVIDENCE)
            there = objectness > NO_REGION
            both = there[..., :, None] & there[..., None, :]
            evidence = torch.where(both, evidence, NO_REGION)
            features = describe(evidence, objectness)
            return Verdicts(*self.judge(features, evidence, objectness), pairs)

    def gate(self, verdicts: Verdicts, regions: RegionSet, size: tuple[int, int]) -> torch.Tensor:
        """The gate of one image, or of N, float32 of ``size``, at ``GATE_STRIDE`` input pixels a
        pixel."""
        masks = paste_masks(regions.masks.float(), regions.proposals, size, GATE_STRIDE)
        weight = regions.objectness.float().sigmoid() * verdicts.weight.sigmoid()
        # At test time masks are good: one over several objects is less certain than theirs.
        best = regions.objectness if self.training else is_object(regions)
        chosen = suppress_duplicates(masks, best, self.same_object_share)
        weight = torch.where(chosen, weight, DUPLICATE_WEIGHT * weight)
        group = verdicts.group
        if not self.training:
            group = self.decided(group)
        return paint_gate(masks, group.sigmoid(), weight)

    def decided(self, group: torch.Tensor) -> torch.Tensor:
        """Group logits as a map takes them: it has to decide, where the training asks for
        probabilities."""
        return self.sharpness * (group - self.threshold)

    def _jittered_truth(self, targets: Instances, generator: torch.Generator) -> torch.Tensor:
        """The ground truth's boxes, slightly moved and scaled: regions that no RPN has to find."""
        boxes = targets.gt_boxes.tensor
        return jitter_boxes(boxes, targets.image_size, *self.jitter, generator)


def is_object(regions: RegionSet) -> torch.Tensor:
    """Logarithm (..., K) of how much each region is one object: of its objectness' probability
    times its mask's certainty."""
    certainty = maskness(regions.masks.float()).clamp(min=1e-6)
    return F.logsigmoid(regions.objectness.float()) + certainty.log()
