"""LabelMe: one json beside each picture, with polygons, rectangles, circles or masks."""

from __future__ import annotations

from functools import lru_cache, partial
from os.path import isfile, realpath
from pathlib import Path

import numpy as np

from cosal_d2.prepare.convert.conversion import Scene, Source
from cosal_d2.prepare.convert.drawing_frame import drawing_frame, is_clipped, reach_of
from cosal_d2.prepare.convert.labelme_shapes import Shape, from_base64, read_shape
from cosal_d2.prepare.convert.left_out import NO_LABEL, UNREADABLE, LeftOut
from cosal_d2.prepare.convert.picture_folder import PictureFolder
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.prepare.convert.source_files import find_files, need_folder, safe_name
from cosal_d2.utils.coco_fields import parse_side
from cosal_d2.utils.files import need_file, read_json
from cosal_d2.utils.masks import mask_rle
from cosal_d2.utils.pictures import PICTURE_SUFFIXES, READING_ERRORS, open_picture

UNLABELLED = "object"  # class of all shapes of a file in which none has a label


def labelme_source(folder: Path, images: Path | None = None) -> Source:
    """LabelMe json files.

    A label is a class, `distractor` too. Shapes of one label and `group_id` are one object; points
    and lines have no area. The picture is `imagePath`, the one named as the json, or `imageData`.

    Args:
        folder: json files, in subfolders too.
        images: pictures; None: beside the json files.

    Raises:
        FileNotFoundError: a folder is missing, or has no json.
    """
    folder = need_folder(folder, "json")
    pictures = None if images is None else PictureFolder(need_folder(images, "images"))
    files = find_files(folder, (".json",))
    if not files:
        raise FileNotFoundError(f"{folder}: no json files in it; give a folder to --json")
    return Source(files, partial(_read, folder, pictures), f"Selected from {folder.name}")


def _read(folder: Path, pictures: PictureFolder | None, task: Path) -> Scene:
    need_file(task)
    content = read_json(task)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise ValueError(f"{task}: the list `shapes` is missing; is it a LabelMe file?")
    inside = task.parent.relative_to(folder)
    picture, data = _picture(task, content, inside, pictures)
    given = content.get("imageHeight") or 0, content.get("imageWidth") or 0
    try:
        size = parse_side(given[0]), parse_side(given[1])
    except ValueError as error:
        raise ValueError(f"{task}: imageHeight and imageWidth are {given}; {error}") from error
    shapes, left_out = _shapes(task, content["shapes"])
    reach = reach_of([shape.outer_corners() for shape in shapes])
    frame = drawing_frame(picture, size if all(size) else None, reach, data)
    objects, clipped = _objects(shapes, *frame.size, left_out)
    try:
        root = folder if pictures is None else pictures.root
        name = Path(realpath(picture)).relative_to(realpath(root)).as_posix()
    except ValueError:  # elsewhere
        name = safe_name((inside / picture.name).as_posix())
    return Scene(
        picture,
        name,
        *frame.size,
        objects,
        data=data,
        left_out=left_out,
        clipped=clipped,
        frame=frame,
    )


def _picture(
    task: Path, content: dict, inside: Path, pictures: PictureFolder | None
) -> tuple[Path, bytes | None]:
    """The picture: at `imagePath`, named as the json, or else the content of `imageData`.

    Beside the json, `imagePath` may lead to another folder, as LabelMe writes it; in the folder of
    `--images` it does not.
    """
    given = str(content.get("imagePath") or "").replace("\\", "/")
    if pictures is None:
        if given and isfile(task.parent / given):
            return task.parent / given, None
        homes = [task.parent]
    else:
        homes = [pictures.root / inside, pictures.root]
    alike = [task.stem + s for suffix in PICTURE_SUFFIXES for s in (suffix, suffix.upper())]
    names = [safe_name(given), Path(given).name, *alike] if given else alike
    for home in homes:
        for name in names:
            if isfile(home / name):
                return home / name, None
    if content.get("imageData"):
        try:
            data = from_base64(content["imageData"])
            open_picture(data, "it").close()
        except READING_ERRORS as error:
            raise ValueError(
                f"{task}: no file fits `imagePath` {given!r}, and imageData is no picture "
                f"({error}); put the picture beside the json"
            ) from error
        suffix = ".jpg" if data[:2] == b"\xff\xd8" else ".png"
        return task.parent / (Path(given).name or task.stem + suffix), data
    pictures = pictures or _beside(task.parent)
    try:
        found = (pictures.fitting(name) for name in alike)
        return next((f for f in found if f), None) or pictures.find(given or task.name), None
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{task}: `imagePath` is {given!r}: {error}") from error


@lru_cache(maxsize=32)
def _beside(folder: Path) -> PictureFolder:
    """The pictures of a folder of json files, listed once a process."""
    return PictureFolder(folder)


def _shapes(task: Path, entries: list) -> tuple[list[Shape], list[LeftOut]]:
    """The shapes of a file that have an area, and those left out."""
    read = [read_shape(f"{task}: shapes[{i}]", i, entry) for i, entry in enumerate(entries)]
    shapes = [shape for shape in read if isinstance(shape, Shape)]
    left_out = [shape for shape in read if isinstance(shape, LeftOut)]
    if not any(shape.label for shape in shapes):
        for shape in shapes:
            shape.label = UNLABELLED
    for shape in shapes:
        if not shape.label:
            message = f"{shape.where}: no label, unlike other shapes of the file; give it one"
            left_out.append(LeftOut(NO_LABEL, message, shape.area))
    return [shape for shape in shapes if shape.label], left_out


def _objects(
    shapes: list[Shape], height: int, width: int, left_out: list[LeftOut]
) -> tuple[list[SourceObject], int]:
    """The objects, and how many reached beyond the picture; shapes that cannot be drawn join those
    left out."""
    masks: dict[tuple, np.ndarray] = {}
    clipped = 0
    for shape in shapes:
        try:
            mask = shape.draw(height, width)
        except ValueError as error:
            left_out.append(LeftOut(UNREADABLE, f"{shape.where}: {error}", shape.area))
            continue
        masks[shape.key] = masks[shape.key] | mask if shape.key in masks else mask
        clipped += is_clipped([shape.outer_corners()], (height, width))
    return [SourceObject(label, mask_rle(mask)) for (label, _), mask in masks.items()], clipped
