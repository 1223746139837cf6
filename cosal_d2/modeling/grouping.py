"""Grouping of regions at test time: an extension of the paper, off in its own configs.

The paper uses what the bottom-up branch learned only through R. Here the branch itself speaks at
test time: the decoder finds the foreground, RPN's proposals are embedded, compared with each other,
and each gets a probability of belonging to the repeated group. The verdicts are painted into a gate
that the foreground passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec, nms
from detectron2.structures import Boxes, Instances
from detectron2.structures.boxes import pairwise_intersection
from detectron2.utils.events import get_event_storage
from torch import nn

from cosal_d2.modeling.gate import paint_gate
from cosal_d2.modeling.level_embedding import LevelEmbedding
from cosal_d2.modeling.region_labels import OTHER, YES, RegionLabels, balanced_bce
from cosal_d2.modeling.regions import jitter_boxes

# Input pixels per pixel of a gate.
GATE_STRIDE = 4
FAR = -20.0
# Only this many boxes for each that is wanted, the most object-like ones, reach the suppression.
CANDIDATES = 32
# Numbers about each region that the judge sees.
NUM_FEATURES = 6


@dataclass
class Verdicts:
    """What the grouping says about the K regions of one image.

    Attributes:
        boxes: (K, 4) XYXY absolute pixels.
        objectness: (K,) logits.
        group: (K,) logits of belonging to the repeated group.
        voice: (K,) logits: how much a region's verdict counts where regions overlap.
        pairs: (K, K) logits of being two instances of one class.
    """

    boxes: torch.Tensor
    objectness: torch.Tensor
    group: torch.Tensor
    voice: torch.Tensor
    pairs: torch.Tensor


def select_regions(
    boxes: torch.Tensor, logits: torch.Tensor, count: int, nms_thresh: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``count`` most object-like boxes after non-maximum suppression of the best ``CANDIDATES
    * count``.

    Args:
        boxes: (N, 4) XYXY absolute pixels.
        logits: (N,) objectness logits.

    Returns:
        boxes (K, 4) and logits (K,), best first.
    """
    logits, order = logits.sort(descending=True, stable=True)
    logits, order = logits[: CANDIDATES * count], order[: CANDIDATES * count]
    boxes = boxes[order]
    keep = nms(boxes.float(), logits, nms_thresh)[:count]
    return boxes[keep], logits[keep]


def apart(boxes: torch.Tensor, share: float) -> torch.Tensor:
    """Whether two regions can be different objects.

    Args:
        boxes: (K, 4).
        share: regions of which one covers more than this share of the other are one object.

    Returns:
        (K, K) bool, False on the diagonal.
    """
    regions = Boxes(boxes)
    area = regions.area().clamp(min=1e-6)
    smaller = torch.minimum(area[:, None], area[None])
    result = pairwise_intersection(regions, regions) <= share * smaller
    return result.fill_diagonal_(False)


class RegionJudge(nn.Module):
    """A small network over the graph of resemblances; it sees no appearance, so no classes.

    A region starts from a few numbers about its own evidence and hears twice from the regions that
    it resembles, so that what counts is resemblance to the group, not to any one region.
    """

    def __init__(self, num_features: int, hidden: int, rounds: int = 2) -> None:
        """
        Args:
            num_features: numbers about each region.
            hidden: width.
            rounds: how often regions hear from each other.
        """
        super().__init__()
        self.start = nn.Sequential(nn.Linear(num_features, hidden), nn.ReLU())
        self.rounds = nn.ModuleList(
            nn.Sequential(nn.Linear(3 * hidden + 1, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
            for _ in range(rounds)
        )
        self.verdict = nn.Linear(hidden, 1)
        self.voice = nn.Linear(hidden, 1)

    def forward(
        self, features: torch.Tensor, evidence: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (K, F) and evidence (K, K), the logits of resembling another object, to logits
        (K,) of the verdict and of its voice."""
        x = self.start(features)
        nearest, resembling = evidence.softmax(dim=1), evidence.sigmoid()
        count = resembling.sum(dim=1, keepdim=True)
        for step in self.rounds:
            x = x + step(torch.cat([x, nearest @ x, resembling @ x, count], dim=1))
        return self.verdict(x)[:, 0], self.voice(x)[:, 0]


class RegionGrouping(nn.Module):
    """From embedded regions to the probability that each belongs to the repeated group."""

    @configurable
    def __init__(
        self,
        *,
        embedding: LevelEmbedding,
        num_regions: int = 48,
        nms_thresh: float = 0.6,
        apart_share: float = 0.5,
        hidden: int = 32,
        loss_weight: float = 1.0,
        jitter: tuple[float, tuple[float, float]] = (0.1, (0.85, 1.2)),
        sharpness: float = 4.0,
        threshold: float = 0.5,
        foreground_sharpness: float = 3.0,
    ) -> None:
        """
        Args:
            embedding: the encoder's features and regions to embeddings.
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
        self.embedding = embedding
        self.num_regions = num_regions
        self.nms_thresh = nms_thresh
        self.apart_share = apart_share
        self.loss_weight = loss_weight
        self.jitter = jitter
        self.sharpness = sharpness
        self.threshold = threshold
        self.foreground_sharpness = foreground_sharpness
        # Similarity of two embeddings as the logit of "two instances of one class".
        self.scale = nn.Parameter(torch.tensor(8.0))
        self.shift = nn.Parameter(torch.tensor(-4.0))
        self.judge = RegionJudge(NUM_FEATURES, hidden)

    @classmethod
    def from_config(cls, cfg: CfgNode, shapes: dict[str, ShapeSpec]) -> dict:
        keys = cfg.MODEL.GROUPING
        return {
            "embedding": LevelEmbedding(shapes, keys.LEVELS, keys.EMBEDDING_DIM),
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

    def forward(
        self, embeddings: torch.Tensor, boxes: torch.Tensor, objectness: torch.Tensor
    ) -> Verdicts:
        """Compare the regions of one image.

        Args:
            embeddings: (K, D) of unit length.
            boxes: (K, 4).
            objectness: (K,) logits.
        """
        pairs = self.scale * (embeddings @ embeddings.T) + self.shift
        if len(boxes) == 0:
            group, voice = self.judge(pairs.new_zeros((0, NUM_FEATURES)), pairs)
            return Verdicts(boxes, objectness, group, voice, pairs)
        is_object = objectness.sigmoid()
        # A resemblance counts as much as the other region is an object, and elsewhere.
        evidence = pairs + F.logsigmoid(objectness)[None]
        evidence = torch.where(apart(boxes, self.apart_share), evidence, FAR).clamp(min=FAR)
        best, second = _top_two(evidence)
        # The group so far: where the best evidence is; then, who resembles that group?
        leader = best + F.logsigmoid(objectness)
        members = leader.softmax(dim=0)
        resemblance = (evidence.sigmoid() * members[None]).sum(dim=1)
        features = [
            *(best / 4, second / 4, (best - best.max()) / 4, resemblance * 4),
            *(evidence.sigmoid().sum(dim=1), is_object),
        ]
        group, voice = self.judge(torch.stack(features, dim=1), evidence)
        return Verdicts(boxes, objectness, group, voice, pairs)

    def gate(self, verdicts: Verdicts, size: tuple[int, int]) -> torch.Tensor:
        """The gate of one image, float32 of ``size``, at ``GATE_STRIDE`` input pixels a pixel."""
        weight = verdicts.objectness.float().sigmoid() * verdicts.voice.float().sigmoid()
        group = verdicts.group.float()
        if not self.training:
            group = self.sharpness * (group - self.threshold)
        return paint_gate(verdicts.boxes, group.sigmoid(), weight, size, GATE_STRIDE)

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


def _top_two(evidence: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if len(evidence) == 1:
        return evidence[:, 0], evidence[:, 0]
    top = evidence.topk(2, dim=1).values
    return top[:, 0], top[:, 1]
