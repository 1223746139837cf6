"""Masks that are pictures: read as numbers, and taken apart into objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cosal_d2.prepare.convert.pictures import DAMAGED
from cosal_d2.utils.masks import mask_rle


def read_values(file: Path) -> np.ndarray:
    """Pixel values of a mask picture, (H, W) integers.

    Indices of a palette of colours, grey levels or, for colours, a number each (black is 0). Fully
    transparent pixels are 0.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no picture.
    """
    try:
        with Image.open(file) as image:
            image.load()
            if image.mode == "P":
                values = _grey_levels(image)
            elif image.mode in ("1", "L") or image.mode[0] in "IF":
                values = np.asarray(image).astype(np.int64)
            elif image.mode in ("LA", "PA"):
                pixels = np.asarray(image)
                values = pixels[:, :, 0].astype(np.int64) * (pixels[:, :, 1] > 0)
            else:
                values = _colour_numbers(np.asarray(image.convert("RGBA")))
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such mask; is its folder right?") from None
    except DAMAGED as error:
        raise ValueError(f"{file}: not readable as a mask ({error}); replace the file") from error
    return values


def _grey_levels(image: Image.Image) -> np.ndarray:
    """The grey levels of a palette picture that is grey, as programs write to save space; else the
    palette's indices."""
    values = np.asarray(image).astype(np.int64)
    colours = np.reshape(image.getpalette("RGB"), (-1, 3)).astype(np.int64)
    used = np.unique(values)
    if used[-1] >= len(colours):
        return values
    shown = colours[used]
    distinct = len(np.unique(shown[:, 0])) == len(used)
    grey = bool((shown == shown[:, :1]).all())
    return colours[values, 0] if grey and distinct else values


def _colour_numbers(rgba: np.ndarray) -> np.ndarray:
    pixels = rgba.astype(np.int64)
    red, green, blue, alpha = np.moveaxis(pixels, 2, 0)
    grey = bool(((red == green) & (green == blue)).all())
    return (red if grey else (red << 16) + (green << 8) + blue) * (alpha > 0)


def read_binary(file: Path, threshold: int | None = None) -> np.ndarray:
    """A binary mask, bool (H, W).

    Args:
        file: black and white, 0 and another value, grey levels, 16-bit, or coloured (by its
            brightest channel). Of a palette the colours count, not their indices.
        threshold: pixels of this value or more are inside; None: all but 0 where 0 and one other
            value are all there is, or where a palette has colours; else half of the range of the
            file's type, or half of the highest value where that is within the range's second
            quarter.

    Raises:
        FileNotFoundError, ValueError: as `read_values`.
    """
    values = read_values(file)
    plain = False
    with Image.open(file) as image:
        if image.mode in ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"):
            pixels = np.asarray(image.convert("RGBA"))
            values = pixels[:, :, :3].max(axis=2).astype(np.int64) * (pixels[:, :, 3] > 0)
            lowest = pixels[:, :, :3].min(axis=2) * (pixels[:, :, 3] > 0)
            if image.mode in ("P", "PA"):
                plain = bool((values != lowest).any())
                values = values if values.any() else read_values(file)
        lossless = image.format not in ("JPEG", "MPO")
    if threshold is None:
        high = int(values.max(initial=0))
        if lossless and (high <= 1 or not values.all()):
            plain |= bool(((values == 0) | (values == high)).all())
        full = 255 if high <= 255 else 65535 if high <= 65535 else high
        threshold = 1 if plain else (high if full // 4 < high <= full // 2 else full) // 2 + 1
    return values >= threshold


def components(mask: np.ndarray, min_area: float, opening: int) -> list[dict]:
    """Connected parts (8 neighbours) of a mask as RLE, largest first.

    Args:
        mask: bool (H, W).
        min_area: smaller parts are dropped, pixels.
        opening: radius in pixels of a disc; bridges and threads thinner than it part objects. The
            pixels that the opening took away go back to the part that touches them, so that parts
            together cover the mask as before, but for what vanished altogether.
    """
    opened = mask.astype(np.uint8)
    if opening:
        side = 2 * opening + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        padded = np.pad(opened, opening)
        opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, disc)
        opened = opened[opening:-opening, opening:-opening]
    count, labels = cv2.connectedComponents(np.ascontiguousarray(opened), connectivity=8)
    if opening and count > 1:
        labels = _grow(labels, mask)
    areas = np.bincount(labels.ravel(), minlength=count)
    areas[0] = 0
    large = [int(i) for i in np.argsort(-areas, kind="stable") if areas[i] >= max(min_area, 1)]
    return [mask_rle(labels == i) for i in large]


def _grow(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Labels spread over their connected parts of the mask, each pixel to the nearest label."""
    _, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    occupied = np.zeros(regions.max() + 1, dtype=bool)
    occupied[regions[labels > 0]] = True
    missing = mask & (labels == 0) & occupied[regions]
    _, nearest = cv2.distanceTransformWithLabels(
        (labels == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(nearest.max() + 1, dtype=labels.dtype)
    owner[nearest[labels > 0]] = labels[labels > 0]
    return np.where(missing, owner[nearest], labels)


def indexed(values: np.ndarray, void: frozenset[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Index and mask, bool (H, W), of each object of an instance-index picture, one by one.

    Args:
        values: (H, W) integers; 0 is background.
        void: values that belong to no object.
    """
    for value in np.unique(values):
        if value != 0 and int(value) not in void:
            yield int(value), values == value
