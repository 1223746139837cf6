"""Reading pictures of any kind, 8-bit BGR or grey and upright, and writing PNG."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from cosal_d2.utils.files import write_bytes

# Names of picture files, in lower case.
PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"),
    *(".webp", ".gif", ".ppm", ".pgm"),
)
# What Pillow and its readers raise on files that are no pictures, or damaged ones.
READING_ERRORS = (
    *(OSError, SyntaxError, EOFError, ValueError, struct.error, zlib.error),
    Image.DecompressionBombError,
)


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read a picture upright, as uint8 BGR (H, W, 3).

    Detectron2's reader saturates 16-bit pictures and keeps the hidden colours under transparency;
    here 16-bit values are scaled to 8 bits and transparent pictures are laid on white. EXIF
    rotation is applied.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a picture, or is truncated.
    """
    return _read(path, upright_bgr)


def read_grey(path: str | os.PathLike) -> np.ndarray:
    """Read a map or a mask upright, as uint8 (H, W).

    Colours become their luminance and transparency is ignored, as OpenCV's grey reader does (whose
    luminance may be one level lower); 16-bit and float values are scaled to 8 bits, and a palette
    gives its colours.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a picture, or is truncated.
    """
    return _read(path, upright_grey)


def _read(path: str | os.PathLike, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no such picture: {path}")
    try:
        with Image.open(path) as image:
            return convert(image)
    except READING_ERRORS as error:
        raise ValueError(f"cannot read {path} as a picture: {error}") from error


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG that replaces a former file as a whole.

    ``cv2.imwrite`` ends the process on a name that is not UTF-8; this takes any.

    Args:
        path: of the file.
        pixels: uint8 BGR (H, W, 3) or grey (H, W).
    """
    write_bytes(path, cv2.imencode(".png", pixels)[1].tobytes())


def upright_bgr(image: Image.Image) -> np.ndarray:
    """A picture turned as its EXIF orientation says, uint8 BGR (H, W, 3).

    16-bit values are scaled to 8 bits, and transparent pictures are laid on white.

    Raises:
        OSError: the file is truncated.
        SyntaxError: the file is damaged.
    """
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # otherwise it would be copied
        image = ImageOps.exif_transpose(image)
    return np.ascontiguousarray(_to_rgb(image)[:, :, ::-1])


def upright_grey(image: Image.Image) -> np.ndarray:
    """A map or a mask turned as its EXIF orientation says, uint8 (H, W).

    Colours become their luminance and transparency is ignored, as OpenCV's grey reader does; 16-bit
    and float values are scaled to 8 bits, and a palette gives its colours.

    Raises:
        OSError: the file is truncated.
        SyntaxError: the file is damaged.
    """
    return _to_grey(ImageOps.exif_transpose(image))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width in pixels of what :func:`upright_bgr` gives."""
    turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def picture_size(file: str | os.PathLike) -> tuple[int, int]:
    """(height, width) of a picture held upright, from its header.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no picture.
    """
    try:
        with Image.open(file) as image:
            return upright_size(image)
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such picture; is its folder right?") from None
    except READING_ERRORS as error:
        raise ValueError(f"{file}: not readable as a picture ({error}); replace it") from error


def _to_grey(image: Image.Image) -> np.ndarray:
    if image.mode[0] in "IF":
        return _scaled(image)
    if image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA").convert("RGB")
    return np.array(image.convert("L"))


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode[0] in "IF":
        return np.repeat(_scaled(image)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _scaled(image: Image.Image) -> np.ndarray:
    values = np.asarray(image, dtype=np.float64)
    grey = np.clip(np.nan_to_num(values) * _scale(image.mode, values), 0, 255)
    return (grey + 0.5).astype(np.uint8)


def _scale(mode: str, values: np.ndarray) -> float:
    """Factor to 0-255: 16-bit integers span 0-65535, floats 0-1, 0-255 or 0-65535."""
    high = np.nanmax(values, initial=0)
    if mode == "F" and high <= 1:
        return 255.0
    if mode in ("I", "F") and high <= 255:
        return 1.0
    return 255.0 / max(65535.0, high)
