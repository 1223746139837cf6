"""Which of RPN's regions are compared, and which of them are different objects."""

from __future__ import annotations

import torch
from detectron2.layers import nms

# Only this many boxes for each that is wanted, the most object-like ones, reach the suppression.
CANDIDATES = 32


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


def different_objects(boxes: torch.Tensor, share: float) -> torch.Tensor:
    """Whether two regions can be different objects.

    Args:
        boxes: (..., K, 4).
        share: regions of which one covers more than this share of the other are one object.

    Returns:
        (..., K, K) bool, False on the diagonal.
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    area = (high - low).prod(dim=-1).clamp(min=1e-6)
    smaller = torch.minimum(area[..., :, None], area[..., None, :])
    first = torch.maximum(low[..., :, None, :], low[..., None, :, :])
    last = torch.minimum(high[..., :, None, :], high[..., None, :, :])
    result = (last - first).clamp(min=0).prod(dim=-1) <= share * smaller
    count = torch.arange(boxes.shape[-2], device=boxes.device)
    return result & (count[:, None] != count)


def suppress_duplicates(masks: torch.Tensor, scores: torch.Tensor, share: float) -> torch.Tensor:
    """One region for each object: greedy suppression, the best first, of regions whose mask shares
    more than ``share`` of the smaller one's pixels with one that stays.

    Args:
        masks: (..., K, h, w) probabilities on the image's grid; pixels over a half count.
        scores: (..., K), of being one object.

    Returns:
        (..., K) bool: whether a region stays; one without pixels never does.
    """
    order = scores.argsort(descending=True, stable=True, dim=-1)
    inside = (masks > 0.5).flatten(-2).float()
    area = inside.sum(dim=-1).gather(-1, order)
    smaller = torch.minimum(area[..., :, None], area[..., None, :])
    with torch.autocast(masks.device.type, enabled=False):  # half types do not count that far
        shared = inside @ inside.transpose(-1, -2)
    rows = shared.gather(-2, order[..., :, None].expand_as(shared))
    shared = rows.gather(-1, order[..., None, :].expand_as(shared))
    later = (shared > share * smaller).triu(diagonal=1)
    stays = area > 0
    for i in range(order.shape[-1]):
        stays = stays & ~(later[..., i, :] & stays[..., i, None])
    return torch.zeros_like(stays).scatter(-1, order, stays)
