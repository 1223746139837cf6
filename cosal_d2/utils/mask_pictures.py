"""Reading maps and masks that are pictures: as levels, as truth, as numbers, as black and white."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from cosal_d2.utils.mask_kinds import (
    BOTH,
    NO_NUMBERS,
    MaskPicture,
    is_lossless,
    is_varied,
    mask_picture,
    of_palette,
    opened_mask,
)
from cosal_d2.utils.pictures import READING_ERRORS, unreadable
from cosal_d2.utils.pixel_values import (
    is_deep_colour,
    missing_values,
    say_once,
    significant_bits,
)

FEW_LEVELS = 16  # more grey levels are those of soft edges


def read_grey(path: str | os.PathLike, bits: int = 16) -> np.ndarray:
    """Read a co-saliency map upright, as uint8 (H, W).

    Grey levels of any depth are scaled to 8 bits: floats span 0 to 1, or 0 to 255; integers of 16
    bits those that the file states, else ``bits`` of them. The alpha of a cut-out is its map.

    Args:
        path: of the file.
        bits: significant ones of a file of 16 bits that states none, see :func:`deepest`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a picture, or no map: coloured, with values that are no numbers
            or out of range, or with both levels and an alpha.
    """
    image = mask_picture(path)
    if image.kind in ("colours", "labels"):
        raise ValueError(
            f"{path}: it is coloured, and colours are no levels of a map; save it as grey"
        )
    if image.kind == "alpha" and image.varied:
        raise ValueError(f"{path}: {BOTH}")
    values, white = image.values, image.white
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind != "f" and not image.stated and (values.itemsize == 2 or white > 255):
        white = max(white, 2**bits - 1)
    return np.minimum(values.astype(np.float64) * (255 / white) + 0.5, 255).astype(np.uint8)


def deepest(paths: Iterable[str | os.PathLike]) -> int:
    """The significant bits that the maps of one method have: 16, or fewer where all are files of 16
    bits that hold 9 to 15, as cameras and microscopes give, and none states how many.

    One map alone does not tell, since it may be faint.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_grey`.
    """
    most = 0
    for path in paths:
        with opened_mask(path) as image:
            deep = image is not None and (image.mode[0] == "I" or is_deep_colour(image))
        if not deep:
            return 16
        picture = mask_picture(path)
        if picture.stated:
            return 16
        most = max(most, significant_bits(picture.values))
    return most if 8 < most < 16 else 16


def read_truth(path: str | os.PathLike) -> tuple[np.ndarray, str]:
    """Read a mask of a truth upright.

    Of grey levels those over 128 of 255 are truth; where none is, all but the lowest. Of a palette
    or of few colours every label but 0, or black, is truth; of a cut-out its alpha.

    Returns:
        the mask, bool (H, W), and what was unusual, or "".

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a picture, or no mask.
    """
    image = mask_picture(path)
    values, note = image.values, image.note
    if image.kind == "colours":
        raise ValueError(
            f"{path}: it is coloured like a photograph or a heat map, so no mask; save the mask "
            "as black and white, or with a palette"
        )
    if image.kind == "labels":
        return values != 0, note
    if image.kind == "alpha":
        return values > 127, note
    mask = values > 128 / 255 * image.white
    if not mask.any() and values.any():
        ground = _ground(values)
        note = f"no pixel above 128, so every pixel above {ground:g} is taken as truth"
        return values > ground, note
    if mask.all() and is_varied(image):
        note = "its values vary, but none is 128 or less, so all of it is truth"
    if has_white_ground(mask):
        note = "its border is white: if its objects are black, invert it"
    return mask, note or _lost_levels(image, mask)


def _ground(values: np.ndarray) -> float:
    """The value of what is outside, where nothing is white: the lowest, but 0 of a plain mask."""
    low = float(values.min())
    return low if low < values.max() else 0.0


def _lost_levels(image: MaskPicture, mask: np.ndarray) -> str:
    """What is said of a mask of few grey levels, some of them between its ground and its inside:
    they may be labels, which are not told apart from soft edges."""
    if not image.lossless:
        return ""
    levels = np.unique(image.values)
    if len(levels) > FEW_LEVELS:
        return ""
    lost = levels[1:][np.isin(levels[1:], image.values[~mask])]
    if not len(lost):
        return ""
    shown = ", ".join(f"{level:g}" for level in lost)
    return f"its grey levels {shown} are taken as outside; if they are labels, save a palette"


def has_white_ground(mask: np.ndarray) -> bool:
    """Whether a mask looks like black objects on white: so is its border, and most of it."""
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(border.mean() > 0.9 and mask.mean() > 0.5 and not mask.all())


def read_values(path: str | os.PathLike) -> np.ndarray:
    """Pixel values of an instance-index picture as it is stored, (H, W) integers.

    Indices of a palette of colours, grey levels or, for colours, a number each (black is 0). Fully
    transparent pixels are 0; where all others are black, they are 1.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no picture, its compression changes values, or some are no whole numbers.
    """
    with opened_mask(path) as image:
        try:
            if image is None:
                raise UnidentifiedImageError
            if not is_lossless(image, path):
                raise ValueError(
                    f"the compression of {image.format} changes indices of objects; save it as PNG"
                )
            return _index_values(image)
        except READING_ERRORS as error:
            raise unreadable(path, error) from error


def indexed(values: np.ndarray, void: frozenset[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Index and mask, bool (H, W), of each object of an instance-index picture, one by one.

    Args:
        values: (H, W) integers; 0 is background.
        void: values that belong to no object.
    """
    for value in np.unique(values):
        if value != 0 and int(value) not in void:
            yield int(value), values == value


def read_binary(path: str | os.PathLike, threshold: int | None = None) -> np.ndarray:
    """A binary mask as it is stored, bool (H, W).

    Args:
        path: black and white, 0 and another value, grey levels, 16-bit, or coloured (by its
            brightest channel). Of a palette or of few colours all but black is inside, of a cut-out
            what its alpha shows.
        threshold: pixels of this value or more are inside; None: all but 0 where 0 and one other
            value are all there is, or where there are labels; else half of the range of the file's
            type, or half of the highest value where that is within the range's second quarter;
            where that leaves none, all but the lowest value.

    Raises:
        FileNotFoundError, ValueError: as `read_values`; or it has both levels and an alpha, or
            different values of which none is outside.
    """
    image = mask_picture(path, upright=False)
    values = image.values.max(axis=2) if image.kind == "colours" else image.values
    if image.kind == "labels":
        return values != 0
    if threshold is None:
        high = float(values.max(initial=0))
        two_valued = bool(((values == 0) | (values == high)).all())
        if image.lossless and two_valued and (high <= 1 or not values.all()):
            return values > 0
        white = image.white
        inside = values > (high if white / 4 < high <= white / 2 else white) / 2
        if image.lossless and not inside.any() and high:
            inside = values > _ground(values)
        if inside.all() and is_varied(image):
            raise ValueError(
                f"{path}: all of it is inside, though its values vary; if its ground is lighter "
                "than its objects, give --threshold between the two and --invert, or save it as "
                "black and white"
            )
        if image.kind == "levels" and (note := _lost_levels(image, inside)):
            say_once(f"{path}: {note}")
        return inside
    return values >= threshold


def _index_values(image: Image.Image) -> np.ndarray:
    if image.mode == "P":
        palette = np.reshape(image.getpalette("RGB"), (-1, 3))
        picture = of_palette(np.asarray(image), palette)
        return np.asarray(picture.values if picture.kind == "levels" else image).astype(np.int64)
    if image.mode in ("1", "L") or image.mode[0] in "IF":
        values = np.asarray(image)
        if missing_values(values) is not None:
            raise ValueError(NO_NUMBERS)
        if image.mode == "F" and (values != np.rint(values)).any():
            raise ValueError("indices of objects are whole numbers; save it as 8 or 16 bits")
        return values.astype(np.int64)
    if image.mode in ("LA", "PA"):
        pixels = np.asarray(image).astype(np.int64)
        values, alpha = pixels[:, :, 0], pixels[:, :, 1]
    else:
        pixels = np.asarray(image.convert("RGBA")).astype(np.int64)
        alpha = pixels[:, :, 3]
        grey = not np.ptp(pixels[:, :, :3] * (alpha > 0)[:, :, None], axis=2).any()
        values = pixels[:, :, 0] if grey else pixels[:, :, :3] @ np.array([1 << 16, 1 << 8, 1])
    values = values * (alpha > 0)
    silhouettes = not values.any() and alpha.min() < alpha.max()
    return (alpha > 127).astype(np.int64) if silhouettes else values
