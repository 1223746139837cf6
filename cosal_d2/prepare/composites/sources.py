"""What composites are made of, on disk: photographs with a COCO json, and folders of sprites."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from cosal_d2.prepare.composites.cutouts import (
    MIN_AREA,
    MIN_SIDE,
    PAD,
    Sprite,
    cut_out,
    object_mask,
    to_sprite,
    usable_box,
)
from cosal_d2.prepare.convert.source_files import find_files
from cosal_d2.utils.coco import check_fields, id_order, load_coco
from cosal_d2.utils.coco_fields import are_numbers
from cosal_d2.utils.image_paths import picture_path
from cosal_d2.utils.masks import to_rle
from cosal_d2.utils.pictures import READING_ERRORS, open_picture, picture_size, read_image

logger = logging.getLogger(__name__)

SPRITE_SUFFIXES = (".png", ".webp")

# A photograph gives several cut-outs and backgrounds in turn.
read_photo = lru_cache(maxsize=4)(read_image)


@dataclass(frozen=True)
class Annotation:
    """One annotated object.

    Attributes:
        id: the annotation's id in the json.
        class_name: its category's name.
        rle: COCO's compressed run-length mask of the whole picture.
        crowd: no outline of a single object: a crowd region, or the box of an object without mask.
    """

    id: int | str
    class_name: str
    rle: dict
    crowd: bool


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and everything annotated in it.

    Attributes:
        file: image file.
        height, width: pixels.
        complete: False where the json's image field `clean` is false: objects may lack there.
        annotations: in the order of their ids.
    """

    file: Path
    height: int
    width: int
    complete: bool
    annotations: list[Annotation] = field(default_factory=list)

    @property
    def class_names(self) -> set[str]:
        """Classes annotated in the picture."""
        return {a.class_name for a in self.annotations}


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object on disk that can be pasted.

    Attributes:
        class_name: its class.
        source: id of its annotation, or a sprite's file relative to the sprite folder.
        file: image file.
        box: x, y, width, height in the file, pixels.
        rle: COCO's run-length mask; None for a sprite, whose own alpha is used.
        others: classes annotated in its picture.
    """

    class_name: str
    source: int | str
    file: Path
    box: tuple[int, int, int, int]
    rle: dict | None = None
    others: frozenset[str] = frozenset()

    @property
    def side(self) -> float:
        """Geometric mean of the sides of its box, pixels."""
        return float(np.sqrt(self.box[2] * self.box[3]))


@lru_cache(maxsize=64)
def load_sprite(cutout: Cutout) -> Sprite:
    """Read the pixels of a cut-out.

    Raises:
        ValueError: the file is no picture, or is truncated.
    """
    x, y, w, h = cutout.box
    if cutout.rle is None:
        rgba = read_rgba(cutout.file)[y : y + h, x : x + w]
        return to_sprite(rgba[:, :, 2::-1], np.pad(rgba[:, :, 3].astype(np.float32) / 255, PAD))
    photo = read_photo(cutout.file)[y : y + h, x : x + w]
    return cut_out(photo, object_mask(cutout.rle, cutout.box))


def by_class(cutouts: Iterable[Cutout]) -> dict[str, list[Cutout]]:
    """Cut-outs by the name of their class, names in order."""
    classes: dict[str, list[Cutout]] = defaultdict(list)
    for cutout in cutouts:
        classes[cutout.class_name].append(cutout)
    return dict(sorted(classes.items()))


def photo_cutouts(pictures: list[Picture]) -> dict[str, list[Cutout]]:
    """Objects of photographs that can be cut out (no crowds, see `usable_box`), by class."""
    return by_class(
        Cutout(a.class_name, a.id, p.file, box, a.rle, frozenset(p.class_names))
        for p in pictures
        for a in p.annotations
        if not a.crowd and (box := usable_box(a.rle))
    )


def read_rgba(file: Path) -> np.ndarray:
    """A picture with transparency as uint8 RGBA (H, W, 4).

    Raises:
        ValueError: the file is no picture, or has no alpha.
    """
    try:
        with open_picture(file) as image:
            transparent, rgba = image.has_transparency_data, np.asarray(image.convert("RGBA"))
    except READING_ERRORS as error:
        raise ValueError(f"{file} is not readable as a picture: {error}") from error
    if not transparent:
        raise ValueError(f"{file} has no alpha; give pictures with transparency around the object")
    return rgba


def sprite_cutouts(folder: Path) -> dict[str, list[Cutout]]:
    """Sprites (PNG, WebP with alpha) under a folder, by class.

    The class is `sprite/` and the file's name without suffix: files of one name in different
    subfolders, such as one emoji of two fonts, are instances of one class. Sprites too small for a
    cut-out are left out.

    Raises:
        FileNotFoundError: no such folder, or no sprites in it.
        ValueError: a file is no picture or has no alpha.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; give a folder of PNG or WebP to --sprites"
        )
    found = []
    for file in find_files(folder, SPRITE_SUFFIXES):
        solid = (read_rgba(file)[:, :, 3] > 127).astype(np.uint8)
        box = tuple(cv2.boundingRect(solid))
        if min(box[2:]) >= MIN_SIDE and solid.sum() >= MIN_AREA:
            source = file.relative_to(folder).as_posix()
            found.append(Cutout(f"sprite/{file.stem}", source, file, box))
    if not found:
        raise FileNotFoundError(
            f"{folder}: no usable sprites; it needs PNG or WebP files of {MIN_SIDE} pixels or more"
        )
    return by_class(found)


def _mask_rle(segmentation: object, height: int, width: int) -> dict | None:
    """COCO's compressed RLE of polygons or of RLE, compressed or not; None where it is empty.

    Of polygons those parts count that have three corners or more. A mask without area is empty.
    """
    if isinstance(segmentation, list):
        parts = filter(are_numbers, segmentation)
        segmentation = [p for p in parts if len(p) >= 6 and len(p) % 2 == 0]
    rle = to_rle(segmentation, height, width) if segmentation else None
    return rle if rle and coco_mask.area(rle) else None


def _box_rle(box: object, height: int, width: int) -> dict:
    """RLE of a box x, y, width, height; of the whole picture where it is no such box."""
    if not are_numbers(box) or len(box) != 4 or min(box[2:]) <= 0:
        box = [0, 0, width, height]
    x, y, w, h = box
    return to_rle([[x, y, x + w, y, x + w, y + h, x, y + h]], height, width)


def _picture(entry: dict, folder: Path, json_file: Path) -> Picture:
    file = picture_path(folder, entry["file_name"])
    try:
        height, width = picture_size(file)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{file}: no such picture, but {json_file} lists it; is --images right?"
        ) from error
    stated = entry.get("height") or height, entry.get("width") or width
    if stated != (height, width):
        raise ValueError(
            f"{file} is {height} x {width} pixels (height x width, upright), but {json_file} says "
            f"{stated[0]} x {stated[1]}; correct `height` and `width` or the file"
        )
    return Picture(file, height, width, complete=bool(entry.get("clean", True)))


def read_pictures(json_file: Path, folder: Path) -> tuple[list[Picture], list[str]]:
    """Read a COCO instance json and check it against its pictures.

    Args:
        json_file: `images`, `annotations` with masks (polygons, RLE compressed or not) and
            `categories`; nothing beyond COCO's fields is needed. An annotation without mask (none,
            or no polygon of three corners) counts as a crowd that fills its `bbox`, or the whole
            picture without one; how many there are is logged.
        folder: what the `file_name` fields are relative to.

    Returns:
        The pictures in the order of the json, and the names of the json's categories.

    Raises:
        FileNotFoundError: the json or a picture is missing.
        ValueError: the json or a picture is not as it should be, or no annotation has a mask; the
            message names file and field.
    """
    json_file, folder = Path(json_file), Path(folder)
    content = load_coco(json_file)
    check_fields(content, json_file, optional=("height", "width"), unread=("bbox", "segmentation"))
    names = {c["id"]: str(c["name"]) for c in content["categories"]}
    pictures = {e["id"]: _picture(e, folder, json_file) for e in content["images"]}
    boxes, total = 0, len(content["annotations"])
    for i, entry in sorted(enumerate(content["annotations"]), key=lambda pair: id_order(pair[1])):
        where = f"{json_file}: annotations[{i}] (id {entry['id']})"
        for name, known in (("image_id", pictures), ("category_id", names)):
            if entry[name] not in known:
                raise ValueError(f"{where}: the {name} {entry[name]} is not in the file; add it")
        picture = pictures[entry["image_id"]]
        size = (picture.height, picture.width)
        try:
            rle = _mask_rle(entry.get("segmentation"), *size)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        crowd = bool(entry.get("iscrowd", 0)) or rle is None
        if rle is None:
            boxes += 1
            rle = _box_rle(entry.get("bbox"), *size)
        picture.annotations.append(Annotation(entry["id"], names[entry["category_id"]], rle, crowd))
    if boxes == total:
        raise ValueError(
            f"{json_file}: no annotation has a `segmentation`; masks are needed, not boxes alone"
        )
    if boxes:
        logger.warning(
            "%s: %d of %d annotations have no usable `segmentation`; they are not cut out, and "
            "backgrounds keep clear of their boxes",
            json_file,
            boxes,
            total,
        )
    return list(pictures.values()), list(names.values())
