"""Reading pictures of any kind into 8-bit BGR."""

from __future__ import annotations

import numpy as np
from detectron2.utils.file_io import PathManager
from PIL import Image

from cosal_d2.pixels import upright_bgr


def read_image(path: str) -> np.ndarray:
    """Read a picture upright, as uint8 BGR (H, W, 3).

    Detectron2's reader saturates 16-bit pictures and keeps the hidden colours under transparency;
    here 16-bit values are scaled to 8 bits and transparent pictures are laid on white. EXIF
    rotation is applied.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a picture, or is truncated.
    """
    if not PathManager.isfile(path):
        raise FileNotFoundError(f"no such picture: {path}")
    try:
        with PathManager.open(path, "rb") as f, Image.open(f) as image:
            return upright_bgr(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read {path} as a picture: {error}") from error
