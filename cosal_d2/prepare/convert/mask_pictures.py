"""Masks that are pictures, read as numbers or as black and white."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from cosal_d2.utils.pictures import READING_ERRORS


def read_values(file: Path) -> np.ndarray:
    """Pixel values of a mask picture, (H, W) integers.

    Indices of a palette of colours, grey levels or, for colours, a number each (black is 0). Fully
    transparent pixels are 0.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no picture.
    """
    return _values(_load(file))


def indexed(values: np.ndarray, void: frozenset[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Index and mask, bool (H, W), of each object of an instance-index picture, one by one.

    Args:
        values: (H, W) integers; 0 is background.
        void: values that belong to no object.
    """
    for value in np.unique(values):
        if value != 0 and int(value) not in void:
            yield int(value), values == value


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
    image = _load(file)
    coloured_palette = False
    if image.mode in ("1", "L", "LA") or image.mode[0] in "IF":
        values = _values(image)
    else:
        colours = _colours(image)
        values = colours.max(axis=2)
        if image.mode in ("P", "PA"):
            coloured_palette = bool((colours != values[:, :, None]).any())
            values = values if values.any() else _values(image)
    if threshold is None:
        high = int(values.max(initial=0))
        lossless = image.format not in ("JPEG", "MPO")
        two_valued = bool(((values == 0) | (values == high)).all())
        if coloured_palette or (lossless and two_valued and (high <= 1 or not values.all())):
            threshold = 1
        else:
            full = 255 if high <= 255 else 65535 if high <= 65535 else high
            threshold = (high if full // 4 < high <= full // 2 else full) // 2 + 1
    return values >= threshold


def _load(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such mask; is its folder right?") from None
    except READING_ERRORS as error:
        raise ValueError(f"{file}: not readable as a mask ({error}); replace the file") from error


def _values(image: Image.Image) -> np.ndarray:
    if image.mode == "P":
        return _palette_values(image)
    if image.mode in ("1", "L") or image.mode[0] in "IF":
        return np.asarray(image).astype(np.int64)
    if image.mode in ("LA", "PA"):
        pixels = np.asarray(image).astype(np.int64)
        return pixels[:, :, 0] * (pixels[:, :, 1] > 0)
    colours = _colours(image)
    red, green, blue = np.moveaxis(colours, 2, 0)
    grey = bool((colours == red[:, :, None]).all())
    return red if grey else (red << 16) + (green << 8) + blue


def _palette_values(image: Image.Image) -> np.ndarray:
    """The grey levels of a palette picture that is grey, as programs write to save space; else the
    palette's indices."""
    indices = np.asarray(image).astype(np.int64)
    colours = np.reshape(image.getpalette("RGB"), (-1, 3)).astype(np.int64)
    used = np.unique(indices)
    if used[-1] >= len(colours):
        return indices
    shown = colours[used]
    distinct = len(np.unique(shown[:, 0])) == len(used)
    grey = bool((shown == shown[:, :1]).all())
    return colours[indices, 0] if grey and distinct else indices


def _colours(image: Image.Image) -> np.ndarray:
    """RGB, (H, W, 3) integers; black where the picture is fully transparent."""
    rgba = np.asarray(image.convert("RGBA")).astype(np.int64)
    return rgba[:, :, :3] * (rgba[:, :, 3:] > 0)
