"""LFM: proposals, groups of them, a map of each group, and their fusion by a low-rank matrix.

H. Yu, K. Zheng, J. Fang, H. Guo, W. Feng, S. Wang: "Co-Saliency Detection within a Single Image",
AAAI 2018. Object proposals are found in the picture; groups of them are derived that show good
common saliency; each group gives a co-saliency map, and a low-rank algorithm fuses these maps.
DCL's map (``modeling/methods/dcl.py``) is the saliency that all steps start from.

Differences. The proposals are the regions of the RPN of this project's network, not EdgeBoxes:
these need opencv-contrib and a file with a model of edges. The steps' details, the measures of a
proposal and the choice of cues are this project's, and no code of the paper's is followed. A pair
of proposals is judged by the colours of what is salient in them; groups grow greedily; the map of a
group fuses ten single-image cues, DCL's map and the nine of ``cues.py``. Maps are fused by weights:
of a cue, how far the colours that it marks in the group's proposals make a matrix of low rank (as
Cao et al. TIP 2014 fuse cues); of a group's map, how far it lies in the low-rank part of all
groups' maps.
"""

from __future__ import annotations

import cv2
import numpy as np

from cosal_d2.paper.classical.colour import bgr_to_lab, stretch
from cosal_d2.paper.classical.cws import shrink
from cosal_d2.paper.lfm.cues import colour_labels, low_level_cues
from cosal_d2.paper.lfm.groups import box_histograms, find_groups, mutual_saliency
from cosal_d2.paper.lfm.low_rank import sparse_shares

PROPOSALS = 100  # the first so many of the given boxes are taken
GROUPS = 10
FUSED_STEP = 4  # pixels of a place of the matrix that weighs the groups' maps


def common_saliency(image: np.ndarray, saliency: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """LFM's map, stretched to [0, 1].

    Args:
        image: uint8 BGR (H, W, 3).
        saliency: float (H, W) in [0, 1], a map of all that is salient.
        boxes: (N, 4) XYXY in the picture's pixels, the most object-like first.

    Returns:
        float32 (H, W) in [0, 1]; 0 everywhere where no two proposals have common saliency.

    Raises:
        ValueError: the picture has another type or shape, or the map another size.
    """
    height, width = image.shape[:2]
    if saliency.shape != (height, width):
        raise ValueError(f"the saliency is {saliency.shape} of a picture of {height}x{width}")
    small = shrink(image)
    lab = bgr_to_lab(small)
    h, w = small.shape[:2]
    saliency = cv2.resize(saliency.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
    boxes = _boxes_at(boxes[:PROPOSALS], w / width, h / height, (h, w))
    labels = colour_labels(lab)
    histograms = box_histograms(labels, saliency, boxes)
    means = np.array([saliency[y0:y1, x0:x1].mean() for x0, y0, x1, y1 in boxes])
    groups = find_groups(mutual_saliency(histograms, means, boxes), GROUPS)
    if not groups:
        return np.zeros((height, width), np.float32)
    cues = np.concatenate([saliency[None], low_level_cues(small)])
    maps = [group_map(cues, labels, boxes[list(group)]) for group in groups]
    fused = fuse_maps(np.stack(maps))
    return stretch(cv2.resize(fused, (width, height), interpolation=cv2.INTER_LINEAR))


def group_map(cues: np.ndarray, labels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The co-saliency map of a group: in its boxes the geometric mean of the saliency and of the
    weighted cues.

    Args:
        cues: (C, H, W) in [0, 1], the first of them the saliency.
        labels: (H, W) integers, the colour of each pixel.
        boxes: (M, 4) integers XYXY, of the group's members.

    Returns:
        float32 (H, W) in [0, 1], 0 outside of the boxes.
    """
    inside = np.zeros(labels.shape, bool)
    for x0, y0, x1, y1 in boxes:
        inside[y0:y1, x0:x1] = True
    weights = cue_weights(cues, labels, boxes)
    found = np.sqrt(np.clip(cues[0] * np.tensordot(weights, cues, axes=1), 0, 1))
    return np.where(inside, found, 0).astype(np.float32)


def cue_weights(cues: np.ndarray, labels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How far each cue marks the same colours in all boxes: the histograms of what it marks, a
    column a box, make a matrix of low rank then, and the less of it is in the sparse part, the more
    the cue weighs.

    Returns:
        (C,) of sum 1.
    """
    histograms = np.stack([box_histograms(labels, cue, boxes).T for cue in cues])
    weights = np.exp(-sparse_shares(histograms).mean(axis=1))
    return weights / weights.sum()


def fuse_maps(maps: np.ndarray) -> np.ndarray:
    """The weighted mean of maps (G, H, W) in [0, 1], float32 (H, W): the less of a map is in the
    sparse part of the matrix of all maps, a column a map, the more it weighs."""
    height, width = maps.shape[1:]
    grid = (max(width // FUSED_STEP, 1), max(height // FUSED_STEP, 1))
    columns = [cv2.resize(own, grid, interpolation=cv2.INTER_AREA).ravel() for own in maps]
    weights = np.exp(-sparse_shares(np.stack(columns, axis=1)))
    return np.tensordot(weights / weights.sum(), maps, axes=1).astype(np.float32)


def _boxes_at(
    boxes: np.ndarray, scale_x: float, scale_y: float, size: tuple[int, int]
) -> np.ndarray:
    """Boxes in whole pixels of a resized picture of ``size`` (H, W), each of a pixel or more."""
    scaled = np.asarray(boxes, np.float64).reshape(-1, 4) * [scale_x, scale_y, scale_x, scale_y]
    height, width = size
    limit = np.array([width, height])
    low = np.clip(np.floor(scaled[:, :2]), 0, limit - 1)
    high = np.clip(np.ceil(scaled[:, 2:]), low + 1, limit)
    return np.concatenate([low, high], axis=1).astype(np.int64)
