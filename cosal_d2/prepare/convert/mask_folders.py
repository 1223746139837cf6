"""An image folder beside a folder of masks: binary, as of saliency sets, or instance indices."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from cosal_d2.prepare.convert.conversion import Scene, Source
from cosal_d2.prepare.convert.mask_pictures import indexed, read_binary, read_values
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.prepare.convert.source_files import by_stem, need_folder
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.masks import mask_rle

SAMPLE = 50  # masks that `auto` looks at
MAX_COLOURS = 100  # more are no instance colours


def mask_source(
    images: Path,
    masks: Path,
    *,
    kind: str = "auto",
    suffix: str = "",
    category: str = "object",
    min_area: float = 0.001,
    opening: int = 0,
    threshold: int | None = None,
    void: tuple[int, ...] = (),
    skip_missing: bool = False,
) -> Source:
    """Pictures with a mask picture each.

    Args:
        images, masks: folders; names agree but for the suffix, in subfolders too.
        kind: `binary`: connected components are objects; `index`: every value but 0 is one; `auto`
            looks at the first masks.
        suffix: what mask names have more than picture names.
        category: class of all objects.
        min_area: binary: components under this share of the picture are dropped.
        opening: binary: radius of an opening, pixels.
        threshold: binary: least value inside; None: half the range.
        void: index: values of no object.
        skip_missing: leave pictures without a mask out.

    Raises:
        FileNotFoundError: a folder or a mask is missing.
        ValueError: an argument is unusable; the message names it.
    """
    images, masks = need_folder(images, "images"), need_folder(masks, "masks")
    if opening < 0:
        raise ValueError(f"opening: a radius of {opening} pixels; give 0 or more")
    if category == DISTRACTOR:
        raise ValueError(f"category: {DISTRACTOR!r} is never co-salient; give another name")
    pairs = _pairs(images, masks, suffix, skip_missing)
    if kind == "auto":
        kind = _guess([mask for _, mask in pairs[:SAMPLE]])
    if kind == "binary":
        read = partial(_read_binary, images, category, threshold, min_area, opening)
    else:
        read = partial(_read_indexed, images, category, frozenset(void))
    return Source(pairs, read, f"Masks of {masks.name}", {category: 1})


def _pairs(images: Path, masks: Path, suffix: str, skip_missing: bool) -> list[tuple[Path, Path]]:
    found = {
        stem.removesuffix(suffix): file
        for stem, file in by_stem(masks).items()
        if stem.endswith(suffix)
    }
    pictures = by_stem(images)
    if images.resolve() == masks.resolve() and suffix:
        pictures = {s: p for s, p in pictures.items() if not s.endswith(suffix)}
    missing = [stem for stem in pictures if stem not in found]
    if missing and not skip_missing:
        raise FileNotFoundError(
            f"{pictures[missing[0]]}: no mask {missing[0]}{suffix}.png (or another suffix) in "
            f"{masks}; add it, or give --mask-suffix or --skip-missing"
        )
    if len(missing) == len(pictures):
        raise FileNotFoundError(
            f"{images}: no picture has a mask in {masks}; masks are named as their pictures"
        )
    return [(picture, found[stem]) for stem, picture in pictures.items() if stem in found]


def _guess(masks: list[Path]) -> str:
    """`index` where a mask counts 0 to N, 2 <= N < 128, or has a few colours, and none is black and
    white of 8 or 16 bits."""
    counts = False
    for file in masks:
        values = np.unique(read_values(file))
        high = int(values[-1])
        if len(values) == 2 and high in (255, 65535):
            return "binary"
        counted = len(values) >= high and high < 128
        coloured = high > 65535 and len(values) <= MAX_COLOURS
        counts |= len(values) > 2 and (counted or coloured)
    return "index" if counts else "binary"


def _read_binary(
    images: Path,
    category: str,
    threshold: int | None,
    min_area: float,
    opening: int,
    task: tuple[Path, Path],
) -> Scene:
    picture, file = task
    mask = read_binary(file, threshold)
    objects = [SourceObject(category, r) for r in components(mask, min_area * mask.size, opening)]
    return Scene(picture, picture.relative_to(images).as_posix(), *mask.shape, objects)


def _read_indexed(
    images: Path, category: str, void: frozenset[int], task: tuple[Path, Path]
) -> Scene:
    picture, file = task
    values = read_values(file)
    objects = [SourceObject(category, mask_rle(mask)) for _, mask in indexed(values, void)]
    return Scene(picture, picture.relative_to(images).as_posix(), *values.shape, objects)


def components(mask: np.ndarray, min_area: float, opening: int) -> list[dict]:
    """Connected parts (8 neighbours) of a mask as RLE, largest first.

    Args:
        mask: bool (H, W).
        min_area: smaller parts are dropped, pixels.
        opening: radius in pixels of a disc; bridges and threads thinner than it part objects. The
            pixels that the opening took away go back to the part that touches them, so that parts
            together cover the mask as before, but for what vanished altogether.
    """
    opened = mask.astype(np.uint8)
    if opening:
        side = 2 * opening + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        padded = np.pad(opened, opening)
        opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, disc)
        opened = opened[opening:-opening, opening:-opening]
    count, labels = cv2.connectedComponents(np.ascontiguousarray(opened), connectivity=8)
    if opening and count > 1:
        labels = _grow(labels, mask)
    areas = np.bincount(labels.ravel(), minlength=count)
    areas[0] = 0
    large = [int(i) for i in np.argsort(-areas, kind="stable") if areas[i] >= max(min_area, 1)]
    return [mask_rle(labels == i) for i in large]


def _grow(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Labels spread over their connected parts of the mask, each pixel to the nearest label."""
    _, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    occupied = np.zeros(regions.max() + 1, dtype=bool)
    occupied[regions[labels > 0]] = True
    missing = mask & (labels == 0) & occupied[regions]
    _, nearest = cv2.distanceTransformWithLabels(
        (labels == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(nearest.max() + 1, dtype=labels.dtype)
    owner[nearest[labels > 0]] = labels[labels > 0]
    return np.where(missing, owner[nearest], labels)
