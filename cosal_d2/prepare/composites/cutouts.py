"""Objects cut out of photographs: which ones can be used, and their pixels with soft edges."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask

BORDER = 2  # pixels: an object's box nearer to the frame counts as cut by it
MIN_SIDE, MIN_AREA = 28, 400  # pixels
MAIN_PART = 0.85  # least share of an object's pixels in its largest connected part
MAX_HOLES = 0.15  # of an object's filled outline
MIN_CORE = 0.5  # least share of an object's pixels that its rim leaves
PAD = 3  # transparent pixels around a cut-out
LONGEST = 1229  # pixels; a larger cut-out is made smaller, as no picture shows so much of it


@dataclass(frozen=True)
class Sprite:
    """The pixels of a cut-out.

    Attributes:
        pixels: float32 (h + 2 PAD, w + 2 PAD, 4): BGR premultiplied with alpha, 0 to 255, and alpha
            0 to 1; made smaller where the longest side is more than `LONGEST`.
        width, height: of the object where it was cut out, w and h, pixels.
    """

    pixels: np.ndarray
    width: int
    height: int

    @property
    def side(self) -> float:
        """Geometric mean of width and height."""
        return float(np.sqrt(self.width * self.height))


def _smooth(mask: np.ndarray) -> np.ndarray:
    return cv2.medianBlur(np.pad(mask, PAD), 3)


def _core(mask: np.ndarray) -> np.ndarray:
    """A mask, uint8 (h, w), 0 or 1, without its rim, where the former background may show.

    Returns:
        uint8 (h + 2 PAD, w + 2 PAD), 0 or 1.
    """
    size = 3 if np.sqrt(mask.size) < 90 else 5
    return cv2.erode(_smooth(mask), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))


def _is_whole(mask: np.ndarray) -> bool:
    """Whether a mask, uint8 (h, w), 0 or 1, is one piece without large holes."""
    padded = np.pad(mask, 1)
    _, _, parts, _ = cv2.connectedComponentsWithStats(padded, connectivity=8)
    if parts[1:, cv2.CC_STAT_AREA].max(initial=0) < MAIN_PART * mask.sum():
        return False
    _, _, gaps, _ = cv2.connectedComponentsWithStats(1 - padded, connectivity=4)
    holes = int((1 - padded).sum()) - int(gaps[1:, cv2.CC_STAT_AREA][0]) if len(gaps) > 1 else 0
    return holes <= MAX_HOLES * (holes + mask.sum())


def object_mask(rle: dict, box: tuple[int, int, int, int]) -> np.ndarray:
    """The part of a mask inside a box x, y, width, height; uint8 (height, width), 0 or 1."""
    x, y, w, h = box
    return coco_mask.decode(rle)[y : y + h, x : x + w]


def usable_box(rle: dict) -> tuple[int, int, int, int] | None:
    """The box x, y, width, height (pixels) of an object that can be cut out.

    Args:
        rle: COCO's compressed run-length mask of the object in its picture.

    Returns:
        None for an object that the frame cuts, for a small one, a thread, and for one in pieces or
        with large holes (something stood before it).
    """
    height, width = rle["size"]
    x, y, w, h = box = tuple(int(v) for v in coco_mask.toBbox(rle))
    inside = min(x, y) >= BORDER and x + w <= width - BORDER and y + h <= height - BORDER
    if not inside or min(w, h) < MIN_SIDE or coco_mask.area(rle) < MIN_AREA:
        return None
    mask = object_mask(rle, box)
    if not _is_whole(mask) or _core(mask).sum() < MIN_CORE * mask.sum():
        return None
    return box


def cut_out(image: np.ndarray, mask: np.ndarray) -> Sprite:
    """Cut an object out of a photograph.

    The mask is eroded a little, so that nothing of the former background shows, and feathered.

    Args:
        image: uint8 BGR (h, w, 3), the photograph inside the object's box.
        mask: uint8 (h, w), 0 or 1, the object's mask inside its box.
    """
    core = _core(mask).astype(np.float32)
    return to_sprite(image, cv2.GaussianBlur(core, (0, 0), 0.8) * (_smooth(mask) > 0))


def to_sprite(image: np.ndarray, alpha: np.ndarray) -> Sprite:
    """A sprite of given transparency.

    Args:
        image: uint8 BGR (h, w, 3).
        alpha: float32 (h + 2 PAD, w + 2 PAD), 0 to 1.
    """
    height, width = image.shape[:2]
    colour = cv2.copyMakeBorder(np.ascontiguousarray(image), *[PAD] * 4, cv2.BORDER_REPLICATE)
    pixels = np.dstack([colour.astype(np.float32) * alpha[:, :, None], alpha])
    scale = LONGEST / max(pixels.shape[:2])
    if scale < 1:
        size = [max(1, round(v * scale)) for v in pixels.shape[1::-1]]
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return Sprite(pixels, width, height)
