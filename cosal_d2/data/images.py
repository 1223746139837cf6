"""Reading pictures of any kind into 8-bit BGR."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from detectron2.utils.file_io import PathManager
from PIL import Image, ImageOps


def read_image(path: str) -> np.ndarray:
    """Read a picture upright, as uint8 BGR (H, W, 3).

    Detectron2's reader saturates 16-bit pictures and keeps the hidden colours under transparency;
    here 16-bit values are scaled to 8 bits and transparent pictures are laid on white. EXIF
    rotation is applied.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a picture, or is truncated.
    """
    return np.ascontiguousarray(_read(path, _to_rgb)[:, :, ::-1])


def read_grey(path: str) -> np.ndarray:
    """Read a map or a mask upright, as uint8 (H, W).

    Colours become their luminance and transparency is ignored, as OpenCV's grey reader does; 16-bit
    and float values are scaled to 8 bits, and a palette gives its colours.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a picture, or is truncated.
    """
    return _read(path, _to_grey)


def _read(path: str, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    if not PathManager.isfile(path):
        raise FileNotFoundError(f"no such picture: {path}")
    try:
        with PathManager.open(path, "rb") as f, Image.open(f) as image:
            return convert(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read {path} as a picture: {error}") from error


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
    return np.asarray(image.convert("RGB"))


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
