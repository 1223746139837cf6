"""Labels of regions for the grouping, and its losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, Instances, pairwise_iou
from detectron2.utils.events import get_event_storage

from cosal_d2.modeling.grouping.verdicts import Verdicts

UNDECIDED, OTHER, YES, BACKGROUND = -1, 0, 1, 2
# Share of each kind in the losses (ours).
SHARES = {YES: 0.4, OTHER: 0.4, BACKGROUND: 0.2}


@dataclass
class RegionLabels:
    """What a training region lies on.

    Attributes:
        group: (K,) int64: ``YES`` on a co-salient object, ``OTHER`` on another object,
            ``BACKGROUND``, or ``UNDECIDED``.
        pairs: (K, K) int64: ``YES`` for two instances of one co-salient class, ``OTHER`` for a
            co-salient object and one that differs, ``BACKGROUND`` for a co-salient object and
            background, ``UNDECIDED`` for the rest, one and the same object included.
    """

    group: torch.Tensor
    pairs: torch.Tensor


def label_regions(boxes: torch.Tensor, targets: Instances) -> RegionLabels:
    """Labels of regions from the ground truth.

    A region is on the object that it overlaps most if their IoU is at least 0.5, on background if
    it is below 0.3 for all objects, undecided between.

    Args:
        boxes: (K, 4).
        targets: with ``gt_boxes``, ``gt_classes`` and ``gt_cosalient``.
    """
    if len(targets):
        iou, index = pairwise_iou(Boxes(boxes), targets.gt_boxes).max(dim=1)
        cosalient, classes = targets.gt_cosalient[index], targets.gt_classes[index]
    else:
        iou = boxes.new_zeros(len(boxes))
        index = classes = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        cosalient = index.bool()
    on_object, on_background = iou >= 0.5, iou < 0.3
    grouped = on_object & cosalient
    group = torch.full_like(index, UNDECIDED)
    group[on_background] = BACKGROUND
    group[on_object] = OTHER
    group[grouped] = YES
    # Two distractors may be of one class or not: nobody says, so they are no pair.
    pairs = torch.full((len(boxes), len(boxes)), UNDECIDED, device=boxes.device)
    for kind, of_kind in ((BACKGROUND, on_background), (OTHER, on_object)):
        pairs[grouped[:, None] & of_kind[None] | of_kind[:, None] & grouped[None]] = kind
    both = grouped[:, None] & grouped[None]
    pairs[both & (classes[:, None] == classes[None])] = YES
    pairs[on_object[:, None] & on_object[None] & (index[:, None] == index[None])] = UNDECIDED
    return RegionLabels(group, pairs)


def grouping_losses(
    verdicts: list[Verdicts], labels: list[RegionLabels]
) -> dict[str, torch.Tensor]:
    """``loss_group`` and ``loss_pair``: balanced binary cross-entropies over all sets of regions.

    Logs the shares of co-salient objects that are found and of others that are rejected.
    """
    group = torch.cat([v.group for v in verdicts])
    group_labels = torch.cat([x.group for x in labels])
    pairs = torch.cat([v.pairs.flatten() for v in verdicts])
    pair_labels = torch.cat([x.pairs.flatten() for x in labels])
    _log(group.detach(), group_labels)
    return {
        "loss_group": balanced_bce(group, group_labels),
        "loss_pair": balanced_bce(pairs, pair_labels),
    }


def _log(logits: torch.Tensor, labels: torch.Tensor) -> None:
    for name, value in (("found", YES), ("rejected", OTHER)):
        of_kind = labels == value
        if bool(of_kind.any()):
            right = (logits[of_kind] > 0) == (value == YES)
            get_event_storage().put_scalar(f"grouping/{name}", right.float().mean().item())


def balanced_bce(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy in which co-salient and other objects count alike.

    Args:
        logits: (N,).
        labels: (N,) ``YES``, ``OTHER``, ``BACKGROUND`` or ``UNDECIDED``; the last is left out.

    Returns:
        The sum over kinds of ``SHARES`` times the kind's mean, a scalar that is connected to
        ``logits``; kinds that do not occur add nothing.
    """
    losses = F.binary_cross_entropy_with_logits(
        logits, (labels == YES).to(logits.dtype), reduction="none"
    )
    of_kinds = {kind: (labels == kind).to(losses.dtype) for kind in SHARES}
    return sum(
        share * (losses * of_kinds[kind]).sum() / of_kinds[kind].sum().clamp(min=1)
        for kind, share in SHARES.items()
    )


def repeats_loss(logits: torch.Tensor, targets: list[Instances]) -> torch.Tensor:
    """Binary cross-entropy of whether anything repeats, over the images of which that is known.

    Args:
        logits: (N,).
        targets: an image each, with ``gt_cosalient``: two co-salient objects or more repeat; where
            there is none nothing does; an image of which one object is left says neither.
    """
    counts = torch.stack([t.gt_cosalient.sum() for t in targets]).to(logits.device)
    losses = F.binary_cross_entropy_with_logits(logits, (counts > 1).float(), reduction="none")
    known = (counts != 1).float()
    return (losses * known).sum() / known.sum().clamp(min=1)
