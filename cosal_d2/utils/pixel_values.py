"""Values of more than 8 bits a channel: reading them uncut, and scaling them to 8 bits."""

from __future__ import annotations

import functools
import logging
import math
import re

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

logger = logging.getLogger(__name__)

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Tags of TIFF.
BITS_PER_SAMPLE, PHOTOMETRIC, DESCRIPTION, MAX_SAMPLE = 258, 262, 270, 281
EXTRA_SAMPLES, SAMPLE_FORMAT, GDAL_NO_DATA = 338, 339, 42113
ROWS = 256  # of a picture that are worked on at once
FURTHEST = 1e30  # floats beyond are marks of missing values
MARKS = (-9999, -32768, -32767, -99999)  # of missing values, where a file states none
# How a picture is held upright, by its EXIF orientation.
TURNS = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@functools.cache
def say_once(message: str) -> None:
    """Log a warning once in a process, however often its file is read."""
    logger.warning("%s", message)


def is_deep_colour(image: Image.Image) -> bool:
    """Whether a colour picture, opened but not loaded, has more than 8 bits a channel; Pillow cuts
    them to 8."""
    tiles = getattr(image, "tile", None)
    if not tiles or image.mode[0] in "IF":
        return False
    args = tiles[0].args
    if image.format == "PPM":
        return isinstance(args, tuple) and args[-1] == 65535
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))
    return max(bits) > 8 or (image.format == "PNG" and ";16" in str(args))


def colour_values(image: Image.Image) -> tuple[np.ndarray, int | None]:
    """Values of a deep colour picture, upright, BGR or BGRA (H, W, 3 or 4), and the significant
    bits that its file states.

    Raises:
        OSError: the file is truncated.
    """
    image.fp.seek(0)
    data = image.fp.read()
    bits = stated_bits(image)
    image.load()  # OpenCV does not tell of a truncated file
    values = decode_deep(data)
    if values is None or values.ndim != 3:
        raise OSError("its channels of more than 8 bits cannot be decoded; is the file truncated?")
    if image.format == "TIFF":  # OpenCV has turned it
        if values.shape[2] == 4 and not set(image.tag_v2.get(EXTRA_SAMPLES, ())) & {1, 2}:
            values = values[:, :, :3]  # a fourth channel, but no alpha
        return values, bits
    turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    return (turn(values) if turn else values), bits


def decode_deep(data: bytes) -> np.ndarray | None:
    """A file's values as they are, grey (H, W), BGR or BGRA; None where OpenCV cannot read it."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)


def grey_values(
    image: Image.Image, upright: bool = True
) -> tuple[np.ndarray, int | None, float | None]:
    """Values of a grey picture of more than 8 bits, upright or as they are stored.

    Returns:
        the values (H, W); the significant bits that the file states; and the value that it states
        to mean "no data".

    Raises:
        OSError: the file is truncated.
    """
    bits, tags = stated_bits(image), getattr(image, "tag_v2", {})
    kinds, no_data = tags.get(SAMPLE_FORMAT, (1,)), _number(tags.get(GDAL_NO_DATA))
    width = max(tags.get(BITS_PER_SAMPLE, (8,)))
    inverted = tags.get(PHOTOMETRIC) == 0 and image.mode[0] == "I"
    values = np.asarray(ImageOps.exif_transpose(image) if upright else image)
    if image.mode == "I" and width == 32 and kinds[0] == 1 and tags:
        values = values.view(np.uint32)
    if inverted:
        values = 2 ** (bits or significant_bits(values)) - 1 - values.astype(np.int64)
    return values, bits, no_data


def stated_bits(image: Image.Image) -> int | None:
    """The significant bits of a channel that a file of more bits states: PNG's sBIT, TIFF's
    BitsPerSample or MaxSampleValue, OME's SignificantBits, PGM's greatest value; else None.

    The picture must not be loaded yet.
    """
    if image.format == "PNG" and image.fp is not None:
        return _png_bits(image)
    if image.format == "PPM" and getattr(image, "tile", None):
        return 16 if image.tile[0].codec_name == "ppm" and image.tile[0].args[-1] < 65535 else None
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(BITS_PER_SAMPLE, (8,)))
    if 8 < bits < 16:
        return bits
    if match := re.search(r'SignificantBits="(\d+)"', str(tags.get(DESCRIPTION, ""))):
        return int(match[1])
    most = tags.get(MAX_SAMPLE)
    most = most[0] if isinstance(most, tuple) else most
    return int(most).bit_length() if most and 255 < most < 2**bits - 1 else None


def _png_bits(image: Image.Image) -> int | None:
    place = image.fp.tell()
    image.fp.seek(8)
    try:
        while len(head := image.fp.read(8)) == 8 and head[4:] != b"IDAT":
            size = int.from_bytes(head[:4], "big")
            if head[4:] == b"sBIT":
                content = image.fp.read(size)
                colours = content[: 1 if size < 3 else 3]
                return max(colours, default=0) or None
            image.fp.seek(size + 4, 1)
    finally:
        image.fp.seek(place)
    return None


def _number(text: object) -> float | None:
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None


def significant_bits(values: np.ndarray) -> int:
    """The least number of bits, 8 or more, that holds all of some values."""
    return max(8, int(values.max(initial=0)).bit_length())


def picture_levels(
    values: np.ndarray, bits: int | None, name: str, no_data: float | None = None
) -> np.ndarray:
    """A picture's values as uint8 BGR (H, W, 3), a transparent one laid on white.

    Whole numbers of 0 or more span the significant bits that the file states, or those that hold
    the highest value. Floats within 0 to 1, and whole ones within 0 to 255, span that range. All
    others, such as heights, are stretched from the lowest to the highest. What is no number is
    black, and the log names the file.

    Args:
        values: grey (H, W), BGR (H, W, 3) or BGRA (H, W, 4), integers or floats.
        bits: that the file states, or None.
        name: of the file.
        no_data: a value that means "no data".

    Raises:
        ValueError: no value is a number.
    """
    alpha = None
    if values.ndim == 3 and values.shape[2] == 4:
        values, alpha = values[:, :, :3], values[:, :, 3]
    levels = _levels(values, bits, name, no_data)
    if levels.ndim == 2:
        levels = np.repeat(levels[:, :, None], 3, axis=2)
    if alpha is None:
        return levels
    full = 1.0 if alpha.dtype.kind == "f" else 2.0 ** significant_bits(alpha) - 1
    for top in range(0, len(levels), ROWS):
        rows = np.nan_to_num(alpha[top : top + ROWS]) / np.float32(full)
        share = np.clip(rows, 0, 1)[:, :, None].astype(np.float32)
        part = levels[top : top + ROWS]
        part[:] = part * share + 255 * (1 - share) + 0.5
    return levels


def _levels(values: np.ndarray, bits: int | None, name: str, no_data: float | None) -> np.ndarray:
    missing = missing_values(values, no_data)
    share = missing.mean() if missing is not None else 0
    if share == 1:
        raise ValueError("none of its values is a number (NaN, infinite or no data)")
    if share:
        say_once(
            f"{name}: {100 * share:.3g} % of its values are no numbers (NaN, infinite or no data); "
            "they are black"
        )
        values = np.where(missing, values[~missing].min(), values)
    low, high = values.min(), values.max()
    if low < 0:
        pass
    elif values.dtype.kind != "f":
        low, high = 0, 2 ** _spanned_bits(values, bits) - 1
    elif high <= 1:
        low, high = 0, 1
    elif high <= 255 and bool((values == np.rint(values)).all()):
        low, high = 0, 255
    kind = np.float64 if values.dtype.itemsize > 4 else np.float32
    factor = 255 / (float(high) - float(low)) if high > low else 0.0
    levels = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), ROWS):
        rows = values[top : top + ROWS].astype(kind)
        levels[top : top + ROWS] = (rows - kind(low)) * kind(factor) + kind(0.5)
    if share:
        levels[missing] = 0
    return levels


def _spanned_bits(values: np.ndarray, bits: int | None) -> int:
    """A file that states 12 bits may hold them in the lower or, as PNG asks, all over its 16."""
    needed = significant_bits(values)
    if bits is None:
        return needed
    return max(bits, 8) if needed <= bits else max(needed, 8 * values.dtype.itemsize)


def missing_values(values: np.ndarray, no_data: float | None = None) -> np.ndarray | None:
    """Where values are no numbers, of their shape; None where all are."""
    missing, numbers = None, values
    if values.dtype.kind == "f":
        missing = ~(np.abs(values) < FURTHEST)
        numbers = values[~missing] if missing.any() else values
    if no_data is None and numbers.size and (low := numbers.min()) in MARKS:
        rest = numbers[numbers > low]
        # All others are nearer to one another than to it, as heights are to a mark.
        if rest.size and float(rest.min()) - float(low) > float(rest.max()) - float(rest.min()):
            no_data = float(low)
    if no_data is not None and not math.isnan(no_data):
        same = values == no_data
        missing = same if missing is None else missing | same
    return missing if missing is not None and missing.any() else None
