"""A file that somebody sent, as a picture: looked at with suspicion."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image, UnidentifiedImageError

from cosal_d2.inference.web.limits import Limits, Refused, too_large
from cosal_d2.utils.pictures import READING_ERRORS, open_picture, upright_bgr

# Pillow's readers of other kinds start programs (EPS) or are seldom looked after.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
KINDS = "JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP"
LONGEST_NAME = 200


def read_upload(content: bytes, limits: Limits) -> np.ndarray:
    """The picture in a file's content, upright, uint8 BGR (H, W, 3).

    Its kind is told by its content, never by its name or its declared type, and its size by its
    header, before anything is decoded.

    Raises:
        Refused: it is no picture of a known kind, damaged, or over a limit.
    """
    if not content:
        raise Refused("the file is empty; send a picture")
    if len(content) > limits.bytes:
        raise too_large(limits)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
        if width * height > limits.megapixels * 1e6:
            raise Refused(
                f"the picture has {width} x {height} pixels, over {limits.megapixels:g} million, "
                "the limit here; send a smaller one",
                413,
            )
        with open_picture(content, "the picture") as image:
            return upright_bgr(image)
    except Refused:
        raise
    except UnidentifiedImageError:
        raise Refused(f"the file is no picture of a known kind; send {KINDS}", 415) from None
    except (*READING_ERRORS, MemoryError, OverflowError):
        raise Refused(f"the picture is damaged or unusual; save it anew as {KINDS}") from None


def plain_name(name: str | None) -> str:
    """What a file is called, without folders and control characters; "picture" for nothing."""
    last = re.split(r"[/\\]", name or "")[-1]
    return re.sub(r"[\x00-\x1f\x7f]", "", last)[:LONGEST_NAME].strip(". ") or "picture"
