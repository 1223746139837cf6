"""What the grouping says of the regions of an image, and how it is settled at test time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from cosal_d2.modeling.grouping.region_colour import PARTING, odd_colours, parted_colours

# Lowest evidence of resemblance, a logit; that of regions that are one object.
NO_EVIDENCE = -20.0
# Objectness, and evidence, of a place that holds no region, where a fixed number of places is
# compared: it has no part in any sum.
NO_REGION = -1e4
# Taken from a logit that counts only where there is no other.
LAST_RESORT = 1e3
# What the judge's own logit counts where verdicts are settled; the rest is the comparison (ours).
JUDGED = 0.2
# Probabilities are kept this far from 0 and 1, so that their logits are finite.
EPS = 1e-6


@dataclass
class Verdicts:
    """What the grouping says about the K regions of one image.

    Attributes:
        group: (K,) logits of belonging to the repeated group.
        weight: (K,) logits: how much a region counts where regions overlap.
        repeats: () logit of whether anything repeats in the image.
        pairs: (K, K) logits of being two instances of one class.
    """

    group: torch.Tensor
    weight: torch.Tensor
    repeats: torch.Tensor
    pairs: torch.Tensor


def settle(
    verdicts: Verdicts,
    is_object: torch.Tensor,
    different: torch.Tensor,
    colours: torch.Tensor,
    colour_weight: float = 0.0,
) -> Verdicts:
    """The judge's verdicts, settled by comparing each region with the members of the group (ours).

    The judge has seen each region's resemblances in sum. Here a region is compared with those that
    the judge takes for members: its logit becomes the weighted mean (``JUDGED``) of the judge's and
    of that of the share of members which it resembles, less what its colour is odd among them.
    Where there are several groups, this share is that of its own (:func:`kinship`), if more. And
    something repeats as much as the judge of the image says so and there is a pair of different
    objects that are alike and both of the group as it was settled. Last, a pair loses
    ``PARTING`` for each unit by which its colours are parted, so that two kinds which the encoder
    hardly tells apart can become two groups.

    Args:
        verdicts: the judge's, of one image or of N.
        is_object: (..., K) logarithms of the probability that the region is an object.
        different: (..., K, K), whether two regions can be different objects.
        colours: (..., K, 2), a* and b* of CIELAB.
        colour_weight: what a unit of :func:`odd_colours` takes from a logit; 0.0: colours say
            nothing, neither of regions nor of pairs.
    """
    group, pairs = verdicts.group, verdicts.pairs
    if group.shape[-1] == 0:
        return verdicts
    itself = torch.eye(group.shape[-1], device=group.device)
    member = F.logsigmoid(group) + is_object
    # A region that shares its place with all others is compared with them, and with itself never.
    weights = member[..., None, :] - LAST_RESORT * ((~different).float() + itself)
    alike = torch.where(itself.bool(), 0.0, pairs.sigmoid())
    share = (weights.softmax(dim=-1) * alike).sum(dim=-1)
    share = torch.maximum(share, kinship(alike, member, different))
    settled = JUDGED * group + (1 - JUDGED) * share.logit(eps=EPS)
    others = different & ~itself.bool()
    if colour_weight:
        members = F.logsigmoid(settled) + is_object
        settled = settled - colour_weight * odd_colours(colours, pairs, members, others)
    member = F.logsigmoid(settled) + is_object
    both = F.logsigmoid(pairs) + member[..., :, None] + member[..., None, :]
    best = torch.where(different, both, NO_EVIDENCE).amax(dim=(-2, -1))
    repeats = (best + F.logsigmoid(verdicts.repeats)).exp().logit(eps=EPS)
    if colour_weight:
        pairs = pairs - PARTING * parted_colours(colours, pairs, member, others)
    return Verdicts(settled, verdicts.weight, repeats, pairs)


def kinship(alike: torch.Tensor, member: torch.Tensor, different: torch.Tensor) -> torch.Tensor:
    """The share of its own kind that each region resembles.

    Its kind are the members that another region resembles, one that it resembles itself: of all
    others the one that makes the share the largest. A member that it does not resemble is counted
    besides, so that a pair, of which no third is known, says nothing.

    Args:
        alike: (..., K, K) probabilities of being two instances of one class, 0 on the diagonal.
        member: (..., K) logarithms of the probability of belonging to a group.
        different: (..., K, K), whether two regions can be different objects; False on the diagonal.

    Returns:
        (..., K) in [0, 1].
    """
    others = different.to(alike.dtype)
    alike = alike * others
    kind = (alike * member.exp()[..., None, :]).transpose(-1, -2)
    return (alike * (alike @ kind) / (1 + others @ kind)).amax(dim=-1)
