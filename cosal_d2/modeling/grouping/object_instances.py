"""From judged regions to instances: one mask an object, each with its group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.layers import paste_masks_in_image
from detectron2.structures import Boxes, Instances
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.ndimage import find_objects
from scipy.spatial.distance import squareform

from cosal_d2.modeling.grouping.region_masks import RegionSet, windows

# Where the map shows an object, its instance takes pixels from this probability of its mask on: the
# map's outline is finer than a mask of 28 x 28 (ours).
MASK_LEVEL = 0.3
# Least share of an instance's own mask that the map shows (ours).
SHOWN = 0.4
# Up to this many bytes masks are a tensor (N, H, W); above, DisjointMasks.
MASK_BYTES = 2**29


def find_instances(
    image_size: tuple[int, int],
    regions: RegionSet,
    embeddings: torch.Tensor,
    scores: torch.Tensor,
    pairs: torch.Tensor | None,
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
        pairs: (K, K) probabilities of being two instances of one class; None where all that have
            the score are one group, even a single one.
        cosal_map: (H, W) in [0, 1], at the wanted size.
        same_object_share: of two masks that share more than this of the smaller one's pixels, the
            better stays.
        score_threshold: least score of an instance.
        pair_threshold: mean probability of resemblance at which two groups are one.

    Returns:
        N instances of ``image_size`` (H, W) on the CPU, those of the largest group first and the
        best first: ``pred_boxes`` tight around the masks, ``pred_masks`` (N, H, W) bool, disjoint
        (:class:`DisjointMasks` above ``MASK_BYTES``), ``scores``, ``pred_classes`` (0),
        ``group_ids`` (0 for the largest group) and ``embeddings``.
    """
    size = height, width = tuple(cosal_map.shape)
    scores = scores.float().cpu()
    keep = scores.argsort(descending=True, stable=True)
    keep = keep[scores[keep] >= score_threshold]
    scale = torch.tensor([width, height] * 2) / torch.tensor([*image_size[::-1]] * 2)
    boxes = windows(regions.proposals.float().cpu()[keep]) * scale
    found = _one_each(regions.masks.float().cpu()[keep], boxes, size, same_object_share)
    labels = _split(list(found.values()), (cosal_map >= 0.5).cpu().numpy())
    areas = np.bincount(labels.ravel(), minlength=len(found) + 1)[1:]
    shown = [k for k, mask in enumerate(found.values()) if areas[k] > SHOWN * mask.area]
    keep = keep[list(found)][shown]
    if pairs is None:
        groups = [0] * len(keep)
    else:
        groups = group_regions(pairs.float().cpu()[keep][:, keep], pair_threshold)
    order = sorted((i for i, g in enumerate(groups) if g >= 0), key=lambda i: groups[i])
    keep, ids = keep[order], torch.tensor([shown[i] + 1 for i in order], dtype=torch.int32)
    places = find_objects(labels)
    tight = [(x.start, y.start, x.stop, y.stop) for y, x in (places[i - 1] for i in ids)]
    masks: DisjointMasks | torch.Tensor = DisjointMasks(torch.from_numpy(labels), ids)
    if len(masks) * height * width <= MASK_BYTES:
        masks = masks.labels[None] == ids[:, None, None]
    return Instances(
        size,
        pred_boxes=Boxes(torch.tensor(tight, dtype=torch.float32).reshape(-1, 4)),
        pred_masks=masks,
        scores=scores[keep],
        pred_classes=torch.zeros_like(keep),
        group_ids=torch.tensor([groups[i] for i in order], dtype=torch.int64),
        embeddings=embeddings.cpu()[keep],
    )


class DisjointMasks:
    """N masks that share no pixel, as one picture of labels: where a tensor (N, H, W) would be too
    large. Indexed and passed over as that tensor is.

    Attributes:
        labels: (H, W) int32, the label of each pixel's mask; 0 for none.
        ids: (N,) int32, the label of each mask.
    """

    def __init__(self, labels: torch.Tensor, ids: torch.Tensor) -> None:
        self.labels = labels
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, item: int | slice | torch.Tensor) -> torch.Tensor | DisjointMasks:
        """One mask (H, W) bool, or several."""
        ids = self.ids[item]
        return self.labels == ids if ids.ndim == 0 else DisjointMasks(self.labels, ids)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return (self[i] for i in range(len(self)))


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


@dataclass(frozen=True)
class _Pasted:
    """A region's mask at its place in the picture.

    Attributes:
        box: XYXY in whole pixels.
        mask: uint8 (h, w), probabilities times 255.
        area: pixels of probability over a half.
    """

    box: tuple[int, int, int, int]
    mask: np.ndarray
    area: int

    @classmethod
    def paste(cls, mask: torch.Tensor, window: torch.Tensor, size: tuple[int, int]) -> _Pasted:
        """Paste a mask (28, 28) into its window (4,) of a picture of a size (H, W)."""
        height, width = size
        x0, y0 = (window[:2].floor() - 1).clamp(min=0).int().tolist()
        x1, y1 = (window[2:].ceil() + 1).int().tolist()
        x1, y1 = min(x1, width), min(y1, height)
        if x0 >= x1 or y0 >= y1:
            return cls((0, 0, 0, 0), np.zeros((0, 0), np.uint8), 0)
        moved = window - window.new_tensor([x0, y0, x0, y0])
        pixels = paste_masks_in_image(mask[None], moved[None], (y1 - y0, x1 - x0), -1)[0].numpy()
        return cls((x0, y0, x1, y1), pixels, int((pixels >= 128).sum()))

    def __call__(self, box: tuple[int, int, int, int]) -> np.ndarray:
        """The mask's part in a box that lies inside of its own."""
        x, y = self.box[:2]
        return self.mask[box[1] - y : box[3] - y, box[0] - x : box[2] - x]

    def shared(self, other: _Pasted) -> int:
        """Pixels of probability over a half that two masks share."""
        low, high = map(max, self.box[:2], other.box[:2]), map(min, self.box[2:], other.box[2:])
        x0, y0, x1, y1 = box = (*low, *high)
        if x0 >= x1 or y0 >= y1:
            return 0
        return int(((self(box) >= 128) & (other(box) >= 128)).sum())


def _one_each(
    masks: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int], share: float
) -> dict[int, _Pasted]:
    """One region for each object: greedily the best of regions whose masks share more than
    ``share`` of the smaller one's pixels.

    Args:
        masks: (K, 28, 28) probabilities, the best region first.
        boxes: (K, 4) of their windows in the picture.
        size: (H, W) of the picture.

    Returns:
        the masks that stay, by index.
    """
    kept: dict[int, _Pasted] = {}
    for i, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        own = _Pasted.paste(mask, box, size)
        if own.area and all(own.shared(x) <= share * min(own.area, x.area) for x in kept.values()):
            kept[i] = own
    return kept


def _split(masks: list[_Pasted], shown: np.ndarray) -> np.ndarray:
    """Labels (H, W) int32 of what the map shows: each pixel to its likeliest mask, 1 for the first;
    0 for none.

    Args:
        masks: of the objects.
        shown: (H, W) bool.
    """
    best, labels = np.zeros(shown.shape, np.uint8), np.zeros(shown.shape, np.int32)
    for label, pasted in enumerate(masks, 1):
        x0, y0, x1, y1 = pasted.box
        more = pasted.mask > best[y0:y1, x0:x1]
        best[y0:y1, x0:x1][more] = pasted.mask[more]
        labels[y0:y1, x0:x1][more] = label
    labels[(best < 255 * MASK_LEVEL) | ~shown] = 0
    return labels
