"""Backgrounds free of annotated objects: crops of photographs, or photographs inpainted."""

from __future__ import annotations

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from cosal_d2.prepare.composites.sources import Picture, read_photo
from cosal_d2.utils.masks import mask_rle

CELL = 8  # pixels of the grid on which free rectangles are sought
CLEARANCE = 7  # pixels kept free around objects, for their shadows
MAX_ENLARGE = 2.3  # of a crop
MAX_INPAINTED = 0.25  # share of a photograph
MAX_COVERED = 0.9  # share of a photograph: more leaves nothing to fill holes from
MIN_SIDE = 32  # pixels of a photograph
INCOMPLETE = 0.2  # share of backgrounds from pictures where objects may lack annotations
CROP_FIRST = 0.6  # chance that a crop is sought before anything is inpainted
INPAINT_SIDE = 160  # longest side in pixels at which holes are filled
TRIES = 40


def _union(picture: Picture) -> dict:
    """COCO's compressed RLE of all annotated pixels."""
    rles = [a.rle for a in picture.annotations]
    return coco_mask.merge(rles or [mask_rle(np.zeros((picture.height, picture.width)))])


def _occupied(picture: Picture) -> np.ndarray:
    """Annotated pixels and `CLEARANCE` around them, uint8 (H, W), 0 or 1."""
    size = 2 * CLEARANCE + 1
    mask = np.ascontiguousarray(coco_mask.decode(_union(picture)))
    return cv2.dilate(mask, np.ones((size, size), np.uint8))


def largest_free_box(occupied: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """The largest box of shape height : width that holds no occupied pixel.

    Args:
        occupied: (H, W), non-zero where objects are.
        height, width: give the aspect ratio.

    Returns:
        x, y, width, height in pixels, on a grid of `CELL` pixels; width 0 where none is free.
    """
    rows, columns = occupied.shape[0] // CELL, occupied.shape[1] // CELL
    cells = occupied[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL)
    sums = np.pad(np.cumsum(np.cumsum(cells.any((1, 3)), 0), 1), ((1, 0), (1, 0)))

    def spots(k: int) -> tuple[np.ndarray, int, int]:
        h, w = k, k
        if width >= height:
            w = max(1, round(k * width / height))
        else:
            h = max(1, round(k * height / width))
        if h > rows or w > columns:
            return np.zeros((0, 2), int), h, w
        inside = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
        return np.argwhere(inside == 0), h, w

    low, high = 0, min(rows, columns)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(spots(middle)[0]) else (low, middle - 1)
    if low == 0:
        return 0, 0, 0, 0
    found, h, w = spots(low)
    row, column = found[len(found) // 2]
    return int(column) * CELL, int(row) * CELL, w * CELL, h * CELL


def inpaint(rng: np.random.Generator, image: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    """Fill the occupied pixels from around them, with the grain of the rest.

    Where next to nothing is free they become one colour, the median of what there is.

    Args:
        rng: source of the grain.
        image: uint8 BGR (H, W, 3).
        occupied: uint8 (H, W), 1 where objects are.
    """
    factor = INPAINT_SIDE / max(image.shape[:2])
    size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
    holes = cv2.dilate(
        (cv2.resize(occupied.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0).astype(
            np.uint8
        ),
        np.ones((3, 3), np.uint8),
    )
    free = occupied == 0
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if holes.all():
        small[:] = np.median(image[free] if free.any() else image.reshape(-1, 3), axis=0)
    else:
        small = cv2.inpaint(small, holes, 4, cv2.INPAINT_TELEA)
    whole = (image.shape[1], image.shape[0])
    filled = cv2.resize(small, whole, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    photo = image.astype(np.float32)
    rest = photo - cv2.GaussianBlur(photo, (0, 0), 1.5)
    level = np.minimum(np.median(np.abs(rest[free]), axis=0) * 0.8, 4) if free.any() else 1.0
    grain = rng.standard_normal((*image.shape[:2], 1), dtype=np.float32)
    filled += cv2.GaussianBlur(grain, (0, 0), 0.7)[:, :, None] * 2 * level
    blend = cv2.GaussianBlur(occupied.astype(np.float32), (0, 0), 2)[:, :, None]
    blend = np.clip(blend * 2, 0, 1)
    return np.clip(photo + blend * (filled - photo), 0, 255).astype(np.uint8)


def _serves(picture: Picture) -> bool:
    """Whether a picture is neither tiny nor full of objects."""
    covered = coco_mask.area(_union(picture)) / (picture.height * picture.width)
    return min(picture.height, picture.width) >= MIN_SIDE and covered <= MAX_COVERED


def _fit(rng: np.random.Generator, image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A random part of the image of the wanted shape, as large as fits, resized."""
    h, w = image.shape[:2]
    scale = min(h / height, w / width)
    ch, cw = (min(s, max(1, round(v * scale))) for s, v in ((h, height), (w, width)))
    y, x = int(rng.integers(h - ch + 1)), int(rng.integers(w - cw + 1))
    crop = image[y : y + ch, x : x + cw]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    method = cv2.INTER_AREA if ch > height else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(crop), (width, height), interpolation=method)


class Backgrounds:
    """Draws backgrounds from photographs.

    Args:
        pictures: photographs; those that are not completely annotated serve with probability
            `INCOMPLETE`, or where there are no others. Those with a side under `MIN_SIDE`, or
            covered by more than `MAX_COVERED`, serve where there are no others at all.
    """

    def __init__(self, pictures: list[Picture]) -> None:
        self.pictures = [p for p in pictures if _serves(p)] or pictures
        self.complete = [k for k, p in enumerate(self.pictures) if p.complete]

    def draw(
        self, rng: np.random.Generator, height: int, width: int, avoid: set[str]
    ) -> np.ndarray:
        """A background of the given size.

        Photographs are drawn until one will do: one whose largest free box of the wanted shape need
        not be enlarged more than `MAX_ENLARGE` times (that box is the background), or, if no such
        is found or with probability 1 - `CROP_FIRST`, one of whose area objects cover no more than
        `MAX_INPAINTED` (they are inpainted).

        Args:
            rng: source of randomness.
            height, width: pixels.
            avoid: classes; photographs that show one are used only where nothing else is left.

        Returns:
            uint8 BGR (height, width, 3).
        """
        incomplete = rng.random() < INCOMPLETE or not self.complete
        order = rng.permutation(len(self.pictures) if incomplete else self.complete)
        clear = [k for k in order if not self.pictures[k].class_names & avoid]
        tried = [self.pictures[k] for k in (clear or order)[:TRIES]]
        crop_first = rng.random() < CROP_FIRST
        least = np.inf
        for picture in tried:
            occupied = _occupied(picture)
            x, y, w, h = largest_free_box(occupied, height, width)
            if w and width <= MAX_ENLARGE * w:
                return _fit(rng, read_photo(picture.file)[y : y + h, x : x + w], height, width)
            share = occupied.mean()
            will_do = share <= MAX_INPAINTED and not crop_first
            if will_do or share < least:
                chosen, least = (picture, occupied), share
            if will_do:
                break
        picture, occupied = chosen
        return _fit(rng, inpaint(rng, read_photo(picture.file), occupied), height, width)
