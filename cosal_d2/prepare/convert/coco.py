"""COCO instance json: masks as polygons or RLE, compressed or not."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from cosal_d2.prepare.convert.conversion import Scene, Source
from cosal_d2.prepare.convert.drawing_frame import (
    Frame,
    Size,
    drawing_frame,
    is_clipped,
    is_upright,
    reach_of,
)
from cosal_d2.prepare.convert.left_out import (
    BOX,
    CROSSED,
    FEW_POINTS,
    FROM_BOXES,
    NO_AREA,
    NO_MASK,
    NO_PICTURE,
    OTHER_SIZE,
    UNREADABLE,
    BoxedObject,
    LeftOut,
)
from cosal_d2.prepare.convert.picture_folder import PictureFolder, relative_parts
from cosal_d2.prepare.convert.polygons import are_crossed, spanned
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.prepare.convert.source_files import need_folder
from cosal_d2.utils.coco import FIELDS, check_fields, load_coco
from cosal_d2.utils.coco_fields import parse_box, parse_flag, parse_side, shown
from cosal_d2.utils.masks import to_rle
from cosal_d2.utils.pixel_values import say_once

# Fields that the conversion writes itself; others go into the dataset as they are.
IMAGE_FIELDS = (*FIELDS["images"], "cosalient_category")
ANNOTATION_FIELDS = (
    *(*FIELDS["annotations"], "area", "iscrowd"),
    *("keypoints", "num_keypoints", "category"),
)


def coco_source(json_file: Path, images: Path) -> Source:
    """A COCO instance json and its image folder.

    Ids of images, and fields that are not COCO's, are kept. Annotations of no picture, as where the
    json is of a subset of pictures, are left out unless all are; the log names one.

    Raises:
        FileNotFoundError: json or folder are missing.
        ValueError: the json lacks a field; the message names the entry.
    """
    json_file, images = Path(json_file), need_folder(images, "images")
    content = load_coco(json_file)
    if not content["images"]:
        raise ValueError(f"{json_file}: `images` is empty; export the pictures too")
    for entry in content["images"]:  # of a path elsewhere, the end may be one of `images`
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str):
            entry["file_name"] = "/".join(relative_parts(entry["file_name"]))
    for i, entry in enumerate(content["annotations"]):
        if isinstance(entry, dict):
            _spell_out(entry, i)
    check_fields(
        content,
        json_file,
        optional=("height", "width"),
        unread=("bbox", "segmentation", "area"),
        may_repeat=("annotations",),
    )
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    own: dict[object, list[dict]] = defaultdict(list)
    for entry in content["annotations"]:
        own[entry["image_id"]].append(entry)
    tasks = [(image, own.pop(image["id"], [])) for image in content["images"]]
    strangers = [entry for entries in own.values() for entry in entries]
    if strangers:
        example = f"that of id {strangers[0]['id']!r}, of image {strangers[0]['image_id']!r}"
        if len(strangers) == len(content["annotations"]):
            raise ValueError(
                f"{json_file}: no annotation is of a picture in `images`, such as {example}; "
                "correct the ids, or add the images"
            )
        say_once(
            f"{json_file}: {len(strangers)} annotations are of no picture in `images` and left "
            f"out, such as {example}"
        )
    keep_ids = all(isinstance(image["id"], int) for image in content["images"])
    return Source(
        tasks,
        partial(_read, json_file.name, PictureFolder(images), names, keep_ids, any_upright(tasks)),
        f"Selected from {json_file.name}",
        {name: i for i, name in reversed(names.items())},  # of equal names the first id
        {"licenses": content["licenses"]} if "licenses" in content else {},
        Counter({NO_PICTURE: len(strangers)} if strangers else {}),
    )


def _spell_out(entry: dict, position: int) -> None:
    """Give an annotation without an id one, and make what is to be ignored a crowd."""
    if entry.get("id") is None:
        entry["id"] = f"annotations[{position}]"
    with contextlib.suppress(ValueError):  # of what is no flag, for `check_fields` to name
        if parse_flag(entry.get("ignore") or 0):
            entry["iscrowd"] = 1
        entry.pop("ignore", None)


def _read(
    json_name: str,
    folder: PictureFolder,
    names: dict[int, str],
    keep_ids: bool,
    others_upright: bool,
    task: tuple[dict, list[dict]],
) -> Scene:
    image, annotations = task
    file = folder.find(image["file_name"])
    frame = picture_frame(file, image, annotations, others_upright)
    polygons = [_polygons(entry.get("segmentation")) for entry in annotations]
    sizes = [_rle_size(entry.get("segmentation")) for entry in annotations]
    some_fit = frame.size in sizes or any(polygons)
    objects, left_out, clipped = [], [], 0
    for entry, own in zip(annotations, polygons, strict=True):
        where = f"{file}: {json_name}, annotation of id {entry['id']}"
        if entry["category_id"] not in names:
            raise ValueError(
                f"{where}: the category_id {entry['category_id']!r} is none of `categories`; "
                "add it or correct it"
            )
        found = _mask(entry, own, frame.size, where)
        if isinstance(found, LeftOut):
            if found.reason == OTHER_SIZE and not some_fit:  # the picture's is wrong
                raise ValueError(found.message)
            left_out.append(replace(found, boxed=_boxed(entry, names)))
            continue
        clipped += is_clipped(own or [], frame.size)
        name = names[entry["category_id"]]
        objects.append(SourceObject(name, found, _is_crowd(entry), _further(entry)))
    kept = {k: v for k, v in image.items() if k not in IMAGE_FIELDS or (k == "id" and keep_ids)}
    return Scene(
        file,
        file.relative_to(folder.root).as_posix(),
        *frame.size,
        objects,
        kept,
        left_out=left_out,
        clipped=clipped,
        frame=frame,
    )


def picture_frame(file: Path, image: dict, entries: list[dict], others_upright: bool) -> Frame:
    """Which way up a picture was held when its masks were made.

    Args:
        file: the picture.
        image: its entry.
        entries: its annotations.
        others_upright: see :func:`.drawing_frame`.

    Raises:
        FileNotFoundError, ValueError: as of :func:`.drawing_frame`.
    """
    sizes = [_rle_size(entry.get("segmentation")) for entry in entries]
    polygons = [_polygons(entry.get("segmentation")) for entry in entries]
    reach = None if any(sizes) else reach_of(_corners(entries, polygons))
    return drawing_frame(file, _stated(image, sizes), reach, others_upright=others_upright)


def any_upright(tasks: Iterable[tuple[dict, list[dict]]]) -> bool:
    """Whether boxes of any picture show that the tool states stored sizes of pictures that it shows
    upright, as Label Studio does."""
    for image, entries in tasks:
        stated, boxes = _stated(image, []), [_box(entry) for entry in entries]
        far = [(y + h, x + w) for x, y, w, h in filter(None, boxes)]
        if stated and far and is_upright(stated, tuple(map(max, zip(*far, strict=True)))):
            return True
    return False


def _box(entry: dict) -> list[float] | None:
    """x, y, width and height of an annotation; None where it has none."""
    try:
        return parse_box(entry.get("bbox"))
    except ValueError:
        return None


def _corners(entries: list[dict], polygons: list[list[np.ndarray] | None]) -> list[np.ndarray]:
    """All corners, (N, 2) each: of polygons, and of the boxes of annotations that have none."""
    boxes = [_box(entry) for entry, own in zip(entries, polygons, strict=True) if not own]
    outer = [np.array([[x, y], [x + w, y + h]]) for x, y, w, h in filter(None, boxes)]
    return [p for own in polygons for p in own or []] + outer


def _stated(image: dict, mask_sizes: list[Size | None]) -> Size | None:
    """The size that the json gives for a picture's masks, None where the picture's file knows.

    RLE of the size that is the other way round was made of the picture turned, and so were the
    corners beside it.
    """
    size = image.get("height") or 0, image.get("width") or 0
    known = {s for s in mask_sizes if s}
    if len(known) == 1 and (min(size) <= 0 or known == {size[::-1]}):
        return known.pop()
    return size if min(size) > 0 else None


def _rle_size(segmentation: object) -> Size | None:
    """(height, width) of RLE; None of anything else."""
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        return None
    try:
        return parse_side(size[0]), parse_side(size[1])
    except ValueError:
        return None


def _polygons(segmentation: object) -> list[np.ndarray] | None:
    """The polygons of a segmentation, (N, 2) each, those of no point left out; None where it is no
    list of polygons."""
    if not isinstance(segmentation, list):
        return None
    try:
        return [np.asarray(p, dtype=np.float64).reshape(-1, 2) for p in segmentation if len(p)]
    except (OverflowError, TypeError, ValueError):
        return None


def _mask(entry: dict, polygons: list[np.ndarray] | None, size: Size, where: str) -> dict | LeftOut:
    """The mask of an annotation as RLE, or why there is none."""
    segmentation = entry.get("segmentation")
    area = _spanned_area(entry, polygons or [])
    if segmentation in (None, [], {}, "") or polygons == []:
        if entry.get("keypoints") and not area:
            return LeftOut(NO_AREA, f"{where}: it has points alone", 0)
        if area:
            return LeftOut(BOX, f"{where}: `segmentation` is empty; {FROM_BOXES}", area)
        box = f", and its bbox is {shown(entry['bbox'])}" if "bbox" in entry else ""
        return LeftOut(NO_MASK, f"{where}: `segmentation` is empty{box}; draw the mask", area)
    if polygons is not None:
        polygons = [p for p in polygons if len(p) >= 3]
        if not polygons:
            return LeftOut(FEW_POINTS, f"{where}: a polygon needs three points or more", area)
        segmentation = [p.ravel().tolist() for p in polygons]
    try:
        rle = to_rle(segmentation, *size)
    except ValueError as error:
        reason = OTHER_SIZE if _rle_size(segmentation) not in (None, size) else UNREADABLE
        return LeftOut(reason, f"{where}: {error}", area or None)  # a box of no area tells nothing
    if polygons is not None and are_crossed(polygons):
        return LeftOut(CROSSED, f"{where}: the outline of its polygon crosses itself", area)
    return rle


def _spanned_area(entry: dict, polygons: list[np.ndarray]) -> float | None:
    """The larger area of an annotation's box and of the one around its corners, pixels; None where
    it has neither, or where a corner is no number."""
    box = _box(entry)
    areas = [] if box is None else [float(box[2] * box[3])]
    if polygons:
        areas.append(spanned(np.concatenate(polygons)))
    return None if None in areas else max(areas, default=None)


def _boxed(entry: dict, names: dict[int, str]) -> BoxedObject | None:
    """An annotation without a mask by its box; None where it has no box of some area."""
    found = _box(entry)
    if found is None or not found[2] * found[3]:
        return None
    x, y, width, height = found
    box = (x, y, x + width, y + height)
    return BoxedObject(names[entry["category_id"]], box, _is_crowd(entry), _further(entry))


def _further(entry: dict) -> dict:
    """Fields of an annotation that are not COCO's."""
    return {k: v for k, v in entry.items() if k not in ANNOTATION_FIELDS}


def _is_crowd(entry: dict) -> bool:
    """Whether an annotation is a region of many objects.

    CVAT writes every mask that was painted, and not drawn as a polygon, with `iscrowd` 1.
    """
    by_cvat = isinstance(entry.get("attributes"), dict) and "occluded" in entry["attributes"]
    return bool(entry.get("iscrowd", 0)) and not by_cvat
