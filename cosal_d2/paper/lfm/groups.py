"""Groups of proposals that resemble each other and are salient together."""

from __future__ import annotations

import numpy as np

OVERLAP = 0.3  # share of the smaller box above which two proposals are no two objects


def box_histograms(labels: np.ndarray, weights: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """What colours each box has.

    Args:
        labels: (H, W) integers, the colour of each pixel.
        weights: (H, W), how much each pixel counts.
        boxes: (N, 4) integers, XYXY, each holding a pixel.

    Returns:
        (N, colours) float64, each row of sum 1, or 0 where nothing in the box counts.
    """
    count = int(labels.max()) + 1
    rows = []
    for x0, y0, x1, y1 in boxes:
        inside = labels[y0:y1, x0:x1].ravel()
        rows.append(np.bincount(inside, weights[y0:y1, x0:x1].ravel(), count))
    found = np.array(rows).reshape(-1, count)
    sums = found.sum(axis=1, keepdims=True)
    return np.divide(found, sums, out=np.zeros_like(found), where=sums > 0)


def mutual_saliency(histograms: np.ndarray, saliency: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Common saliency of every two proposals: how alike they are, the intersection of their
    histograms, times the geometric mean of their saliencies.

    Args:
        histograms: (N, colours), from :func:`box_histograms`.
        saliency: (N,) in [0, 1].
        boxes: (N, 4) XYXY.

    Returns:
        (N, N) in [0, 1]; negative infinity for boxes that overlap, which are no two objects, and
        on the diagonal.
    """
    alike = np.minimum(histograms[:, None], histograms[None]).sum(axis=2)
    common = alike * np.sqrt(saliency[:, None] * saliency[None])
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    common[shared > OVERLAP * np.minimum(areas[:, None], areas[None])] = -np.inf
    return common


def find_groups(common: np.ndarray, count: int) -> list[tuple[int, ...]]:
    """The groups of the greatest density: the sum of the common saliency of all pairs of a group,
    divided by the number of its members.

    From every proposal a group grows by the one that raises its density most, as long as one does.

    Args:
        common: (N, N), from :func:`mutual_saliency`.
        count: groups that are wanted at most.

    Returns:
        the members of each group, two or more, in order of density; no group twice.
    """
    found: dict[tuple[int, ...], float] = {}
    for first in range(len(common)):
        members, pairs, gains = [first], 0.0, common[first].copy()
        while True:
            best = int(gains.argmax())
            grown = (pairs + gains[best]) / (len(members) + 1)
            if not grown > pairs / len(members):
                break
            pairs += gains[best]
            members.append(best)
            gains += common[best]
        if len(members) > 1:
            found[tuple(sorted(members))] = pairs / len(members)
    return sorted(found, key=lambda group: (-found[group], group))[:count]
