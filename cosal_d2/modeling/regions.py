"""The paper's conditions on regions, and regions made without a network.

Boxes are XYXY absolute pixels of the network's input, (N, 4) float32. Everything random is drawn
from the generator that the caller passes.
"""

from __future__ import annotations

import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from detectron2.structures.boxes import pairwise_intersection


def classify_regions(
    boxes: torch.Tensor,
    targets: Instances,
    positive_iou: float,
    negative_iou: float,
    contain_share: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Apply the paper's conditions to regions.

    A positive overlaps a co-salient ground-truth box by more than ``positive_iou`` and contains
    only one salient object: among all objects, distractors too, no second one has more than
    ``contain_share`` of its box inside the region. A negative overlaps every co-salient box by less
    than ``negative_iou``: background, or a salient object of another class.

    Args:
        boxes: (M, 4).
        targets: with ``gt_boxes`` (G, 4) and ``gt_cosalient`` (G,) bool.

    Returns:
        matched (M,) int64, the ground-truth index of a positive, -1 for a negative, -2 for neither;
        iou (M,), with the best co-salient box; and (M,) bool, whether the region is a negative.
    """
    cosalient = targets.gt_cosalient
    if len(boxes) == 0 or not bool(cosalient.any()):
        matched = torch.full((len(boxes),), -2, dtype=torch.int64, device=boxes.device)
        return matched, boxes.new_zeros(len(boxes)), torch.zeros_like(matched, dtype=torch.bool)
    regions, objects = Boxes(boxes), targets.gt_boxes
    iou = pairwise_iou(regions, objects)
    iou = torch.where(cosalient[None], iou, torch.zeros_like(iou))
    best, index = iou.max(dim=1)
    share = pairwise_intersection(regions, objects) / objects.area().clamp(min=1e-6)
    contained = share > contain_share
    others = contained.sum(dim=1) - contained.gather(1, index[:, None])[:, 0].long()
    positive = (best > positive_iou) & (others == 0)
    negative = best < negative_iou
    matched = torch.full_like(index, -2)
    matched[negative] = -1
    matched[positive] = index[positive]
    return matched, best, negative


def jitter_boxes(
    boxes: torch.Tensor,
    image_size: tuple[int, int],
    offset: float,
    scale: tuple[float, float],
    generator: torch.Generator,
) -> torch.Tensor:
    """Randomly scale and offset boxes, then clip them to the image.

    Args:
        boxes: (N, 4).
        image_size: (H, W).
        offset: largest shift of the centre, as a share of the side.
        scale: range of the factor of each side, drawn evenly in its logarithm.
    """
    noise = torch.rand((len(boxes), 4), generator=generator).to(boxes)
    size = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + (noise[:, :2] * 2 - 1) * offset * size
    low, high = torch.tensor(scale).log().tolist()
    size = size * (low + noise[:, 2:] * (high - low)).exp()
    out = Boxes(torch.cat([centre - size / 2, centre + size / 2], dim=1))
    out.clip(image_size)
    return out.tensor


def random_boxes(
    count: int,
    image_size: tuple[int, int],
    sides: tuple[float, float],
    aspects: tuple[float, float],
    generator: torch.Generator,
) -> torch.Tensor:
    """Boxes anywhere in the image, with side lengths and aspect ratios of the given ranges.

    A box that is larger than the image shrinks to fit, keeping its aspect ratio.

    Args:
        image_size: (H, W).
        sides: range of the square root of the area, in pixels.
        aspects: range of width over height.
    """
    h, w = image_size
    u = torch.rand((count, 4), generator=generator)
    low, high = torch.tensor(sides).log().tolist()
    side = (low + u[:, 0] * (high - low)).exp()
    low, high = torch.tensor(aspects).log().tolist()
    root = (low + u[:, 1] * (high - low)).exp().sqrt()
    bw, bh = side * root, side / root
    fit = torch.minimum(w / bw, h / bh).clamp(max=1)
    bw, bh = bw * fit, bh * fit
    x, y = u[:, 2] * (w - bw), u[:, 3] * (h - bh)
    return torch.stack([x, y, x + bw, y + bh], dim=1)
