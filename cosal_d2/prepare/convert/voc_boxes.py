"""Pascal VOC detection: an XML file a picture, whose objects have boxes and no masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from cosal_d2.prepare.convert.conversion import Scene, Source
from cosal_d2.prepare.convert.drawing_frame import Size, drawing_frame, reach_of
from cosal_d2.prepare.convert.left_out import (
    BOX,
    FROM_BOXES,
    NO_LABEL,
    UNREADABLE,
    BoxedObject,
    LeftOut,
)
from cosal_d2.prepare.convert.picture_folder import PictureFolder
from cosal_d2.prepare.convert.source_files import by_stem, need_folder
from cosal_d2.prepare.convert.voc import listed_stems
from cosal_d2.utils.coco_fields import parse_number, parse_side, shown
from cosal_d2.utils.files import need_file
from cosal_d2.utils.pictures import PICTURE_SUFFIXES


def voc_boxes_source(root: Path, listing: Path | None = None) -> Source:
    """VOC's boxes; every object is left out, with its box.

    Args:
        root: holds `Annotations/` and `JPEGImages/`, or XML files and pictures side by side.
        listing: file with the names of the pictures to take; None takes all that have an XML file.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: a file is unusable.
    """
    root = need_folder(root, "voc")
    home, pictures = (
        root / part if (root / part).is_dir() else root for part in ("Annotations", "JPEGImages")
    )
    found = by_stem(home, (".xml",))
    stems = sorted(found) if listing is None else listed_stems(listing)
    lacking = [stem for stem in stems if stem not in found]
    if lacking or not stems:
        raise FileNotFoundError(
            f"{home / lacking[0]}.xml: no such file, but {listing} names it; add it or remove the "
            "name"
            if lacking
            else f"{home}: no XML files in it; give the folder that has them to --voc"
        )
    tasks = [found[stem] for stem in stems]
    return Source(tasks, partial(_read, PictureFolder(pictures)), f"Selected from {root.name}")


def _read(pictures: PictureFolder, task: Path) -> Scene:
    need_file(task)
    try:
        top = ElementTree.parse(task).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(
            f"{task} is not valid XML: {error}; save it as UTF-8, or replace the file"
        ) from error
    picture = _picture(pictures, task, (top.findtext("filename") or "").strip())
    left_out = [
        _shape(f"{task}: object {number}", entry)
        for number, entry in enumerate(top.iter("object"), 1)
    ]
    boxes = [np.reshape(shape.boxed.box, (2, 2)) for shape in left_out if shape.boxed]
    frame = drawing_frame(picture, _stated(task, top), reach_of(boxes))
    return Scene(
        picture,
        picture.relative_to(pictures.root).as_posix(),
        *frame.size,
        [],
        left_out=left_out,
        frame=frame,
    )


def _picture(pictures: PictureFolder, task: Path, given: str) -> Path:
    """The picture that the file names, or else the one of the file's name."""
    found = pictures.fitting(given) if given else None
    if found is None:
        alike = (pictures.fitting(task.stem + suffix) for suffix in PICTURE_SUFFIXES)
        found = next(filter(None, alike), None)
    return found or pictures.find(given or f"{task.stem}.jpg")


def _stated(task: Path, top: ElementTree.Element) -> Size | None:
    """(height, width) as the file says it; None where it says nothing."""
    given = [top.findtext(f"size/{side}") or "0" for side in ("height", "width")]
    try:
        height, width = map(parse_side, given)
    except ValueError as error:
        raise ValueError(f"{task}: `size` is {given} (height, width); {error}") from error
    return (height, width) if height and width else None


def _shape(where: str, entry: ElementTree.Element) -> LeftOut:
    """An object of a file. Of VOC's corners, counted from 1, the last ones are inside the box."""
    name = (entry.findtext("name") or "").strip()
    given = [entry.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x0, y0, x1, y1 = map(parse_number, given)
    except ValueError:
        return LeftOut(UNREADABLE, f"{where}: its box is {shown(given)}; give four numbers")
    box = (max(x0 - 1, 0), max(y0 - 1, 0), x1, y1)
    area = max(box[2] - box[0], 0) * max(box[3] - box[1], 0)
    if not name:
        return LeftOut(NO_LABEL, f"{where}: it has no `name`; give it one", area)
    if not area:
        return LeftOut(UNREADABLE, f"{where}: its box {shown(given)} has no area; draw it again", 0)
    message = f"{where}: a box without a mask; {FROM_BOXES}"
    return LeftOut(BOX, message, area, BoxedObject(name, box))
