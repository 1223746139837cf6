"""From judged regions to instances: one mask an object, each with its group."""

from __future__ import annotations

import torch
from detectron2.layers import paste_masks_in_image
from detectron2.structures import BitMasks, Instances
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from cosal_d2.modeling.grouping.gate import GATE_STRIDE
from cosal_d2.modeling.grouping.region_masks import RegionSet, paste_masks, windows
from cosal_d2.modeling.grouping.region_selection import suppress_duplicates

# Where the map shows an object, its instance takes pixels from this probability of its mask on: the
# map's outline is finer than a mask of 28 x 28 (ours).
MASK_LEVEL = 0.3
# Least share of an instance's own mask that the map shows (ours).
SHOWN = 0.4


def find_instances(
    image_size: tuple[int, int],
    regions: RegionSet,
    embeddings: torch.Tensor,
    scores: torch.Tensor,
    pairs: torch.Tensor,
    cosal_map: torch.Tensor,
    *,
    same_object_share: float,
    score_threshold: float,
    pair_threshold: float,
) -> Instances:
    """The instances of the repeated groups in one image.

    Args:
        image_size: (h, w) in input pixels.
        regions: the K regions that were compared.
        embeddings: (K, D), handed on.
        scores: (K,) probability of being an object of a group.
        pairs: (K, K) probabilities of being two instances of one class.
        cosal_map: (H, W) in [0, 1], at the wanted size.
        same_object_share: see :func:`suppress_duplicates`.
        score_threshold: least score of an instance.
        pair_threshold: mean probability of resemblance at which two groups are one.

    Returns:
        N instances of ``image_size`` (H, W), those of the largest group first and the best first:
        ``pred_boxes`` tight around the masks, ``pred_masks`` (N, H, W) bool, disjoint, ``scores``,
        ``pred_classes`` (0), ``group_ids`` (0 for the largest group) and ``embeddings``.
    """
    height, width = cosal_map.shape
    keep = (scores >= score_threshold).nonzero()[:, 0]
    size = tuple(-(-side // GATE_STRIDE) for side in image_size)
    coarse = paste_masks(regions.masks[keep].float(), regions.proposals[keep], size, GATE_STRIDE)
    keep = keep[suppress_duplicates(coarse, scores[keep], same_object_share)]
    scale = regions.proposals.new_tensor([width, height] * 2)
    scale = scale / scale.new_tensor([*image_size[::-1]] * 2)
    boxes = windows(regions.proposals[keep]) * scale
    masks = paste_masks_in_image(regions.masks[keep].float(), boxes, (height, width), -1)
    masks, shown = _split(masks.float() / 255, cosal_map >= 0.5)
    keep, masks = keep[shown], masks[shown]
    groups = group_regions(pairs[keep][:, keep], pair_threshold)
    order = sorted(
        (i for i, g in enumerate(groups) if g >= 0),
        key=lambda i: (groups[i], -scores[keep[i]].item()),
    )
    keep, masks = keep[order], BitMasks(masks[order])
    return Instances(
        (height, width),
        pred_boxes=masks.get_bounding_boxes().to(keep.device),
        pred_masks=masks.tensor,
        scores=scores[keep],
        pred_classes=torch.zeros_like(keep),
        group_ids=torch.tensor([groups[i] for i in order], dtype=torch.int64, device=keep.device),
        embeddings=embeddings[keep],
    )


def group_regions(pairs: torch.Tensor, threshold: float) -> list[int]:
    """Groups of two or more that resemble each other, by average linkage.

    Args:
        pairs: (N, N) probabilities of being two instances of one class, symmetric.
        threshold: groups are joined while their mean resemblance reaches it.

    Returns:
        for each of the N its group, 0 the largest; -1 for none.
    """
    if len(pairs) < 2:
        return [-1] * len(pairs)
    distance = (1 - pairs.double()).clamp(min=0).fill_diagonal_(0).cpu().numpy()
    tree = linkage(squareform(distance, checks=False), "average")
    labels = fcluster(tree, 1 - threshold, "distance")
    members = [int((labels == label).sum()) for label in labels]
    first = {label: i for i, label in reversed(list(enumerate(labels)))}
    ranked = sorted({(-n, first[label], label) for n, label in zip(members, labels, strict=True)})
    ids = {label: i for i, (n, _, label) in enumerate(ranked) if n < -1}
    return [ids.get(label, -1) for label in labels]


def _split(masks: torch.Tensor, shown: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Disjoint masks (N, H, W) bool of what the map shows, each pixel to the likeliest mask, and
    whether enough of each is shown (N,)."""
    if not len(masks):
        return masks.bool(), torch.zeros(0, dtype=torch.bool)
    best, owner = masks.max(dim=0)
    owner = torch.where((best >= MASK_LEVEL) & shown, owner, -1)
    own = owner[None] == torch.arange(len(masks), device=masks.device)[:, None, None]
    area = (masks >= 0.5).flatten(1).sum(dim=1)
    return own, own.flatten(1).sum(dim=1) > SHOWN * area
