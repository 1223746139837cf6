"""Objects cut out of photographs, and sprites: which are usable, and their pixels."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from cosal_d2.prepare.composites.source import Annotation, Picture
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.pictures import upright_bgr

BORDER = 2  # pixels: an object's box nearer to the frame counts as cut by it
MIN_SIDE, MIN_AREA = 28, 400  # pixels
MAIN_PART = 0.85  # least share of an object's pixels in its largest connected part
MAX_HOLES = 0.15  # of an object's filled outline
MIN_CORE = 0.5  # least share of an object's pixels that its rim leaves
PAD = 3  # transparent pixels around a cut-out
# Pixels: the longest side that the largest composite shows, 0.6 of 2048.
LONGEST = 1229
SPRITE_FILES = (".png", ".webp")


@dataclass(frozen=True)
class Cutout:
    """An object that can be pasted.

    Attributes:
        class_name: its class.
        source: id of its annotation, or a sprite's file relative to the sprite folder.
        file: image file.
        side: geometric mean of the sides of its box, pixels.
        box: x, y, width, height in the file, pixels.
        rle: COCO's run-length mask; None for a sprite, whose own alpha is used.
        others: classes annotated in its picture.
    """

    class_name: str
    source: int | str
    file: Path
    side: float
    box: tuple[int, int, int, int]
    rle: dict | None = field(default=None, hash=False, compare=False)
    others: frozenset[str] = field(default=frozenset(), hash=False, compare=False)


def _core(mask: np.ndarray, side: float) -> np.ndarray:
    """A mask without its rim, where the former background may show.

    Args:
        mask: uint8 (h, w), 0 or 1.
        side: size of the object in pixels.

    Returns:
        uint8 (h + 2 PAD, w + 2 PAD), 0 or 255.
    """
    smooth = cv2.medianBlur(np.pad(mask, PAD) * 255, 3)
    size = 3 if side < 90 else 5
    return cv2.erode(smooth, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))


def _is_whole(mask: np.ndarray) -> bool:
    """Whether a mask, bool (h, w), is one piece without large holes."""
    padded = np.pad(mask, 1).astype(np.uint8)
    _, _, parts, _ = cv2.connectedComponentsWithStats(padded, connectivity=8)
    if parts[1:, cv2.CC_STAT_AREA].max(initial=0) < MAIN_PART * mask.sum():
        return False
    _, _, gaps, _ = cv2.connectedComponentsWithStats(1 - padded, connectivity=4)
    holes = int((1 - padded).sum()) - int(gaps[1:, cv2.CC_STAT_AREA][0]) if len(gaps) > 1 else 0
    return holes <= MAX_HOLES * (holes + mask.sum())


def _cutout(picture: Picture, annotation: Annotation) -> Cutout | None:
    """The annotation as a cut-out, or None where it is of no use."""
    x, y, w, h = (int(v) for v in coco_mask.toBbox(annotation.rle))
    inside = (
        min(x, y) >= BORDER and x + w <= picture.width - BORDER and y + h <= picture.height - BORDER
    )
    large = min(w, h) >= MIN_SIDE and coco_mask.area(annotation.rle) >= MIN_AREA
    if annotation.crowd or not inside or not large:
        return None
    mask = coco_mask.decode(annotation.rle)[y : y + h, x : x + w]
    side = float(np.sqrt(w * h))
    if not _is_whole(mask > 0) or (_core(mask, side) > 0).sum() < MIN_CORE * mask.sum():
        return None
    others = frozenset(picture.class_names)
    return Cutout(
        annotation.class_name,
        annotation.id,
        picture.file,
        side,
        (x, y, w, h),
        annotation.rle,
        others,
    )


def photo_cutouts(pictures: list[Picture]) -> dict[str, list[Cutout]]:
    """Usable objects of photographs by class.

    Left out are crowds, objects that the frame cuts, small ones, threads, and those in pieces or
    with large holes (something stood before them).
    """
    classes: dict[str, list[Cutout]] = defaultdict(list)
    for picture in pictures:
        for annotation in picture.annotations:
            cutout = _cutout(picture, annotation)
            if cutout is not None:
                classes[cutout.class_name].append(cutout)
    return dict(sorted(classes.items()))


def sprite_cutouts(folder: Path) -> dict[str, list[Cutout]]:
    """Sprites (PNG, WebP with alpha) under a folder, by class.

    The class is the file's name without suffix: files of one name in different subfolders, such as
    one emoji of two fonts, are instances of one class. Sprites too small for a cut-out are left
    out.

    Raises:
        FileNotFoundError: no such folder, or no sprites in it.
        ValueError: a file is no picture or has no alpha.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; give a folder of PNG or WebP to --sprites"
        )
    classes: dict[str, list[Cutout]] = defaultdict(list)
    for file in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SPRITE_FILES):
        try:
            with Image.open(file) as image:
                if not image.has_transparency_data:
                    raise ValueError(
                        f"sprites: {file} has no alpha; give pictures with transparency around the "
                        "object"
                    )
                alpha = np.asarray(image.convert("RGBA"))[:, :, 3]
        except OSError as error:
            raise ValueError(f"sprites: {file} is not readable as a picture: {error}") from error
        x, y, w, h = cv2.boundingRect((alpha > 127).astype(np.uint8))
        if min(w, h) < MIN_SIDE or (alpha > 127).sum() < MIN_AREA:
            continue
        relative = file.relative_to(folder)
        name = f"sprite/{relative.stem}"
        side = float(np.sqrt(w * h))
        classes[name].append(Cutout(name, relative.as_posix(), file, side, (x, y, w, h)))
    if not classes:
        raise FileNotFoundError(
            f"{folder}: no usable sprites; it needs PNG or WebP files of {MIN_SIDE} pixels or more"
        )
    return dict(sorted(classes.items()))


@lru_cache(maxsize=4)
def read_photo(file: Path) -> np.ndarray:
    """A photograph as uint8 BGR (H, W, 3), upright, transparent parts on white.

    Raises:
        ValueError: the file is no picture, or is truncated.
    """
    try:
        with Image.open(file) as image:
            return upright_bgr(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"images: {file} is not readable as a picture: {error}") from error


@lru_cache(maxsize=64)
def load_cutout(cutout: Cutout) -> np.ndarray:
    """Pixels of a cut-out.

    The mask of a photographed object is eroded a little, so that nothing of its former background
    shows, and feathered.

    Returns:
        float32 (h + 2 PAD, w + 2 PAD, 4): BGR premultiplied with alpha, 0 to 255, and alpha 0 to 1;
        shrunk where the longest side is more than `LONGEST`.
    """
    x, y, w, h = cutout.box
    if cutout.rle is None:
        with Image.open(cutout.file) as image:
            rgba = np.asarray(image.convert("RGBA"))[y : y + h, x : x + w]
        colour, alpha = rgba[:, :, 2::-1], rgba[:, :, 3].astype(np.float32) / 255
        alpha = np.pad(alpha, PAD)
    else:
        colour = read_photo(cutout.file)[y : y + h, x : x + w]
        mask = coco_mask.decode(cutout.rle)[y : y + h, x : x + w]
        core = _core(mask, cutout.side).astype(np.float32) / 255
        alpha = cv2.GaussianBlur(core, (0, 0), 0.8) * (cv2.medianBlur(np.pad(mask, PAD), 3) > 0)
    colour = cv2.copyMakeBorder(
        np.ascontiguousarray(colour), PAD, PAD, PAD, PAD, cv2.BORDER_REPLICATE
    )
    pixels = np.dstack([colour.astype(np.float32) * alpha[:, :, None], alpha])
    scale = LONGEST / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = [max(1, round(v * scale)) for v in pixels.shape[1::-1]]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def usable_classes(names: dict[str, list[Cutout]]) -> list[str]:
    """Classes that a group can be of."""
    return [name for name in names if name != DISTRACTOR]
