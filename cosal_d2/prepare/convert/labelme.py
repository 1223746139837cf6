"""LabelMe: one json beside each picture, with polygons, rectangles, circles or masks."""

from __future__ import annotations

import base64
import io
import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cosal_d2.prepare.convert.conversion import Scene, Source
from cosal_d2.prepare.convert.picture_file import load_picture
from cosal_d2.prepare.convert.polygons import draw_polygon
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.prepare.convert.source_files import find_files, need_folder, safe_name
from cosal_d2.utils.masks import mask_rle
from cosal_d2.utils.pictures import PICTURE_SUFFIXES, picture_size

NO_AREA = ("point", "points", "line", "linestrip")
QUADRANGLES = ("rectangle", "rotation", "oriented_rectangle")  # given as four corners


def labelme_source(folder: Path, images: Path | None = None) -> Source:
    """LabelMe json files.

    A label is a class, `distractor` too. Shapes of one label and `group_id` are one object; points
    and lines are ignored. The picture is `imagePath`, the one named as the json, or `imageData`.

    Args:
        folder: json files, in subfolders too.
        images: pictures; None: beside the json files.

    Raises:
        FileNotFoundError: a folder is missing, or has no json.
    """
    folder = need_folder(folder, "json")
    images = None if images is None else need_folder(images, "images")
    files = find_files(folder, (".json",))
    if not files:
        raise FileNotFoundError(f"{folder}: no json files in it; give a folder to --json")
    return Source(files, partial(_read, folder, images), f"Selected from {folder.name}")


def _read(folder: Path, images: Path | None, task: Path) -> Scene:
    try:
        content = json.loads(task.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{task} is not valid json: {error}; replace the file") from error
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise ValueError(f"{task}: the list `shapes` is missing; is it a LabelMe file?")
    inside = task.parent.relative_to(folder)
    homes = [task.parent] if images is None else [images / inside, images]
    picture, data = _picture(task, content, homes)
    size = content.get("imageHeight"), content.get("imageWidth")
    if None in size:
        size = picture_size(picture) if data is None else load_picture(picture, data).upright
    elif not all(isinstance(v, int) and v > 0 for v in size):
        raise ValueError(f"{task}: imageHeight and imageWidth are {size}; correct or remove them")
    masks: dict[tuple, np.ndarray] = {}
    for number, shape in enumerate(content["shapes"]):
        try:
            label, mask = str(shape["label"]), _draw(shape, *size)
        except KeyError as error:
            message = f"{task}: shapes[{number}]: the field {error} is missing; add it"
            raise ValueError(message) from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"{task}: shapes[{number}]: {error}") from error
        if mask is not None:
            group = shape.get("group_id")
            key = (label, number if group is None else f"group {group}")
            masks[key] = masks[key] | mask if key in masks else mask
    objects = [SourceObject(label, mask_rle(mask)) for (label, _), mask in masks.items()]
    try:
        name = picture.resolve().relative_to((images or folder).resolve()).as_posix()
    except ValueError:  # elsewhere
        name = safe_name((inside / picture.name).as_posix())
    return Scene(picture, name, *size, objects, data=data)


def _picture(task: Path, content: dict, homes: list[Path]) -> tuple[Path, bytes | None]:
    """The picture: at `imagePath`, named as the json, or else the content of `imageData`."""
    given = str(content.get("imagePath") or "").replace("\\", "/")
    names = [given, Path(given).name] if given else []
    names += [task.stem + s for suffix in PICTURE_SUFFIXES for s in (suffix, suffix.upper())]
    for home in homes:
        for name in names:
            if (home / name).is_file():
                return home / name, None
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


def _draw(shape: dict, height: int, width: int) -> np.ndarray | None:
    """The pixels of a shape, bool (height, width); None where it has no area."""
    kind = shape.get("shape_type") or "polygon"
    points = np.asarray(shape["points"], dtype=np.float64)
    if kind in NO_AREA:
        return None
    if kind == "polygon" or (kind in QUADRANGLES and len(points) == 4):
        return draw_polygon(points, height, width)
    if points.shape != (2, 2):
        raise ValueError(f"a {kind} needs two points, it has {len(points)}")
    (x0, y0), (x1, y1) = points
    if kind == "rectangle":
        return draw_polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], height, width)
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
    except (OSError, ValueError) as error:
        raise ValueError(f"the mask is no PNG in base64 ({error})") from error
    mask = np.zeros((height, width), bool)
    part = part[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    y, x = max(y, 0), max(x, 0)
    mask[y : y + part.shape[0], x : x + part.shape[1]] = part
    return mask
