"""Pictures that show the same, by the distance of their perceptual hashes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageOps

from cosal_d2.utils.pictures import READING_ERRORS, open_picture, upright_bgr

SIDE = 16  # frequencies a side: hashes of 256 bits
# Bits that may differ. Copies (JPEG quality 30, a quarter of the size, 15 % brighter, grey, 1 %
# cut off each side) differ in at most 32; of 673 photographs taken in few sittings, the closest
# two that are no copies in 40, and up to 72 all pairs show one scene arranged alike.
COPY_BITS = 48
SCENE_BITS = 72
BLOCK = 1024


def picture_hash(image: Image.Image) -> np.ndarray | None:
    """Hashes of a picture and of its mirror image, bool (2, 256), which depend little on size,
    compression, brightness and contrast; None for a plain one, which resembles any other.

    A picture is held upright; transparent ones are laid on white.
    """
    picture = Image.fromarray(upright_bgr(image)[:, :, ::-1])
    hashes = [imagehash.phash(p, SIDE).hash.ravel() for p in (picture, ImageOps.mirror(picture))]
    # Half of the frequencies are over their median, unless most of them are zero.
    return np.stack(hashes) if hashes[0].mean() > 0.25 else None


def file_hash(file: Path) -> np.ndarray | None:
    """The hashes of a picture file; None where it is missing, no picture, of a kind
    that Pillow does not know, or plain."""
    try:
        with open_picture(file) as image:
            image.draft("RGB", (16 * SIDE, 16 * SIDE))
            return picture_hash(image)
    except READING_ERRORS:
        return None


def near_pairs(
    first: list[np.ndarray | None],
    second: list[np.ndarray | None],
    bits: int = COPY_BITS,
    mirrored: bool = False,
) -> Iterator[tuple[int, int]]:
    """Positions (i, j) of pictures of `first` and `second` that show the same.

    Args:
        first, second: from :func:`file_hash`; None resembles none.
        bits: how many may differ.
        mirrored: compare with the mirror images of `second`.
    """
    places = [[i for i, h in enumerate(hashes) if h is not None] for hashes in (first, second)]
    if not all(places):
        return
    signs = [
        np.stack([hashes[i][side] for i in own]).astype(np.float32) * 2 - 1
        for hashes, own, side in zip((first, second), places, (0, int(mirrored)), strict=True)
    ]
    for start in range(0, len(signs[0]), BLOCK):
        differing = (SIDE**2 - signs[0][start : start + BLOCK] @ signs[1].T) / 2
        for i, j in np.argwhere(differing <= bits):
            yield places[0][start + i], places[1][j]
