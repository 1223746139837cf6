"""Pictures of a source: decoded once to see that they are whole, and made smaller where asked."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from cosal_d2.utils.masks import mask_rle

ORIENTATION = 0x0112  # EXIF tag
JPEG_QUALITY = 95
# What Pillow raises on damaged files.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
MASK_STEPS = {
    2: np.fliplr,
    3: lambda m: np.rot90(m, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda m: np.rot90(m, -1),
    7: lambda m: np.rot90(m, 2).T,
    8: np.rot90,
}


@dataclass(frozen=True)
class Picture:
    """A picture whose data are whole.

    Attributes:
        file: its file.
        data: the file's content.
        stored: (height, width) before EXIF rotation, pixels.
        orientation: EXIF's, 1 to 8.
        is_jpeg: whether it is a JPEG.
    """

    file: Path
    data: bytes
    stored: tuple[int, int]
    orientation: int
    is_jpeg: bool

    @property
    def upright(self) -> tuple[int, int]:
        """(height, width) after EXIF rotation, as the network sees it."""
        return self.stored[::-1] if self.orientation >= 5 else self.stored


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(ORIENTATION, 1)
    return value if value in MASK_STEPS else 1


def picture_size(file: Path) -> tuple[int, int]:
    """(height, width) of a picture held upright, from its header.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no picture.
    """
    try:
        with Image.open(file) as image:
            size = image.size if _orientation(image) >= 5 else image.size[::-1]
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such picture; is its folder right?") from None
    except DAMAGED as error:
        raise ValueError(f"{file}: not readable as a picture ({error}); replace it") from error
    return size


def load_picture(file: Path, data: bytes | None = None) -> Picture:
    """Read a picture and decode all of its data; a JPEG's are not made into all pixels.

    Args:
        file: the picture.
        data: its content, where it is not to be read from the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no picture, or truncated.
    """
    try:
        data = file.read_bytes() if data is None else data
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise FileNotFoundError(f"{file}: no such picture; is its folder right?") from None
    try:
        with Image.open(io.BytesIO(data)) as image:
            size, is_jpeg = image.size[::-1], image.format in ("JPEG", "MPO")
            image.draft("L", (1, 1))
            image.load()
            return Picture(file, data, size, _orientation(image), is_jpeg)
    except DAMAGED as error:
        raise ValueError(
            f"{file}: not readable as a picture ({error}); replace the file"
        ) from error


def smaller(picture: Picture, max_side: int) -> tuple[bytes, str] | None:
    """The picture upright with its longest side at `max_side` pixels; None where it is no longer.

    Returns:
        The new file's content (JPEG of a JPEG, else PNG) and its suffix.
    """
    if max(picture.stored) <= max_side:
        return None
    with Image.open(io.BytesIO(picture.data)) as image:
        image.draft(None, (2 * max_side, 2 * max_side))
        upright = ImageOps.exif_transpose(image)
        size = scaled(picture.upright, max_side)[::-1]
        if upright.mode in ("P", "1", "PA"):
            upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        if upright.mode[0] in "IF":
            deep = np.asarray(upright, dtype=np.float32)
            deep = cv2.resize(deep, size, interpolation=cv2.INTER_AREA)
            upright = Image.fromarray(np.clip(np.nan_to_num(deep), 0, 65535).astype(np.uint16))
        else:
            upright = upright.resize(size, Image.Resampling.LANCZOS)
        out = io.BytesIO()
        if picture.is_jpeg:
            upright.save(out, "JPEG", quality=JPEG_QUALITY)
            return out.getvalue(), ".jpg"
        upright.save(out, "PNG", exif=b"")
        return out.getvalue(), ".png"


def scaled(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """(height, width) with the longest side at `max_side`, each at least 1."""
    factor = max_side / max(size)
    return tuple(max(1, round(v * factor)) for v in size)


def upright_rle(rle: dict, orientation: int) -> dict:
    """A mask of the stored picture as one of the upright picture."""
    if orientation == 1:
        return rle
    return mask_rle(MASK_STEPS[orientation](coco_mask.decode(rle)))


def scaled_rle(rle: dict, size: tuple[int, int]) -> dict:
    """A mask at another (height, width): pixels of which half or more were covered."""
    mask = coco_mask.decode(rle) * np.uint8(255)
    return mask_rle(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_AREA) >= 128)
