"""A verdict on each region from its resemblance to the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from cosal_d2.modeling.grouping.verdicts import NO_EVIDENCE

# Numbers about each region that the judge sees.
NUM_FEATURES = 6
# Of more than MANY regions, each counts its NEAREST others alone: the judge sums over what
# resembles a region, and has learned from pictures where that is not more (ours).
MANY, NEAREST = 64, 24


def describe(evidence: torch.Tensor, objectness: torch.Tensor) -> torch.Tensor:
    """What the judge starts from: each region's own evidence of being one of several.

    Args:
        evidence: (..., K, K) logits of resembling another object, K >= 1; ``NO_REGION`` to what
            is no region.
        objectness: (..., K) logits; ``NO_REGION`` of what is none.

    Returns:
        (..., K, 6): the best and second best evidence, the best one's distance to the image's best,
        the resemblance to the group so far, the number of resembling objects, and the objectness.
    """
    best = second = evidence[..., 0]
    if evidence.shape[-1] > 1:
        nearest = evidence.topk(2, dim=-1).values.clamp(min=NO_EVIDENCE)
        best, second = nearest.unbind(dim=-1)
    # The group so far: where the best evidence is; then, who resembles that group?
    members = (best + F.logsigmoid(objectness)).softmax(dim=-1)
    resemblance = (evidence.sigmoid() * members[..., None, :]).sum(dim=-1)
    further = best - best.amax(dim=-1, keepdim=True)
    return torch.stack(
        [
            *(best / 4, second / 4, further / 4, resemblance * 4),
            *(counted(evidence).sum(dim=-1), objectness.sigmoid()),
        ],
        dim=-1,
    )


def counted(evidence: torch.Tensor) -> torch.Tensor:
    """How much each other region counts (..., K, K) where a region's resembling others are summed.

    Args:
        evidence: (..., K, K) logits of resembling another object.
    """
    if evidence.shape[-1] <= MANY:
        return evidence.sigmoid()
    nearest = evidence.topk(NEAREST, dim=-1)
    return torch.zeros_like(evidence).scatter(-1, nearest.indices, nearest.values.sigmoid())


class RegionJudge(nn.Module):
    """A small network over the graph of resemblances; it sees no appearance, so no classes.

    A region starts from a few numbers about its own evidence and takes in those of the regions that
    it resembles, twice, so that what counts is resemblance to the group, not to any one region.
    """

    def __init__(self, num_features: int, hidden: int, rounds: int = 2) -> None:
        """
        Args:
            num_features: numbers about each region.
            hidden: width.
            rounds: how often regions take in each other's state.
        """
        super().__init__()
        self.start = nn.Sequential(nn.Linear(num_features, hidden), nn.ReLU())
        self.rounds = nn.ModuleList(
            nn.Sequential(nn.Linear(3 * hidden + 1, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
            for _ in range(rounds)
        )
        self.verdict = nn.Linear(hidden, 1)
        self.weight = nn.Linear(hidden, 1)
        self.repeats = nn.Linear(hidden, 1)
        for layer in (self.verdict, self.weight, self.repeats):  # undecided at first
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, features: torch.Tensor, evidence: torch.Tensor, objectness: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Judge the K regions of one image, and the image.

        Args:
            features: (..., K, F).
            evidence: (..., K, K) logits of resembling another object.
            objectness: (..., K) logits.

        Returns:
            logits (..., K) of belonging to the group and (..., K) of the region's weight; and a
            logit (...) of whether anything repeats, from the regions that most likely belong to a
            group.
        """
        x = self.start(features)
        nearest, resembling = evidence.softmax(dim=-1), counted(evidence)
        count = resembling.sum(dim=-1, keepdim=True)
        for step in self.rounds:
            x = x + step(torch.cat([x, nearest @ x, resembling @ x, count], dim=-1))
        group = self.verdict(x)[..., 0]
        share = (group + F.logsigmoid(objectness)).softmax(dim=-1)
        mean = (share[..., None, :] @ x)[..., 0, :]
        return group, self.weight(x)[..., 0], self.repeats(mean)[..., 0]
