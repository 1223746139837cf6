"""Pictures that show the same, found by a perceptual hash and confirmed on small copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

SIDE = 16  # pixels of the small copies
MAX_BITS = 14  # of 64 that may differ where the small copies agree in colour
MAX_MIRRORED_BITS = 8  # where one is mirrored: scenes resemble their mirror images
MAX_GREY_BITS = 4  # where they agree in grey alone
MIN_LIKENESS = 0.9  # correlation of the small copies
MIRROR = np.array([1, -1] * 4, np.float32)  # of the frequencies along a row, in a mirrored picture
BLOCK = 1024


@dataclass(frozen=True)
class Print:
    """What a picture is recognised by.

    Attributes:
        bits: bool (2, 64), signs of its 64 lowest frequencies around their median, as it is and
            mirrored.
        small: float32 (3 * SIDE * SIDE,), its small copy with mean 0 and length 1.
    """

    bits: np.ndarray
    small: np.ndarray

    @property
    def mirrored(self) -> np.ndarray:
        """`small` of the mirrored picture."""
        return self.small.reshape(SIDE, SIDE, 3)[:, ::-1].ravel()


def picture_print(image: Image.Image) -> Print:
    """The print of a picture, held upright; does not depend on size, and little on compression,
    brightness and contrast.

    The hash is the DCT hash of Zauner, *Implementation and Benchmarking of Perceptual Image Hash
    Functions* (2010): the lowest 8 x 8 frequencies of a 32 x 32 grey copy, over or under their
    median.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":
        values = np.asarray(image, dtype=np.float32)
        high = max(float(np.nanmax(values)), 1e-6)
        image = Image.fromarray(
            (np.clip(np.nan_to_num(values) / high, 0, 1) * 255).astype(np.uint8)
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    pixels = np.asarray(image.convert("RGB"))
    grey = cv2.cvtColor(
        cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
    )
    low = cv2.dct(grey.astype(np.float32))[:8, :8]
    lows = np.stack([low, low * MIRROR]).reshape(2, 64)
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    small = small.ravel() - small.mean()
    length = float(np.linalg.norm(small))
    bits = lows > np.median(lows, axis=1, keepdims=True)
    return Print(bits, small / length if length > 1 else np.zeros_like(small))


def file_print(file: Path) -> Print:
    """The print of a picture file.

    Raises:
        OSError: it is missing or no picture.
    """
    with Image.open(file) as image:
        image.draft("RGB", (4 * SIDE, 4 * SIDE))
        return picture_print(image)


def near_pairs(
    first: list[Print], second: list[Print], mirrored: bool = False
) -> Iterator[tuple[int, int]]:
    """Positions (i, j) of pictures of `first` and `second` that are near-duplicates.

    Args:
        first, second: prints of pictures.
        mirrored: compare with the mirrored pictures of `second`, more strictly.
    """
    if not first or not second:
        return
    most = MAX_MIRRORED_BITS if mirrored else MAX_BITS
    signs = [
        np.stack([p.bits[side] for p in prints]).astype(np.float32) * 2 - 1
        for prints, side in ((first, 0), (second, int(mirrored)))
    ]
    for start in range(0, len(first), BLOCK):
        differing = (64 - signs[0][start : start + BLOCK] @ signs[1].T) / 2
        for i, j in np.argwhere(differing <= most + 0.5):
            copy = second[j].mirrored if mirrored else second[j].small
            if _alike(first[start + i].small, copy, differing[i, j]):
                yield start + int(i), int(j)


def _alike(a: np.ndarray, b: np.ndarray, differing: float) -> bool:
    """Whether two small copies agree as well as their hashes ask for; plain ones never do."""
    if float(a @ b) >= MIN_LIKENESS:
        return True
    if differing > MAX_GREY_BITS:
        return False
    first, second = (x.reshape(-1, 3).mean(axis=1) for x in (a, b))
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return lengths > 0 and float(first @ second) >= MIN_LIKENESS * lengths


def near_groups(prints: list[Print]) -> list[int]:
    """A group number for each picture: chains of near-duplicates, mirrored ones too, share one, the
    lowest position."""
    parent = list(range(len(prints)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in chain(near_pairs(prints, prints), near_pairs(prints, prints, mirrored=True)):
        if i < j:
            low, high = sorted((root(i), root(j)))
            parent[high] = low
    return [root(i) for i in range(len(prints))]
