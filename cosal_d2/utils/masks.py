"""COCO's run-length masks: from any segmentation, and as json fields."""

from __future__ import annotations

from numbers import Real

import numpy as np
from pycocotools import mask as coco_mask

from cosal_d2.utils.coco_fields import shown

FARTHEST = 1e6  # pixels of a corner
MAX_DIGITS = 8  # of a run length in compressed RLE


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
        if isinstance(segmentation, dict):
            _check_rle(segmentation)
        if isinstance(segmentation, list) and segmentation:
            if not all(isinstance(p, list | tuple | np.ndarray) for p in segmentation):
                raise TypeError("a polygon is no list of numbers")
            polygons = [p for p in segmentation if len(p) >= 6 and len(p) % 2 == 0]
            if not polygons:
                raise TypeError("a polygon needs three points or more, x and y in turn")
            if not all(np.abs(np.asarray(p, float)).max() < FARTHEST for p in polygons):
                raise ValueError("a corner is no number, or far outside any picture")
            parts = coco_mask.frPyObjects(polygons, height, width)
            rle = parts[0] if len(parts) == 1 else coco_mask.merge(parts)
        elif isinstance(segmentation, dict) and not isinstance(segmentation["counts"], str | bytes):
            size, counts = ([int(v) for v in segmentation[k]] for k in ("size", "counts"))
            if min(counts, default=0) < 0:
                raise ValueError("a count is negative")
            if sum(counts) != np.prod(size):
                raise ValueError("the counts do not add up to height x width")
            rle = coco_mask.frPyObjects({"size": size, "counts": counts}, *size)
        elif isinstance(segmentation, dict):
            rle = {"size": list(segmentation["size"]), "counts": segmentation["counts"]}
            if isinstance(rle["counts"], str):
                rle["counts"] = rle["counts"].encode("ascii")
            if min(counts := _counts(rle["counts"])) < 0 or sum(counts) != np.prod(rle["size"]):
                raise ValueError("the counts do not add up to height x width")
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


def _check_rle(rle: dict) -> None:
    """Raise ValueError where `size` or `counts` are of another kind than RLE has."""
    size, counts = rle.get("size"), rle.get("counts")
    if not _are_whole(size) or len(size) != 2 or min(size) < 1:
        raise ValueError(f"its `size` is {shown(size)}, not height and width")
    if not _are_whole(counts) and not isinstance(counts, str | bytes):
        raise ValueError(f"its `counts` are {shown(counts)}, not run lengths")


def _are_whole(values: object) -> bool:
    """Whether it is a list, tuple or array of whole numbers, Python's or NumPy's."""
    if not isinstance(values, list | tuple | np.ndarray):
        return False
    numbers = [v for v in values if isinstance(v, Real) and not isinstance(v, bool)]
    return len(numbers) == len(values) and all(v % 1 == 0 for v in numbers)


def _counts(text: bytes) -> list[int]:
    """The run lengths in COCO's compressed RLE; pycocotools itself takes any text, and may then
    read beyond its memory or never end.

    A number is a string of characters from 48 on, five bits each, the lowest first, with bit 5 in
    all but its last and bit 4 of that as the sign; from the fourth on it is the difference to the
    number two places before (`rleFrString` of the COCO API).

    Raises:
        ValueError: it is no such text.
    """
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("the counts are no compressed run lengths")
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    digits = last - first + 1
    if digits.max() > MAX_DIGITS:
        raise ValueError("a count is too large")
    place = np.arange(len(codes)) - np.repeat(first, digits)
    numbers = np.add.reduceat((codes & 31) << 5 * place, first)
    numbers -= np.where(codes[last] & 16, np.int64(1) << 5 * digits, 0)
    for start in (1, 2):
        numbers[start::2] = np.cumsum(numbers[start::2])
    return numbers.tolist()


def mask_rle(mask: np.ndarray) -> dict:
    """COCO's compressed RLE of a mask, (H, W), bool or 0 and 1."""
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))


def boxed_mask_rle(mask: np.ndarray, corner: tuple[int, int], height: int, width: int) -> dict:
    """COCO's compressed RLE of a mask that fills a part of its picture, at the cost of that part.

    Args:
        mask: (h, w), bool or 0 and 1.
        corner: x and y of its first pixel in the picture.
        height, width: of the picture, pixels.
    """
    x, y = corner
    # Runs go down the columns; where they start and end, in turn.
    columns = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)
    columns[:, 1:-1] = mask.T
    column, row = np.nonzero(np.diff(columns, axis=1))
    edges = (x + column) * height + y + row
    # A run that ends at the foot of a column goes on where the next one starts at its head.
    meeting = np.flatnonzero(edges[1:] == edges[:-1])
    edges = np.delete(edges, [meeting, meeting + 1])
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    if len(counts) > 1 and counts[-1] == 0:
        counts.pop()
    return coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def rle_fields(rles: list[dict]) -> list[dict]:
    """The annotation fields `bbox` (x, y, width, height, tight), `area` and `segmentation` of masks
    of COCO's compressed RLE."""
    if not rles:
        return []
    return [
        {
            "bbox": box,
            "area": int(coco_mask.area(rle)),  # of a list it takes no more than 255
            "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
        }
        for rle, box in zip(rles, coco_mask.toBbox(rles).tolist(), strict=True)
    ]
