"""What the file of a map or a mask means: levels, labels, or an alpha."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cosal_d2.utils.files import need_file
from cosal_d2.utils.pictures import READING_ERRORS, open_picture, other_tiff, unreadable
from cosal_d2.utils.pixel_values import (
    colour_values,
    grey_values,
    is_deep_colour,
    missing_values,
    significant_bits,
)
from cosal_d2.utils.size_limit import check_size

MAX_COLOURS = 100  # more are no labels
LOSSY = ("JPEG", "MPO", "AVIF", "HEIF")  # and WebP and TIFF as they may be
GREY_SPREAD = 16  # levels that the channels of a grey picture may differ by, after compression
BOTH = "both its grey levels and its alpha vary, so either may be meant; save it without alpha"
NO_NUMBERS = "it has values that are no numbers (NaN, infinite or no data)"
VOC_VOID = (255, (224, 224, 192))  # index and colour of VOC's border, which is of no object


@dataclass(frozen=True)
class MaskPicture:
    """A map or a mask as its file means it.

    Attributes:
        kind: "levels": grey, from 0 to ``white``; "labels": 0 is outside, each other value an
            object; "colours": neither, as of a photograph or a heat map; "alpha": levels of the
            alpha of a cut-out or a silhouette.
        values: (H, W), of "colours" (H, W, 3); uint8, other integers of 0 or more, or floats.
        white: the value of full certainty.
        stated: whether the file states how many bits ``white`` has.
        varied: whether a cut-out's own grey levels could be the map too.
        lossless: whether the file's format keeps values as they are.
        note: what was unusual, or "".
    """

    kind: Literal["levels", "labels", "colours", "alpha"]
    values: np.ndarray
    white: float = 255
    stated: bool = False
    varied: bool = False
    lossless: bool = True
    note: str = ""


@contextlib.contextmanager
def opened_mask(path: str | os.PathLike) -> Iterator[Image.Image | None]:
    """A file opened; None for a TIFF that OpenCV alone can read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no picture, or too large.
    """
    need_file(path, "map or mask")
    try:
        image = open_picture(path)
        check_size(image, times=1)
    except UnidentifiedImageError as error:
        if other_tiff(path) is None:
            raise unreadable(path, error) from error
        yield None
        return
    except READING_ERRORS as error:
        raise unreadable(path, error) from error
    with image:
        yield image


def is_varied(picture: MaskPicture) -> bool:
    """Whether a mask has values that differ by more than compression makes them differ."""
    values = picture.values.reshape(-1, *picture.values.shape[2:]).astype(np.float64)
    return bool(np.ptp(values, axis=0).max() > picture.white * GREY_SPREAD / 255)


def is_lossless(image: Image.Image, path: str | os.PathLike) -> bool:
    """Whether the format of an opened file keeps values as they are."""
    if image.format == "WEBP":
        return b"VP8L" in Path(path).read_bytes()
    return image.format not in LOSSY and image.info.get("compression") != "jpeg"


def mask_picture(path: str | os.PathLike, *, upright: bool = True) -> MaskPicture:
    """Read a file and tell what it means.

    Args:
        path: of the file.
        upright: turn it as its EXIF orientation says.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no picture, truncated, has values below 0 or that are no numbers, or its
            grey levels and its alpha are both a mask; the message names it.
    """
    palette, lossless = None, True
    with opened_mask(path) as image:
        try:
            if image is None:
                pixels, alpha, bits = other_tiff(path), None, None
            else:
                pixels, alpha, bits = _parts(image, upright)
                lossless = is_lossless(image, path)
                palette = image.getpalette("RGB") if image.mode in ("P", "PA") else None
        except READING_ERRORS as error:
            raise unreadable(path, error) from error
    if missing_values(pixels) is not None:
        raise ValueError(f"{path}: {NO_NUMBERS}")
    if alpha is not None and alpha.min() < alpha.max():
        return _cut_out(path, pixels, alpha, palette)
    if palette is not None:
        return of_palette(pixels, np.reshape(palette, (-1, 3)))
    if pixels.ndim == 3:
        spread = GREY_SPREAD * (1 if pixels.dtype == np.uint8 else 257)
        if _spread(pixels) > spread:
            return _of_colours(pixels, lossless)
        pixels = np.rint(pixels.mean(axis=2)).astype(pixels.dtype)
    return _of_levels(path, pixels, bits, lossless)


def _parts(image: Image.Image, upright: bool) -> tuple[np.ndarray, np.ndarray | None, int | None]:
    """Values (H, W), or (H, W, 3) of colours; alpha (H, W); and the bits that the file states."""
    if is_deep_colour(image):
        values, bits = colour_values(image)
        return values[:, :, :3], values[:, :, 3] if values.shape[2] == 4 else None, bits
    if image.mode[0] in "IF":
        values, bits, no_data = grey_values(image, upright)
        if missing_values(values, no_data) is not None:
            raise ValueError(NO_NUMBERS)
        return values, None, bits
    if upright:
        image = ImageOps.exif_transpose(image)
    alpha = None
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA"))[:, :, 3]
    if image.mode in ("1", "L", "LA", "La"):
        return np.asarray(image.convert("L")), alpha, None
    if image.mode in ("P", "PA"):
        indices = np.asarray(image)
        return (indices if indices.ndim == 2 else indices[:, :, 0]), alpha, None
    return np.asarray(image.convert("RGBA").convert("RGB")), alpha, None


def _spread(pixels: np.ndarray) -> float:
    return float(np.ptp(pixels.astype(np.int64) if pixels.dtype.kind != "f" else pixels, 2).max())


def _cut_out(
    path: str | os.PathLike, pixels: np.ndarray, alpha: np.ndarray, palette: list[int] | None
) -> MaskPicture:
    """A picture whose alpha varies: the alpha is the mask, unless what it shows is one as well."""
    if palette is not None:
        pixels = _colours_of(pixels, np.reshape(palette, (-1, 3)))
    shown = pixels[alpha > alpha.max() / 2]
    deep = 1 if pixels.dtype == np.uint8 else 257
    grey = shown.ndim == 1 or _spread(shown[:, None]) <= GREY_SPREAD * deep
    levels = np.unique(shown if shown.ndim == 1 else shown[:, 0])
    if grey and len(levels) == 2 and levels[0] == 0 and levels[1] >= 250 * deep:
        raise ValueError(f"{path}: {BOTH}")
    varied = grey and float(levels[-1]) - float(levels[0]) > GREY_SPREAD * deep
    if alpha.dtype != np.uint8:
        alpha = (alpha / (2.0 ** significant_bits(alpha) - 1) * 255 + 0.5).astype(np.uint8)
    return MaskPicture("alpha", alpha, varied=varied, note="its alpha is taken as the mask")


def _colours_of(indices: np.ndarray, palette: np.ndarray) -> np.ndarray:
    whole = np.zeros((256, 3), np.uint8)
    whole[: len(palette)] = palette
    return whole[indices]


def of_palette(indices: np.ndarray, palette: np.ndarray) -> MaskPicture:
    """The grey levels of a palette that is grey, as programs write to save space; else labels."""
    used = np.unique(indices)
    shown = palette[used[used < len(palette)]]
    grey = len(shown) == len(used) and bool((shown == shown[:, :1]).all())
    if grey and len(np.unique(shown[:, 0])) == len(used):
        return MaskPicture("levels", _colours_of(indices, palette)[:, :, 0])
    labels = indices.astype(np.int64)
    black = ~_colours_of(indices, palette).any(axis=2)
    if palette[:1].any() and black.any() and not grey:  # a program ordered the colours anew
        labels = np.where(black, 0, labels + 1)
    note = "it has a palette, of which every label but 0 is taken as truth"
    index, colour = VOC_VOID
    if len(palette) > index and tuple(palette[index]) == colour and (indices == index).any():
        labels[indices == index] = 0
        note += ", without VOC's border"
    return MaskPicture("labels", labels, note=note)


def _of_colours(pixels: np.ndarray, lossless: bool) -> MaskPicture:
    """Labels where there are few colours, one of them black, that no compression has blurred."""
    numbers = pixels.astype(np.int64) @ np.array([1 << 32, 1 << 16, 1])
    colours = np.unique(numbers)
    if lossless and colours[0] == 0 and len(colours) <= MAX_COLOURS:
        note = "it is coloured, and every colour but black is taken as truth"
        return MaskPicture("labels", numbers, note=note)
    return MaskPicture("colours", pixels, lossless=lossless)


def _of_levels(
    path: str | os.PathLike, values: np.ndarray, bits: int | None, lossless: bool
) -> MaskPicture:
    if values.dtype in (np.uint8, bool):
        return MaskPicture("levels", values, lossless=lossless)
    if values.min() < 0:
        raise ValueError(f"{path}: it has values below 0; a map or a mask has 0 to 1, or 0 to 255")
    high, needed = float(values.max()), 0
    if values.dtype.kind != "f":
        needed = significant_bits(values)
        stated = bits is not None and needed <= bits
        return MaskPicture("levels", values, 2 ** (bits if stated else needed) - 1, stated)
    whole = bool((values == np.rint(values)).all())
    if high <= 1 + 1e-6:
        white = 1
    elif whole or high >= GREY_SPREAD:
        white = 255 if high <= 255 else 65535
    else:
        white = 0
    if high > white + 1e-6:
        raise ValueError(
            f"{path}: its highest value is {high:g}; a map or a mask has 0 to 1, or 0 to 255"
        )
    return MaskPicture("levels", values, white)
