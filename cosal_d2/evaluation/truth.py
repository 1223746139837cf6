"""Ground truth of a dataset dict, drawn at the image's original size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from detectron2.structures import BoxMode
from pycocotools import mask as mask_util

__all__ = ["Truth", "decode_segmentation", "decode_truth", "mask_box"]


@dataclass(frozen=True)
class Truth:
    """Truth of one image of H x W pixels.

    Attributes:
        mask: ``(H, W)`` boolean, the union of all co-salient annotations.
        salient: ``(H, W)`` boolean, the union of all annotations, co-salient or not.
        objects: ``(N, H, W)`` boolean, the co-salient objects.
        distractors: ``(M, H, W)`` boolean, the salient objects outside the truth.
        object_classes: N class names, "" where the dataset names none.
        distractor_classes: M class names.
        object_boxes: ``(N, 4)`` float64, XYXY absolute pixels: the annotations' boxes, or those of
            the masks where an annotation has none.
        distractor_boxes: ``(M, 4)`` likewise.
        crowd: whether the truth has a co-salient crowd, so that its number of objects is unknown.
    """

    mask: np.ndarray
    salient: np.ndarray
    objects: np.ndarray
    distractors: np.ndarray
    object_classes: tuple[str, ...] = ()
    distractor_classes: tuple[str, ...] = ()
    object_boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    distractor_boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    crowd: bool = False


def decode_segmentation(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Draw a COCO segmentation.

    Args:
        segmentation: polygons (list of ``[x0, y0, x1, y1, ...]`` in absolute pixels) or an RLE
            (dict with ``size`` and ``counts``, compressed or not).
        height: H, pixels.
        width: W, pixels.

    Returns:
        ``(H, W)`` boolean.

    Raises:
        ValueError: neither polygons nor RLE, a polygon with fewer than three points, an RLE of
            another size.
    """
    if isinstance(segmentation, Mapping):
        size = [int(v) for v in segmentation.get("size", ())]
        if size != [height, width] or "counts" not in segmentation:
            raise ValueError(
                f"RLE needs 'counts' and 'size' [{height}, {width}], its size is {size}"
            )
        rle = dict(segmentation)
        if isinstance(rle["counts"], list):
            rle = mask_util.frPyObjects(rle, height, width)
        return _decode(rle)
    if not isinstance(segmentation, (list, tuple)) or len(segmentation) == 0:
        raise ValueError("needs polygons (a list of [x0, y0, x1, y1, ...]) or an RLE (a dict)")
    polygons = [np.asarray(p, dtype=np.float64).ravel() for p in segmentation]
    if any(p.size < 6 or p.size % 2 for p in polygons):
        raise ValueError("a polygon needs at least three points (six numbers, x and y in turn)")
    rles = mask_util.frPyObjects([p.tolist() for p in polygons], height, width)
    return _decode(mask_util.merge(rles))


def decode_truth(record: Mapping[str, Any]) -> Truth:
    """Draw the annotations of a dataset dict.

    An annotation without ``cosalient`` is co-salient. A crowd (``iscrowd`` 1) enters the unions but
    stands for an unknown number of objects, so it counts neither as object nor as distractor; nor
    does an annotation that covers no pixel.

    Args:
        record: dataset dict with ``file_name``, ``height``, ``width`` and ``annotations``.

    Raises:
        ValueError: a size or a segmentation is missing or malformed; names the file and the
            annotation.
    """
    name = record.get("file_name", f"image {record.get('image_id')}")
    if "height" not in record or "width" not in record:
        raise ValueError(f"{name}: the dataset gives no 'height' and 'width'; add them to its json")
    height, width = int(record["height"]), int(record["width"])
    truth = np.zeros((height, width), dtype=bool)
    salient = truth.copy()
    crowd = False
    parts: dict[bool, list[tuple[np.ndarray, str, np.ndarray]]] = {True: [], False: []}
    for i, annotation in enumerate(record.get("annotations", ())):
        try:
            mask = decode_segmentation(annotation.get("segmentation"), height, width)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name}: annotation {i}, field 'segmentation': {error}") from error
        cosalient = bool(annotation.get("cosalient", True))
        salient |= mask
        if cosalient:
            truth |= mask
        if annotation.get("iscrowd", 0):
            crowd |= cosalient
        elif mask.any():
            label = str(annotation.get("class_name") or "")
            parts[cosalient].append((mask, label, _box(annotation, mask)))
    return Truth(
        mask=truth,
        salient=salient,
        objects=_stack([mask for mask, _, _ in parts[True]], height, width),
        distractors=_stack([mask for mask, _, _ in parts[False]], height, width),
        object_classes=tuple(label for _, label, _ in parts[True]),
        distractor_classes=tuple(label for _, label, _ in parts[False]),
        object_boxes=np.array([box for _, _, box in parts[True]]).reshape(-1, 4),
        distractor_boxes=np.array([box for _, _, box in parts[False]]).reshape(-1, 4),
        crowd=crowd,
    )


def mask_box(mask: np.ndarray) -> np.ndarray:
    """Tight box of a mask.

    Args:
        mask: ``(H, W)`` boolean.

    Returns:
        ``(4,)`` float64, XYXY absolute pixels; zeros where the mask has no pixel.
    """
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def _box(annotation: Mapping[str, Any], mask: np.ndarray) -> np.ndarray:
    if annotation.get("bbox") is None:
        return mask_box(mask)
    mode = annotation.get("bbox_mode", BoxMode.XYWH_ABS)
    box = np.asarray(BoxMode.convert(list(annotation["bbox"]), mode, BoxMode.XYXY_ABS), float)
    return box if box[2] > box[0] and box[3] > box[1] else mask_box(mask)


def _decode(rle: Mapping[str, Any]) -> np.ndarray:
    return np.ascontiguousarray(mask_util.decode(rle), dtype=bool)


def _stack(masks: list[np.ndarray], height: int, width: int) -> np.ndarray:
    return np.stack(masks) if masks else np.zeros((0, height, width), dtype=bool)
