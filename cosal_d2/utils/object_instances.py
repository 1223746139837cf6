"""From judged regions to instances: one mask an object, each with its group. Numpy alone, whatever
computed the regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.ndimage import find_objects
from scipy.spatial.distance import squareform

if TYPE_CHECKING:
    import torch
    from detectron2.structures import Instances

# Where the map shows an object, its instance takes pixels from this probability of its mask on: the
# map's outline is finer than a mask of 28 x 28 (ours).
MASK_LEVEL = 0.3
# Least share of an instance's own mask that the map shows (ours).
SHOWN = 0.4
# Up to this many bytes Detectron2's instances have masks as a tensor (N, H, W); above, as
# DisjointMasks.
MASK_BYTES = 2**28
# Masks of 28 x 28 are compared in a picture of at most this many pixels: above, it is scaled down,
# and each pixel of the larger one has the label of the nearest (ours).
MASK_PIXELS = 2**22


@dataclass(frozen=True)
class InstanceOptions:
    """What makes regions instances, see ``MODEL.GROUPING`` in the config.

    Attributes:
        same_object_share: of two masks that share more than this of the smaller one's pixels, the
            better stays.
        score_threshold: least score of an instance.
        pair_threshold: mean probability of resemblance at which two groups are one.
    """

    same_object_share: float = 0.5
    score_threshold: float = 0.3
    pair_threshold: float = 0.5


@dataclass(frozen=True)
class ObjectInstances:
    """N objects of one picture, those of the largest group first and the best first: numpy arrays
    under the names of Detectron2's fields.

    Attributes:
        image_size: (H, W) of the picture.
        pred_boxes: (N, 4) float32 XYXY, tight around the masks.
        pred_masks: bool (H, W) each, disjoint.
        scores: (N,) float32.
        group_ids: (N,) int64, 0 for the largest group.
        embeddings: (N, D) float32.
    """

    image_size: tuple[int, int]
    pred_boxes: np.ndarray
    pred_masks: DisjointMasks
    scores: np.ndarray
    group_ids: np.ndarray
    embeddings: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def to_detectron2(self) -> Instances:
        """The same as Detectron2's ``Instances`` on the CPU, with ``pred_classes`` (0) too;
        ``pred_masks`` is a tensor (N, H, W) bool up to ``MASK_BYTES``.

        Raises:
            ImportError: Detectron2 is not installed.
        """
        import torch
        from detectron2.structures import Boxes, Instances

        labels, ids = map(torch.from_numpy, (self.pred_masks.labels, self.pred_masks.ids))
        masks: DisjointMasks | torch.Tensor = DisjointMasks(labels, ids)
        if len(self) * labels.numel() <= MASK_BYTES:
            masks = labels[None] == ids[:, None, None]
        return Instances(
            self.image_size,
            pred_boxes=Boxes(torch.from_numpy(self.pred_boxes)),
            pred_masks=masks,
            scores=torch.from_numpy(self.scores),
            pred_classes=torch.zeros(len(self), dtype=torch.int64),
            group_ids=torch.from_numpy(self.group_ids),
            embeddings=torch.from_numpy(self.embeddings),
        )


class DisjointMasks:
    """N masks that share no pixel, as one picture of labels: (N, H, W) may be too large. Indexed
    and passed over as an array or a tensor (N, H, W) is; ``masks[i, y0:y1, x0:x1]`` costs no more
    than that part.

    Attributes:
        labels: (H, W) int16, the label of each pixel's mask; 0 for none. Array or tensor.
        ids: (N,) int16, the label of each mask. Array or tensor.
    """

    def __init__(self, labels: np.ndarray | torch.Tensor, ids: np.ndarray | torch.Tensor) -> None:
        self.labels = labels
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(
        self, item: int | slice | np.ndarray | torch.Tensor | tuple
    ) -> np.ndarray | torch.Tensor | DisjointMasks:
        """One mask (H, W) bool or a part of it, or several masks."""
        if isinstance(item, tuple):
            return self.labels[item[1:]] == self.ids[item[0]]
        ids = self.ids[item]
        return self.labels == ids if ids.ndim == 0 else DisjointMasks(self.labels, ids)

    def __iter__(self) -> Iterator[np.ndarray | torch.Tensor]:
        return (self[i] for i in range(len(self)))


def find_instances(
    image_size: tuple[int, int],
    windows: np.ndarray,
    masks: np.ndarray,
    embeddings: np.ndarray,
    scores: np.ndarray,
    pairs: np.ndarray | None,
    cosal_map: np.ndarray,
    options: InstanceOptions,
) -> ObjectInstances:
    """The instances of the repeated groups in one image.

    Args:
        image_size: (h, w) in input pixels.
        windows: (K, 4) float32 XYXY in input pixels, of the masks of the K regions that were
            compared.
        masks: (K, 28, 28) float32 probabilities in the windows.
        embeddings: (K, D), handed on.
        scores: (K,) float32 probability of being an object of a group.
        pairs: (K, K) probabilities of being two instances of one class; None where all that have
            the score are one group, even a single one.
        cosal_map: (H, W) in [0, 1], at the wanted size.
        options: thresholds.

    Returns:
        N instances of ``image_size`` (H, W).
    """
    size = height, width = cosal_map.shape
    keep = np.argsort(-scores, kind="stable")
    keep = keep[scores[keep] >= options.score_threshold]
    h, w = image_size
    shrink = min(1.0, (MASK_PIXELS / (height * width)) ** 0.5)
    small = rows, columns = max(1, round(height * shrink)), max(1, round(width * shrink))
    boxes = windows[keep] * (np.float32([columns, rows] * 2) / np.float32([w, h] * 2))
    found = _one_each(masks[keep], boxes, small, options.same_object_share)
    labels = _split(list(found.values()), small)
    if small != size:
        labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    labels *= cosal_map >= 0.5
    places = find_objects(labels, len(found))
    least = SHOWN * height * width / (rows * columns)
    shown = [
        k
        for k, (place, mask) in enumerate(zip(places, found.values(), strict=True))
        if place and np.count_nonzero(labels[place] == k + 1) > least * mask.area
    ]
    keep = keep[list(found)][shown]
    if pairs is None:
        groups = [0] * len(keep)
    else:
        groups = group_regions(pairs[np.ix_(keep, keep)], options.pair_threshold)
    order = sorted((i for i, g in enumerate(groups) if g >= 0), key=lambda i: groups[i])
    keep, ids = keep[order], np.array([shown[i] + 1 for i in order], np.int16)
    tight = [(x.start, y.start, x.stop, y.stop) for y, x in (places[i - 1] for i in ids)]
    return ObjectInstances(
        size,
        pred_boxes=np.array(tight, np.float32).reshape(-1, 4),
        pred_masks=DisjointMasks(labels, ids),
        scores=scores[keep],
        group_ids=np.array([groups[i] for i in order], np.int64),
        embeddings=embeddings[keep],
    )


def group_regions(pairs: np.ndarray, threshold: float) -> list[int]:
    """Groups of two or more that resemble each other, by average linkage.

    Args:
        pairs: (N, N) probabilities of being two instances of one class, symmetric.
        threshold: groups are joined while their mean resemblance reaches it.

    Returns:
        for each of the N its group, 0 the largest; -1 for none.
    """
    if len(pairs) < 2:
        return [-1] * len(pairs)
    distance = np.maximum(1 - pairs.astype(np.float64), 0)
    np.fill_diagonal(distance, 0)
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
    def paste(cls, mask: np.ndarray, window: np.ndarray, size: tuple[int, int]) -> _Pasted:
        """Paste a mask (28, 28) into its window (4,) of a picture of a size (H, W), bilinearly, as
        Detectron2's ``paste_masks_in_image`` does."""
        height, width = size
        x0, y0 = (int(max(np.floor(low) - 1, 0)) for low in window[:2])
        x1, y1 = (int(np.ceil(high) + 1) for high in window[2:])
        x1, y1 = min(x1, width), min(y1, height)
        if x0 >= x1 or y0 >= y1:
            return cls((0, 0, 0, 0), np.zeros((0, 0), np.uint8), 0)
        moved = window - np.float32([x0, y0, x0, y0])
        rows = _shares(moved[1], moved[3], y1 - y0, len(mask))
        columns = _shares(moved[0], moved[2], x1 - x0, len(mask))
        pixels = (rows @ mask @ columns.T * np.float32(255)).astype(np.uint8)
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


def _shares(low: np.float32, high: np.float32, pixels: int, cells: int) -> np.ndarray:
    """What each cell between two coordinates counts for each pixel, bilinearly, where nothing
    is outside: (pixels, cells) float32."""
    at = (np.arange(pixels, dtype=np.float32) + np.float32(0.5) - low) / (high - low)
    at = at * np.float32(cells) - np.float32(0.5)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(cells, dtype=np.float32)), 0)


def _one_each(
    masks: np.ndarray, boxes: np.ndarray, size: tuple[int, int], share: float
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


def _split(masks: Sequence[_Pasted], size: tuple[int, int]) -> np.ndarray:
    """Labels (H, W) int16 of a picture: each pixel to its likeliest mask, 1 for the first; 0 for
    none."""
    # A mask counts where it is above what is there, so from MASK_LEVEL on.
    best = np.full(size, np.ceil(255 * MASK_LEVEL) - 1, np.uint8)
    labels = np.zeros(size, np.int16)
    for label, pasted in enumerate(masks, 1):
        x0, y0, x1, y1 = pasted.box
        part = np.s_[y0:y1, x0:x1]
        more = pasted.mask > best[part]
        best[part][more] = pasted.mask[more]
        labels[part][more] = label
    return labels
