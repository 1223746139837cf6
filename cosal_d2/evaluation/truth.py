"""Ground truth of a dataset dict, drawn at the image's original size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as mask_util

__all__ = ["Truth", "decode_segmentation", "decode_truth"]


@dataclass(frozen=True)
class Truth:
    """Truth of one image of H x W pixels.

    Attributes:
        mask: ``(H, W)`` boolean, the union of all co-salient annotations.
        salient: ``(H, W)`` boolean, the union of all annotations, co-salient or not.
        objects: ``(N, H, W)`` boolean, the co-salient objects.
        distractors: ``(M, H, W)`` boolean, the salient objects outside the truth.
    """

    mask: np.ndarray
    salient: np.ndarray
    objects: np.ndarray
    distractors: np.ndarray


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
    objects: list[np.ndarray] = []
    distractors: list[np.ndarray] = []
    for i, annotation in enumerate(record.get("annotations", ())):
        try:
            mask = decode_segmentation(annotation.get("segmentation"), height, width)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name}: annotation {i}, field 'segmentation': {error}") from error
        cosalient = annotation.get("cosalient", True)
        salient |= mask
        if cosalient:
            truth |= mask
        if not annotation.get("iscrowd", 0) and mask.any():
            (objects if cosalient else distractors).append(mask)
    return Truth(
        mask=truth,
        salient=salient,
        objects=_stack(objects, height, width),
        distractors=_stack(distractors, height, width),
    )


def _decode(rle: Mapping[str, Any]) -> np.ndarray:
    return np.ascontiguousarray(mask_util.decode(rle), dtype=bool)


def _stack(masks: list[np.ndarray], height: int, width: int) -> np.ndarray:
    return np.stack(masks) if masks else np.zeros((0, height, width), dtype=bool)
