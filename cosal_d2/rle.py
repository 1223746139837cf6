"""COCO's run-length masks: from any segmentation, and as json fields."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask


def to_rle(segmentation: object, height: int, width: int) -> dict:
    """COCO's compressed RLE of polygons or of RLE, compressed or not.

    Args:
        segmentation: a list of polygons [x0, y0, x1, y1, ...] in pixels, or a dict with `size` and
            `counts`. Polygons of fewer than three points are ignored beside others.
        height, width: of the picture, pixels.

    Raises:
        ValueError: it is no mask, or one of another size.
    """
    try:
        if isinstance(segmentation, list) and segmentation:
            polygons = [p for p in segmentation if len(p) >= 6 and len(p) % 2 == 0]
            if not polygons:
                raise TypeError("a polygon needs three points or more, x and y in turn")
            parts = coco_mask.frPyObjects(polygons, height, width)
            rle = parts[0] if len(parts) == 1 else coco_mask.merge(parts)
        elif isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
            if min(segmentation["counts"], default=0) < 0:
                raise ValueError("a count is negative")
            if sum(segmentation["counts"]) != np.prod(segmentation["size"]):
                raise ValueError("the counts do not add up to height x width")
            rle = coco_mask.frPyObjects(segmentation, *segmentation["size"])
        elif isinstance(segmentation, dict):
            rle = {"size": list(segmentation["size"]), "counts": segmentation["counts"]}
            if isinstance(rle["counts"], str):
                rle["counts"] = rle["counts"].encode("ascii")
            coco_mask.area(rle)
        else:
            raise TypeError("it is empty or no mask")
    except Exception as error:
        raise ValueError(f"`segmentation` is unreadable ({error}); give polygons or RLE") from error
    if list(rle["size"]) != [height, width]:
        raise ValueError(
            f"`segmentation` is of size {list(rle['size'])}, its picture of {[height, width]} "
            "(height, width); make them agree"
        )
    return rle


def mask_rle(mask: np.ndarray) -> dict:
    """COCO's compressed RLE of a mask, (H, W), bool or 0 and 1."""
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))


def rle_fields(rles: list[dict]) -> list[dict]:
    """The annotation fields `bbox` (x, y, width, height, tight), `area` and `segmentation` of masks
    of COCO's compressed RLE."""
    if not rles:
        return []
    boxes, areas = coco_mask.toBbox(rles).tolist(), coco_mask.area(rles).tolist()
    return [
        {
            "bbox": box,
            "area": int(area),
            "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
        }
        for rle, box, area in zip(rles, boxes, areas, strict=True)
    ]
