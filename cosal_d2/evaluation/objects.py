"""Object-wise measures: which objects a map shows, and how many it shows that are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from cosal_d2.evaluation.truth import Truth

# Our choices, as shares of the picture's pixels.
SMALL, LARGE = 0.01, 0.10
MIN_REGION = 0.001
BOX_IOU = 0.5
SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class ObjectScore:
    """One annotated object under one map.

    Attributes:
        index: place among the picture's objects, or among its distractors.
        role: "object" (co-salient) or "distractor".
        class_name: "" where the dataset names none.
        size: "small" (below 1 % of the picture), "medium" or "large" (10 % and more).
        share: of the picture's pixels that its mask covers.
        mean: of the map over the mask.
        found: 1 where ``mean`` reaches the threshold; for a distractor: 1 where it was taken.
        box_iou: IoU of its box with the box of its predicted pixels; 0 where none is.
    """

    index: int
    role: str
    class_name: str
    size: str
    share: float
    mean: float
    found: int
    box_iou: float


def score_objects(cosal_map: np.ndarray, truth: Truth, threshold: float) -> tuple[ObjectScore, ...]:
    """Score each object and distractor of a picture.

    An object is found where the mean of the map over its mask is at or above ``threshold``.

    Args:
        cosal_map: ``(H, W)`` float64 in [0, 1].
        truth: of the picture.
        threshold: level in [0, 1].

    Returns:
        the N objects, then the M distractors.

    Raises:
        ValueError: a mask has no pixel, or another size than the map.
    """
    predicted = cosal_map >= threshold
    rows = []
    for role, objects in (("object", truth.objects), ("distractor", truth.distractors)):
        for i, annotated in enumerate(objects):
            mask = as_mask(annotated.mask, cosal_map.shape)
            if not mask.any():
                raise ValueError(f"{role} {i} has no pixel, so its mean is undefined; leave it out")
            mean = float(cosal_map[mask].mean())
            share = np.count_nonzero(mask) / mask.size
            box = _mask_box(mask) if annotated.box is None else annotated.box
            rows.append(
                ObjectScore(
                    index=i,
                    role=role,
                    class_name=annotated.class_name,
                    size=SIZES[int(share >= SMALL) + int(share >= LARGE)],
                    share=share,
                    mean=mean,
                    found=int(mean >= threshold),
                    box_iou=_box_iou(box, _mask_box(predicted & mask)),
                )
            )
    return tuple(rows)


def count_false_regions(cosal_map: np.ndarray, truth: np.ndarray, threshold: float) -> int:
    """Number of regions that a map shows and the truth lacks.

    A region is an 8-connected set of pixels at or above ``threshold`` that covers at least 0.1 % of
    the picture; it is false where less than half of it lies on the truth.

    Args:
        cosal_map: ``(H, W)`` float64 in [0, 1].
        truth: ``(H, W)`` boolean.
        threshold: level in [0, 1].
    """
    predicted = (cosal_map >= threshold).astype(np.uint8)
    count, labels = cv2.connectedComponents(predicted, connectivity=8)
    areas = np.bincount(labels.ravel(), minlength=count)[1:]
    on_truth = np.bincount(labels[truth], minlength=count)[1:]
    large = areas >= max(1.0, MIN_REGION * truth.size)
    return int(np.count_nonzero(large & (2 * on_truth < areas)))


def as_mask(mask: Any, shape: tuple[int, int]) -> np.ndarray:
    """Give a mask as a boolean numpy array.

    Raises:
        ValueError: it is not of the map's ``shape``.
    """
    if hasattr(mask, "detach"):
        mask = mask.detach().cpu().numpy()
    array = np.asarray(mask, dtype=bool)
    if array.shape != shape:
        raise ValueError(f"map is {shape} but its mask is {array.shape}; both must have one size")
    return array


def _mask_box(mask: np.ndarray) -> np.ndarray:
    """Tight box of a mask, x, y, width, height; zeros where it has no pixel."""
    return np.array(cv2.boundingRect(mask.view(np.uint8)), dtype=np.float64)


def _box_iou(a: np.ndarray, b: np.ndarray) -> float:
    return float(coco_mask.iou(a[None], b[None], [0])[0, 0])
