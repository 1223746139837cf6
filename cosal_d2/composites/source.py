"""The json that cut-outs and backgrounds come from, checked, with its masks as RLE."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from cosal_d2.rle import to_rle

DISTRACTOR = "distractor"
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
        crowd: a crowd region, no single object.
    """

    id: int
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


def _picture(entry: dict, folder: Path, json_file: Path) -> Picture:
    file = folder / entry["file_name"]
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: no such picture, but {json_file} lists it; is --images right?"
        )
    try:
        with Image.open(file) as image:
            found = (image.height, image.width)
    except OSError as error:
        raise ValueError(f"images: {file} is not readable as a picture: {error}") from error
    if found != (entry["height"], entry["width"]):
        raise ValueError(
            f"images: {file} is {found[0]} x {found[1]} pixels (height x width), but {json_file} "
            f"says {entry['height']} x {entry['width']}; correct `height` and `width` or the file"
        )
    return Picture(file, *found, complete=bool(entry.get("clean", True)))


def read_pictures(json_file: Path, folder: Path) -> tuple[list[Picture], list[str]]:
    """Read a COCO instance json and check it against its pictures.

    Args:
        json_file: `images`, `annotations` with masks (polygons, RLE compressed or not) and
            `categories`; nothing beyond COCO's fields is needed.
        folder: what the `file_name` fields are relative to.

    Returns:
        The pictures in the order of the json, and the names of the json's categories.

    Raises:
        FileNotFoundError: the json or a picture is missing.
        ValueError: the json or a picture is not as it should be; the message names file and field.
    """
    json_file, folder = Path(json_file), Path(folder)
    content = _read(json_file)
    names = {c["id"]: c["name"] for c in content["categories"]}
    pictures = {i["id"]: _picture(i, folder, json_file) for i in content["images"]}
    for i, entry in sorted(enumerate(content["annotations"]), key=lambda pair: pair[1]["id"]):
        where = f"{json_file}: annotations[{i}] (id {entry['id']})"
        picture = pictures.get(entry["image_id"])
        if picture is None or entry["category_id"] not in names:
            part = "image_id" if picture is None else "category_id"
            raise ValueError(f"json: {where}: the {part} {entry[part]} is not in the file; add it")
        if entry.get("segmentation") is None:
            raise ValueError(f"json: {where}: no `segmentation`; masks are needed, not boxes alone")
        try:
            rle = to_rle(entry["segmentation"], picture.height, picture.width)
        except ValueError as error:
            raise ValueError(f"json: {where}: {error}") from error
        crowd = bool(entry.get("iscrowd", 0))
        picture.annotations.append(Annotation(entry["id"], names[entry["category_id"]], rle, crowd))
    return list(pictures.values()), list(names.values())
