"""What a caller may give for a picture and for a box, and what is said of anything else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from cosal_d2.utils.pictures import READING_ERRORS, read_image, upright_bgr

Picture = str | bytes | os.PathLike | Image.Image | np.ndarray
Box = Sequence[float]

TAKEN = "give uint8 BGR (H, W, 3), or a PIL image or a path"
ADVICE = {
    "f": "; of values from 0 to 1: (255 * picture).round().astype('uint8')",
    "b": "; of a mask: picture.astype('uint8') * 255",
    "u": "; of 16 bits: a PIL image or a path, which are scaled by the bits that they use",
    "i": "; of values from 0 to 255: picture.astype('uint8')",
}
SEVERAL = "; of several pictures: predictor.batch(pictures)"
URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.I)
LONGEST_PATH = 4096  # bytes


def named_picture(image: Picture) -> tuple[str, np.ndarray]:
    """The name of a picture's file, or "picture" where it has none, and its pixels.

    Args:
        image: a path, as text, bytes or ``Path``; a PIL image of any mode; or an array or a tensor
            on any device, uint8 BGR (H, W, 3) or grey (H, W) or (H, W, 1).

    Returns:
        the name, and uint8 BGR (H, W, 3), upright.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no picture; the message says what is taken.
    """
    if isinstance(image, str | bytes | os.PathLike):
        path = _path(image)
        return os.path.basename(path), read_image(path)
    if isinstance(image, Image.Image):
        return "picture", _from_pil(image)
    return "picture", _from_array(image)


def check_several(images: Any) -> None:
    """Refuse one picture where several are expected.

    Raises:
        ValueError: it is one.
    """
    single = isinstance(images, str | bytes | os.PathLike | Image.Image)
    if single or getattr(images, "ndim", 4) < 4 or not isinstance(images, Iterable):
        raise ValueError(
            f"several pictures are taken here, such as a list of them, not {_kind(images)}; for "
            "one call the predictor itself"
        )


def checked_box(box: Box, height: int, width: int) -> np.ndarray:
    """A box XYXY of four numbers in a sequence, an array or a tensor, clipped to the picture.

    Args:
        box: x0, y0, x1, y1 in pixels.
        height, width: of the picture.

    Returns:
        float64 (4,).

    Raises:
        ValueError: it is no such box, or has no pixel of the picture.
    """
    said = " ".join(str(box).split())[:80]
    try:
        values = np.asarray(_on_cpu(box), dtype=np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != (4,) or not np.isfinite(values).all():
        raise ValueError(f"like={said}: give x0,y0,x1,y1 in pixels")
    clipped = values.clip(0, [width, height, width, height])
    if (clipped[2:] - clipped[:2] < 1).any():
        raise ValueError(
            f"like={said}: no pixel of the picture ({width} x {height}) is inside; give "
            "x0,y0,x1,y1 with x0 < x1 and y0 < y1"
        )
    return clipped


def _path(image: str | bytes | os.PathLike) -> str:
    """A path as text, of what may be a file's."""
    path = os.fsdecode(image)
    if isinstance(image, bytes) and (len(image) > LONGEST_PATH or b"\0" in image):
        raise ValueError(
            f"{len(image)} bytes are no path; of a file's content give "
            "PIL.Image.open(io.BytesIO(content))"
        )
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder; give a picture of it, or use `cosal predict`")
    if URL.match(path) and not os.path.lexists(path):
        raise FileNotFoundError(f"{path[:80]} is a URL; fetch the file and give its path")
    return path


def _from_pil(image: Image.Image) -> np.ndarray:
    kind = f"a PIL image of mode {image.mode}, {image.width} x {image.height}"
    if not image.width * image.height:
        raise ValueError(f"{kind}, has no pixel")
    try:
        return upright_bgr(image)
    except READING_ERRORS as error:
        raise ValueError(f"cannot read {kind}: {error}; {TAKEN}") from error


def _from_array(image: Any) -> np.ndarray:
    if image is None:
        raise ValueError(
            f"None is no picture; OpenCV's imread gives it where it cannot read a file; {TAKEN}"
        )
    dtype = str(getattr(image, "dtype", "")).removeprefix("torch.")
    if dtype == "bfloat16":  # numpy has none
        raise ValueError(f"a picture of type {dtype} and shape {tuple(image.shape)}; {TAKEN}")
    try:
        array = np.asarray(_on_cpu(image))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{_kind(image)} is no picture ({error}); {TAKEN}") from error
    if array.dtype.kind not in "biufc":
        several = SEVERAL if isinstance(image, list | tuple) else ""
        raise ValueError(f"{_kind(image)} is no picture; {TAKEN}{several}")
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not array.size:
        advice = ADVICE.get(array.dtype.kind, "") if array.dtype != np.uint8 else ""
        if array.dtype.kind == "f" and (array > 1).any():
            advice = "; of values from 0 to 255: picture.round().astype('uint8')"
        if array.ndim == 4:
            advice = SEVERAL
        raise ValueError(
            f"a picture of type {array.dtype} and shape {array.shape}; {TAKEN}{advice}"
        )
    if array.ndim == 2:
        array = array[:, :, None]
    channels = array.shape[2]
    if channels == 1:
        return np.repeat(array, 3, axis=2)
    if channels not in (3, 4) and array.shape[0] in (1, 3):
        raise ValueError(
            f"a picture of shape {array.shape}, channels first; give (H, W, 3), BGR: "
            "picture.transpose(1, 2, 0), and [:, :, ::-1] if it is RGB"
        )
    if channels != 3:
        raise ValueError(
            f"a picture of {channels} channels; give 3, BGR, or a PIL image, whose transparency is "
            "understood"
        )
    return np.ascontiguousarray(array)


def _on_cpu(values: Any) -> Any:
    """A tensor as an array, whatever its device; anything else as it is."""
    return values.detach().cpu().numpy() if hasattr(values, "cpu") else values


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" of shape {tuple(shape)}" if shape is not None else "")
