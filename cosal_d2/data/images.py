"""Reading pictures of any kind into 8-bit BGR."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from detectron2.utils.file_io import PathManager
from PIL import Image

from cosal_d2.pixels import upright_bgr, upright_grey


def read_image(path: str) -> np.ndarray:
    """Read a picture upright, as uint8 BGR (H, W, 3).

    Detectron2's reader saturates 16-bit pictures and keeps the hidden colours under transparency;
    here 16-bit values are scaled to 8 bits and transparent pictures are laid on white. EXIF
    rotation is applied.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a picture, or is truncated.
    """
    return _read(path, upright_bgr)


def read_grey(path: str) -> np.ndarray:
    """Read a map or a mask upright, as uint8 (H, W).

    Colours become their luminance and transparency is ignored, as OpenCV's grey reader does (whose
    luminance may be one level lower); 16-bit and float values are scaled to 8 bits, and a palette
    gives its colours.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a picture, or is truncated.
    """
    return _read(path, upright_grey)


def _read(path: str, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    if not PathManager.isfile(path):
        raise FileNotFoundError(f"no such picture: {path}")
    try:
        with PathManager.open(path, "rb") as f, Image.open(f) as image:
            return convert(image)
    except (OSError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read {path} as a picture: {error}") from error
