"""LabelMe: one json beside each picture, with polygons, rectangles, circles or masks."""

from __future__ import annotations

import base64
import binascii
import io
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cosal_d2.prepare.convert.convert import Scene
from cosal_d2.prepare.convert.entries import find_files, listing_stamp, need_folder, safe_name
from cosal_d2.prepare.convert.pictures import load_picture, picture_size
from cosal_d2.prepare.convert.polygons import draw_polygons
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.utils.masks import mask_rle
from cosal_d2.utils.pictures import PICTURE_SUFFIXES

HELP = "a folder of LabelMe json files"
NO_AREA = ("point", "points", "line", "linestrip")
QUADRANGLES = ("rectangle", "rotation", "oriented_rectangle")  # given as four corners


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this format."""
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FOLDER", help="json files, one a picture")
    add("--images", type=Path, metavar="FOLDER", help="pictures (default: beside the json files)")


def source(args: Namespace) -> LabelmeSource:
    """The source that the options name."""
    return LabelmeSource(args.json, args.images)


class LabelmeSource:
    """A `Source`: LabelMe json files.

    A label is a class, `distractor` too. Shapes of one label and `group_id` are one object; points
    and lines are ignored. The picture is `imagePath`, the one named as the json, or `imageData`.

    Args:
        folder: json files, in subfolders too.
        images: pictures; None: beside the json files.

    Raises:
        FileNotFoundError: a folder is missing, or has no json.
    """

    def __init__(self, folder: Path, images: Path | None = None) -> None:
        self.folder = need_folder(folder, "json")
        self.images = None if images is None else need_folder(images, "images")
        self.files = find_files(self.folder, (".json",))
        if not self.files:
            raise FileNotFoundError(f"{self.folder}: no json files in it; give a folder to --json")
        self.categories, self.fields = None, {}
        self.description = f"Selected from {self.folder.name}"
        self.fingerprint = {
            "labelme": listing_stamp(self.folder, self.files),
            "images": None if images is None else str(self.images.resolve()),
        }

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k not in ("files", "fingerprint")}

    def tasks(self, work: Path) -> tuple[int, Iterable]:
        """The json files."""
        return len(self.files), self.files

    def read(self, task: Path) -> Scene:
        """The scene of a json file."""
        try:
            content = json.loads(task.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise ValueError(f"{task} is not valid json: {error}; replace the file") from error
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            raise ValueError(f"{task}: the list `shapes` is missing; is it a LabelMe file?")
        picture, data = self._picture(task, content)
        size = _size(task, content)
        if size is None:
            size = picture_size(picture) if data is None else load_picture(picture, data).upright
        masks: dict[tuple, np.ndarray] = {}
        for number, shape in enumerate(content["shapes"]):
            try:
                mask = _draw(shape, *size)
                label = str(shape["label"])
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{task}: shapes[{number}]: {_reason(error)}") from error
            if mask is None:
                continue
            group = shape.get("group_id")
            key = (label, number if group is None else f"group {group}")
            masks[key] = masks[key] | mask if key in masks else mask
        objects = [SourceObject(label, mask_rle(m)) for (label, _), m in masks.items()]
        return Scene(picture, self._name(picture, task), *size, objects, data=data)

    def _picture(self, task: Path, content: dict) -> tuple[Path, bytes | None]:
        """The picture: at `imagePath`, in --images, named as the json, or else its `imageData`."""
        given = str(content.get("imagePath") or "").replace("\\", "/")
        inside = task.parent.relative_to(self.folder)
        homes = [task.parent] if self.images is None else [self.images / inside, self.images]
        for home in homes:
            places = [home / given, home / Path(given).name] if given else []
            places += [home / (task.stem + s) for s in PICTURE_SUFFIXES]
            places += [home / (task.stem + s.upper()) for s in PICTURE_SUFFIXES]
            for place in places:
                if place.is_file():
                    return place, None
        if content.get("imageData"):
            try:
                data = base64.b64decode(content["imageData"])
            except (TypeError, ValueError) as error:
                raise ValueError(f"{task}: imageData is no base64 ({error}); remove it") from error
            suffix = ".jpg" if data[:2] == b"\xff\xd8" else ".png"
            return task.parent / (Path(given).name or task.stem + suffix), data
        raise FileNotFoundError(
            f"{task}: no picture {given or task.stem!r} in {homes[0]}; correct `imagePath` or give "
            "--images"
        )

    def _name(self, picture: Path, task: Path) -> str:
        home = self.folder if self.images is None else self.images
        try:
            return picture.resolve().relative_to(home.resolve()).as_posix()
        except ValueError:
            inside = task.parent.relative_to(self.folder)
            return safe_name((inside / picture.name).as_posix())


def _reason(error: Exception) -> str:
    return f"the field {error} is missing; add it" if isinstance(error, KeyError) else str(error)


def _size(task: Path, content: dict) -> tuple[int, int] | None:
    size = (content.get("imageHeight"), content.get("imageWidth"))
    if None in size:
        return None
    if not all(isinstance(v, int) and v > 0 for v in size):
        raise ValueError(f"{task}: imageHeight and imageWidth are {size}; correct or remove them")
    return size


def _draw(shape: dict, height: int, width: int) -> np.ndarray | None:
    """The pixels of a shape, bool (height, width); None where it has no area."""
    kind = shape.get("shape_type") or "polygon"
    points = np.asarray(shape["points"], dtype=np.float64)
    if kind in NO_AREA:
        return None
    if kind in QUADRANGLES and len(points) == 4:
        kind = "polygon"
    if kind == "polygon":
        return draw_polygons([points], height, width)
    if points.shape != (2, 2):
        raise ValueError(f"a {kind} needs two points, it has {len(points)}")
    (x0, y0), (x1, y1) = points
    if kind == "rectangle":
        return draw_polygons([[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]], height, width)
    if kind == "circle":
        mask = np.zeros((height, width), np.uint8)
        cv2.circle(mask, (round(x0), round(y0)), round(float(np.hypot(x1 - x0, y1 - y0))), 1, -1)
        return mask.astype(bool)
    if kind == "mask":
        return _paste(shape["mask"], round(min(x0, x1)), round(min(y0, y1)), height, width)
    raise ValueError(f"shape_type {kind!r} is unknown; draw a polygon")


def _paste(text: str, x: int, y: int, height: int, width: int) -> np.ndarray:
    """A mask given as PNG in base64, with its upper left corner at (x, y)."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text))) as image:
            part = np.asarray(image.convert("L")) > 0
    except (OSError, binascii.Error) as error:
        raise ValueError(f"the mask is no PNG in base64 ({error})") from error
    mask = np.zeros((height, width), bool)
    part = part[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    y, x = max(y, 0), max(x, 0)
    mask[y : y + part.shape[0], x : x + part.shape[1]] = part
    return mask
