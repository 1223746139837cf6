"""A picture's file: decoded once to see that it is whole, and made smaller where asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, UnidentifiedImageError
from pycocotools import mask as coco_mask

from cosal_d2.utils.files import need_file
from cosal_d2.utils.masks import mask_rle
from cosal_d2.utils.pictures import (
    READING_ERRORS,
    decode_image,
    encoded,
    open_picture,
    other_tiff,
    unreadable,
    upright_size,
)
from cosal_d2.utils.pixel_values import TURNS
from cosal_d2.utils.size_limit import check_size

JPEG_QUALITY = 95


@dataclass(frozen=True)
class Picture:
    """A picture whose data are whole.

    Attributes:
        file: the picture's path.
        data: the file's content.
        stored: (height, width) before EXIF rotation, pixels.
        upright: (height, width) after it, as the network sees the picture.
        orientation: EXIF's, 1 to 8.
        is_jpeg: whether it is a JPEG.
    """

    file: Path
    data: bytes
    stored: tuple[int, int]
    upright: tuple[int, int]
    orientation: int
    is_jpeg: bool


def load_picture(file: Path, data: bytes | None = None) -> Picture:
    """Read a picture and decode all of its data; a JPEG's are not made into all pixels.

    Args:
        file: the picture.
        data: its content, where it is not to be read from the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no picture, or truncated.
    """
    if data is None:
        need_file(file, "picture")
        data = file.read_bytes()
    try:
        with open_picture(data, str(file)) as image:
            upright = upright_size(image)
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            orientation = orientation if orientation in range(2, 9) else 1
            stored = upright[::-1] if orientation in (5, 6, 7, 8) else upright
            image.draft("L", (1, 1))
            check_size(image)
            image.load()
            is_jpeg = image.format in ("JPEG", "MPO")
            return Picture(file, data, stored, upright, orientation, is_jpeg)
    except UnidentifiedImageError as error:
        values = other_tiff(data)
        if values is None:
            raise unreadable(file, error, data) from error
        picture = Picture(file, data, values.shape[:2], values.shape[:2], 1, False)
        decode_image(file, data)  # has it a number?
        return picture
    except READING_ERRORS as error:
        raise unreadable(file, error, data) from error


def smaller(picture: Picture, max_side: int) -> tuple[bytes, str]:
    """The picture upright, 8-bit, with its longest side at `max_side` pixels.

    Returns:
        The new file's content (JPEG of a JPEG, else PNG) and its suffix.
    """
    pixels = decode_image(picture.file, picture.data, max_side)
    size = scaled(picture.upright, max_side)
    pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    suffix = ".jpg" if picture.is_jpeg else ".png"
    return encoded(pixels, suffix, JPEG_QUALITY if picture.is_jpeg else None), suffix


def scaled(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """(height, width) with the longest side at `max_side`, each at least 1."""
    factor = max_side / max(size)
    return tuple(max(1, round(v * factor)) for v in size)


def upright_rle(rle: dict, orientation: int) -> dict:
    """A mask of the stored picture as one of the upright picture."""
    return mask_rle(TURNS[orientation](coco_mask.decode(rle)))


def scaled_rle(rle: dict, size: tuple[int, int]) -> dict:
    """A mask at another (height, width): pixels of which half or more were covered."""
    mask = coco_mask.decode(rle) * np.uint8(255)
    return mask_rle(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_AREA) >= 128)
