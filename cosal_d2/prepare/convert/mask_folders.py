"""An image folder beside a folder of masks: binary, as of saliency sets, or instance indices."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from cosal_d2.prepare.convert.conversion import Scene, Source
from cosal_d2.prepare.convert.left_out import SPECK, LeftOut
from cosal_d2.prepare.convert.mask_names import pair_masks
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.prepare.convert.source_files import need_folder
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.mask_kinds import MAX_COLOURS
from cosal_d2.utils.mask_pictures import (
    has_white_ground,
    indexed,
    read_binary,
    read_values,
)
from cosal_d2.utils.masks import mask_rle
from cosal_d2.utils.pixel_values import say_once

SAMPLE = 50  # masks that `auto` looks at


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
    invert: bool = False,
) -> Source:
    """Pictures with a mask picture each, or with one an object.

    Args:
        images, masks: folders; names agree as :func:`.pair_masks` says, in subfolders too.
        kind: `binary`: connected components are objects; `index`: every value but 0 is one; `auto`
            looks at the first masks.
        suffix: what mask names have more than picture names.
        category: class of all objects.
        min_area: binary: components under this share of the picture are dropped.
        opening: binary: radius of an opening, pixels.
        threshold: binary: least value inside; None: half the range.
        void: index: values of no object.
        skip_missing: leave pictures without a mask out.
        invert: binary: objects are black on white.

    Raises:
        FileNotFoundError: a folder or a mask is missing.
        ValueError: an argument is unusable; the message names it.
    """
    images, masks = need_folder(images, "images"), need_folder(masks, "masks")
    if opening < 0:
        raise ValueError(f"opening: a radius of {opening} pixels; give 0 or more")
    if category == DISTRACTOR:
        raise ValueError(f"category: {DISTRACTOR!r} is never co-salient; give another name")
    pairs = pair_masks(images, masks, suffix, skip_missing)
    sample = [files[0] for _, files in pairs[:SAMPLE]]
    if kind == "auto":
        kind = _guess(sample)
    if kind == "binary":
        if not invert:
            _check_ground(sample, threshold)
        read = partial(_read_binary, images, category, threshold, min_area, opening, invert)
    else:
        read = partial(_read_indexed, images, category, frozenset(void))
    return Source(pairs, read, f"Masks of {masks.name}", {category: 1})


def _guess(masks: list[Path]) -> str:
    """`index` where a mask counts 0 to N, 2 <= N < 128, or has a few colours, and none is black and
    white of 8 or 16 bits."""
    counts = False
    for values in map(np.unique, _readable(read_values, masks)):
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
    invert: bool,
    task: tuple[Path, tuple[Path, ...]],
) -> Scene:
    picture, files = task
    if len(files) > 1:
        return _read_objects(images, category, threshold, invert, task)
    mask = _inside(files[0], threshold, invert)
    parts, specks = components(mask, min_area * mask.size, opening)
    objects = [SourceObject(category, rle) for rle in parts]
    name = picture.relative_to(images).as_posix()
    speck = LeftOut(
        SPECK, f"{files[0]}: parts under --min-area: {len(specks)}", max(specks, default=0)
    )
    return Scene(picture, name, *mask.shape, objects, left_out=[speck] * len(specks))


def _read_objects(
    images: Path,
    category: str,
    threshold: int | None,
    invert: bool,
    task: tuple[Path, tuple[Path, ...]],
) -> Scene:
    """The scene of a picture with a mask an object."""
    picture, files = task
    masks = [_inside(file, threshold, invert) for file in files]
    for file, mask in zip(files, masks, strict=True):
        if mask.shape != masks[0].shape:
            raise ValueError(
                f"{file}: {mask.shape} pixels (height, width), but {files[0]} has "
                f"{masks[0].shape}; make them agree"
            )
    objects = [SourceObject(category, mask_rle(mask)) for mask in masks]
    return Scene(picture, picture.relative_to(images).as_posix(), *masks[0].shape, objects)


def _inside(file: Path, threshold: int | None, invert: bool) -> np.ndarray:
    mask = read_binary(file, threshold)
    if invert:
        return ~mask
    if mask.all():
        say_once(f"{file}: every pixel is inside; is it black and white?")
    if has_white_ground(mask):
        say_once(f"{file}: its border is white; if its objects are black, give --invert")
    return mask


def _check_ground(masks: list[Path], threshold: int | None) -> None:
    """Refuse black objects on white, which would become one object, the ground."""
    white = [
        has_white_ground(m) for m in _readable(partial(read_binary, threshold=threshold), masks)
    ]
    if sum(white) > len(white) / 2:
        raise ValueError(
            f"{masks[0].parent}: {sum(white)} of the first {len(white)} masks have a white border, "
            "so their objects seem to be black; give --invert"
        )


def _readable(read: Callable[[Path], np.ndarray], files: list[Path]) -> Iterator[np.ndarray]:
    """What can be read; the conversion names the rest."""
    for file in files:
        with contextlib.suppress(OSError, ValueError):
            yield read(file)


def _read_indexed(
    images: Path, category: str, void: frozenset[int], task: tuple[Path, tuple[Path, ...]]
) -> Scene:
    picture, files = task
    if len(files) > 1:
        return _read_objects(images, category, None, False, task)
    values = read_values(files[0])
    objects = [SourceObject(category, mask_rle(mask)) for _, mask in indexed(values, void)]
    return Scene(picture, picture.relative_to(images).as_posix(), *values.shape, objects)


def components(mask: np.ndarray, min_area: float, opening: int) -> tuple[list[dict], list[int]]:
    """Connected parts (8 neighbours) of a mask as RLE, largest first, and the areas of those that
    are too small.

    Args:
        mask: bool (H, W).
        min_area: smaller parts are too small, pixels.
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
    specks = areas[(areas > 0) & (areas < min_area)]
    return [mask_rle(labels == i) for i in large], specks.tolist()


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
