"""The limit of a picture's pixels: larger ones are read at reduced scale, or refused."""

from __future__ import annotations

import math
import os

import cv2
import numpy as np
from PIL import ExifTags, Image

from cosal_d2.utils.pixel_values import say_once

# Larger pictures are read at reduced scale; the environment variable gives another limit.
LIMIT_VARIABLE = "COSAL_MAX_MEGAPIXELS"
MAX_MEGAPIXELS = 179.0
# Only JPEG can be decoded at reduced scale. Others are refused over so many times the limit.
FULL_DECODING = 4
NAME = "picture_name"  # key in `Image.info`


def max_pixels() -> int:
    """Pixels over which a picture is read at reduced scale.

    Raises:
        ValueError: ``COSAL_MAX_MEGAPIXELS`` is no number over 0.
    """
    text = os.environ.get(LIMIT_VARIABLE, str(MAX_MEGAPIXELS))
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise ValueError(f"{LIMIT_VARIABLE} is {text!r}; give millions of pixels, such as 400")
    return int(limit * 1e6)


def check_size(image: Image.Image, times: int = FULL_DECODING) -> None:
    """Refuse a picture that would take too much memory to decode.

    Args:
        image: opened, but not loaded.
        times: the limit that its pixels may have; 1 for what is not made smaller, as masks.

    Raises:
        ValueError: it has more.
    """
    check_pixels(image.height, image.width, times)


def check_pixels(height: int, width: int, times: int = FULL_DECODING) -> None:
    """Refuse a size, such as a json's, whose masks would take too much memory.

    Raises:
        ValueError: it has over so many times the pixels of the limit.
    """
    limit, pixels = max_pixels(), height * width
    if pixels > times * limit:
        over = f"over {times} times the limit" if times > 1 else "over the limit"
        raise ValueError(
            f"it has {pixels / 1e6:.0f} megapixels, {over} of {limit / 1e6:g}; make it smaller, or "
            f"set {LIMIT_VARIABLE}"
        )


def decoded_smaller(image: Image.Image) -> None:
    """Have a JPEG over the limit decoded at reduced scale; refuse what takes too much memory.

    Args:
        image: opened, but not loaded.

    Raises:
        ValueError: it has over four times the pixels of the limit, and is no JPEG.
    """
    limit, size = max_pixels(), (image.width, image.height)
    factor = math.ceil(math.sqrt(size[0] * size[1] / limit))
    if factor > 1:
        image.draft(None, (size[0] // factor, size[1] // factor))
        if image.size != size:
            _say_smaller(picture_name(image), image.height, image.width, limit)
    check_size(image)


def reduced(image: Image.Image) -> Image.Image:
    """A picture of 8 bits a channel, made smaller where it is over the limit."""
    limit = max_pixels()
    factor = math.ceil(math.sqrt(image.width * image.height / limit))
    if factor <= 1:
        return image
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if image.mode in ("1", "P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    smaller = image.reduce(factor)
    smaller.getexif()[ExifTags.Base.Orientation] = orientation
    _say_smaller(picture_name(image), smaller.height, smaller.width, limit)
    return smaller


def fitted(pixels: np.ndarray, name: str | os.PathLike) -> np.ndarray:
    """Pixels (H, W, 3), made smaller where they are over the limit."""
    limit, (height, width) = max_pixels(), pixels.shape[:2]
    factor = math.ceil(math.sqrt(height * width / limit))
    if factor > 1:
        size = -(-width // factor), -(-height // factor)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        _say_smaller(os.fspath(name), *pixels.shape[:2], limit)
    return np.ascontiguousarray(pixels)


def _say_smaller(name: str, height: int, width: int, limit: int) -> None:
    say_once(
        f"{name}: over {limit / 1e6:g} megapixels, so it is read at reduced scale, {width} x "
        f"{height} pixels (width x height); {LIMIT_VARIABLE} raises the limit"
    )


def picture_name(image: Image.Image) -> str:
    """The file of an opened picture, for messages."""
    return image.info.get(NAME) or os.fsdecode(getattr(image, "filename", "")) or "a picture"
