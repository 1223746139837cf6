"""The json that cut-outs and backgrounds come from, checked, with its masks as RLE."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from pycocotools import mask as coco_mask

from cosal_d2.utils.masks import to_rle
from cosal_d2.utils.pictures import upright_size

logger = logging.getLogger(__name__)

FIELDS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id"),
    "categories": ("id", "name"),
}


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


@dataclass(frozen=True)
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


def _read(json_file: Path) -> dict:
    if not json_file.is_file():
        raise FileNotFoundError(f"{json_file}: no such file; give a COCO instance json to --json")
    try:
        content = json.loads(json_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"json: {json_file} is not valid json: {error}") from error
    for part, fields in FIELDS.items():
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise ValueError(
                f"json: {json_file}: the list `{part}` is missing; COCO instance format has "
                "`images`, `annotations` and `categories`"
            )
        for i, entry in enumerate(content[part]):
            for name in fields:
                if not isinstance(entry, dict) or name not in entry:
                    raise ValueError(
                        f"json: {json_file}: {part}[{i}] has no `{name}`; add it as in COCO "
                        "instance format"
                    )
    return content


def _rle(segmentation: object, height: int, width: int, where: str) -> dict | None:
    """COCO's compressed RLE of polygons or of RLE, compressed or not; None where it is empty.

    Of polygons those parts count that have three corners or more. A mask without area is empty.
    """
    if isinstance(segmentation, list):
        segmentation = [p for p in segmentation if _numbers(p) and len(p) >= 6 and len(p) % 2 == 0]
    if not segmentation:
        return None
    try:
        rle = to_rle(segmentation, height, width)
    except ValueError as error:
        raise ValueError(f"json: {where}: {error}") from error
    return rle if coco_mask.area(rle) else None


def _numbers(values: object) -> bool:
    return isinstance(values, list) and all(
        isinstance(v, (int, float)) and math.isfinite(v) for v in values
    )


def _box_rle(box: object, height: int, width: int) -> dict:
    """RLE of a box x, y, width, height; of the whole picture where it is no such box."""
    if not _numbers(box) or len(box) != 4 or min(box[2:]) <= 0:
        box = [0, 0, width, height]
    x, y, w, h = box
    corners = [x, y, x + w, y, x + w, y + h, x, y + h]
    return coco_mask.merge(coco_mask.frPyObjects([corners], height, width))


def _id_order(entry: dict) -> tuple[int, float, str]:
    """Sort key of ids: numbers by value, then all others as text."""
    key = entry["id"]
    return (0, key, "") if isinstance(key, (int, float)) else (1, 0, str(key))


def _pictures(entries: Sequence[dict], folder: Path, json_file: Path) -> dict[int | str, Picture]:
    pictures: dict[int | str, Picture] = {}
    for i, entry in enumerate(entries):
        if entry["id"] in pictures:
            raise ValueError(
                f"json: {json_file}: images[{i}] repeats the id {entry['id']!r}; give each image "
                "its own"
            )
        pictures[entry["id"]] = _picture(entry, folder, json_file)
    return pictures


def _picture(entry: dict, folder: Path, json_file: Path) -> Picture:
    file = folder / entry["file_name"]
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: no such picture, but {json_file} lists it; is --images right?"
        )
    try:
        with Image.open(file) as image:
            found = upright_size(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"images: {file} is not readable as a picture: {error}") from error
    if found != (entry["height"], entry["width"]):
        raise ValueError(
            f"images: {file} is {found[0]} x {found[1]} pixels (height x width, upright), but "
            f"{json_file} says {entry['height']} x {entry['width']}; correct `height` and `width` "
            "or the file"
        )
    return Picture(file, *found, complete=bool(entry.get("clean", True)))


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
    content = _read(json_file)
    names = {c["id"]: str(c["name"]) for c in content["categories"]}
    pictures = _pictures(content["images"], folder, json_file)
    boxes = 0
    for i, entry in sorted(enumerate(content["annotations"]), key=lambda pair: _id_order(pair[1])):
        where = f"{json_file}: annotations[{i}] (id {entry['id']})"
        picture = pictures.get(entry["image_id"])
        if picture is None or entry["category_id"] not in names:
            part = "image_id" if picture is None else "category_id"
            raise ValueError(f"json: {where}: the {part} {entry[part]} is not in the file; add it")
        rle = _rle(entry.get("segmentation"), picture.height, picture.width, where)
        crowd = bool(entry.get("iscrowd", 0)) or rle is None
        if rle is None:
            boxes += 1
            rle = _box_rle(entry.get("bbox"), picture.height, picture.width)
        picture.annotations.append(Annotation(entry["id"], names[entry["category_id"]], rle, crowd))
    total = len(content["annotations"])
    if boxes == total:
        raise ValueError(
            f"json: {json_file}: no annotation has a `segmentation`; masks are needed, not boxes "
            "alone"
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
