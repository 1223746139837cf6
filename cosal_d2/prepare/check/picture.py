"""Faults of one picture and its annotations; runs in other processes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from cosal_d2.prepare.check.crossing import crosses_itself
from cosal_d2.prepare.check.findings import ERROR, WARNING, Finding
from cosal_d2.prepare.check.near_duplicates import Print, file_print
from cosal_d2.prepare.check.structure import id_key
from cosal_d2.prepare.convert.picture_file import Picture, load_picture
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.masks import to_rle

TOLERANCE = 1.0  # pixels: a box may be so much off its mask
OUTSIDE = 0.5  # pixels: a box may be so much outside its picture
MAX_IOU = 0.7


@dataclass(frozen=True)
class PictureTask:
    """One picture to check.

    Attributes:
        file: the picture.
        position: of its entry in `images`.
        image: its entry.
        annotations: pairs of position in `annotations` and entry.
        names: category names by id.
        check: False: only the print is wanted, of a picture of another split.
    """

    file: Path
    position: int
    image: dict
    annotations: list[tuple[int, dict]]
    names: dict[object, str]
    check: bool = True


def check_picture(task: PictureTask) -> tuple[list[Finding], Print | None]:
    """Faults of a picture, and its print where it is readable."""
    try:
        picture = load_picture(task.file)
        seen = file_print(task.file)
    except FileNotFoundError:
        message, fix = "there is no such file", "add it, or remove the image and its annotations"
        return [_of(task, "missing image", message, fix)] if task.check else [], None
    except ValueError as error:
        reason = str(error).removeprefix(f"{task.file}: ")
        fix = "replace the file, or remove the image and its annotations"
        finding = _of(task, "unreadable image", reason.split("; replace")[0], fix)
        return [finding] if task.check else [], None
    return (list(_check(task, picture)), seen) if task.check else ([], seen)


def _of(
    task: PictureTask,
    kind: str,
    message: str,
    fix: str,
    annotation: tuple[int, dict] | None = None,
    severity: str = ERROR,
) -> Finding:
    return Finding(
        kind,
        severity,
        str(task.file),
        message,
        fix,
        image_id=task.image.get("id"),
        annotation_id=None if annotation is None else annotation[1].get("id"),
        image=task.position,
        annotation=None if annotation is None else annotation[0],
    )


def _check(task: PictureTask, picture: Picture) -> Iterator[Finding]:
    given = (task.image.get("height"), task.image.get("width"))
    if None not in given and given != picture.upright:
        height, width = picture.upright
        note = " once its EXIF rotation is applied" if given == picture.stored else ""
        yield _of(
            task,
            "size mismatch",
            f"the picture has {height} x {width} pixels{note} (height x width), the json says "
            f"{given[0]} x {given[1]}",
            "correct `height` and `width` together with the masks, or replace the file",
        )
    else:
        yield from _masks(task, *picture.upright)
    yield from _group(task)


def _masks(task: PictureTask, height: int, width: int) -> Iterator[Finding]:
    good: list[tuple[tuple[int, dict], dict]] = []
    for annotation in task.annotations:
        rle = None
        if "segmentation" in annotation[1]:
            segmentation = annotation[1]["segmentation"]
            rle, fault = _mask(task, annotation, segmentation, height, width)
            if fault is not None:
                yield fault
        if "bbox" in annotation[1]:
            box_fault = _box(task, annotation, rle, height, width)
            if box_fault is not None:
                yield box_fault
        if rle is not None:
            good.append((annotation, rle))
            area = annotation[1].get("area")
            if isinstance(area, (int, float)) and annotation[1].get("iscrowd", 0) == 0:
                yield from _area(task, annotation, area, int(coco_mask.area(rle)))
    yield from _overlaps(task, good)


def _mask(
    task: PictureTask, annotation: tuple[int, dict], segmentation: object, height: int, width: int
) -> tuple[dict | None, Finding | None]:
    """The mask, where it can be used, and its fault."""
    if segmentation is None or segmentation == [] or segmentation == [[]]:
        fix = "draw the mask, or remove the annotation"
        return None, _of(task, "empty mask", "there is no mask", fix, annotation)
    if isinstance(segmentation, dict):
        size = segmentation.get("size")
        if isinstance(size, (list, tuple)) and list(size) != [height, width]:
            message = f"the mask has the size {list(size)}, the picture {[height, width]}"
            fix = "make the mask from the picture's size (height, width)"
            return None, _of(task, "size mismatch", message, fix, annotation)
    elif isinstance(segmentation, list) and not all(is_polygon(p) for p in segmentation):
        message = "a polygon has fewer than three points, or something else than numbers"
        fix = "give x and y of three points or more, or remove the polygon"
        return None, _of(task, "malformed mask", message, fix, annotation)
    try:
        rle = to_rle(segmentation, height, width)
        coco_mask.decode(rle)  # refuses counts that leave the picture
    except ValueError as error:
        fix = "draw the mask again, or remove the annotation"
        return None, _of(task, "malformed mask", str(error).split(";")[0], fix, annotation)
    if not coco_mask.area(rle):
        fix = "draw the mask, or remove the annotation"
        return None, _of(task, "empty mask", "the mask has no pixel", fix, annotation)
    if isinstance(segmentation, list) and any(crosses_itself(p) for p in segmentation):
        message = "the outline of a polygon crosses itself"
        fix = "put its points in order, or give the mask as RLE"
        return rle, _of(task, "self-intersecting mask", message, fix, annotation)
    return rle, None


def is_polygon(points: object) -> bool:
    """Whether it is x and y of three points or more."""
    return (
        isinstance(points, list)
        and len(points) >= 6
        and len(points) % 2 == 0
        and all(isinstance(v, (int, float)) and math.isfinite(v) for v in points)
    )


def _box(
    task: PictureTask, annotation: tuple[int, dict], rle: dict | None, height: int, width: int
) -> Finding | None:
    box = annotation[1]["bbox"]
    numbers = isinstance(box, (list, tuple)) and len(box) == 4
    if not numbers or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in box):
        message = f"bbox {box!r} is not four numbers"
        return _of(task, "malformed box", message, "give x, y, width and height", annotation)
    x, y, w, h = box
    if w <= 0 or h <= 0:
        message = f"bbox {list(box)} has no area"
        return _of(task, "malformed box", message, "give x, y, width and height", annotation)
    if min(x, y) < -OUTSIDE or x + w > width + OUTSIDE or y + h > height + OUTSIDE:
        message = f"bbox {list(box)} leaves the picture of {width} x {height} (width x height)"
        return _of(task, "box out of bounds", message, "make it tight around the mask", annotation)
    if rle is None:
        return None
    tight = [_corners(coco_mask.toBbox(rle))]
    if isinstance(annotation[1]["segmentation"], list):
        points = np.concatenate([np.reshape(p, (-1, 2)) for p in annotation[1]["segmentation"]])
        tight.append(np.concatenate([points.min(axis=0), points.max(axis=0)]))
    found = _corners(box)
    if min(float(np.abs(found - t).max()) for t in tight) > TOLERANCE + 1e-6:
        message = f"bbox {list(box)} is not tight, the mask's is {coco_mask.toBbox(rle).tolist()}"
        return _of(task, "box not tight", message, "make it tight around the mask", annotation)
    return None


def _corners(box: object) -> np.ndarray:
    x, y, w, h = (float(v) for v in box)
    return np.array([x, y, x + w, y + h])


def _area(
    task: PictureTask, annotation: tuple[int, dict], given: float, found: int
) -> Iterator[Finding]:
    if abs(given - found) > max(0.2 * found, 20):
        message = f"`area` is {given}, the mask has {found} pixels"
        fix = "correct it; training and scores do not use it"
        yield _of(task, "wrong area", message, fix, annotation, WARNING)


def _overlaps(task: PictureTask, good: list[tuple[tuple[int, dict], dict]]) -> Iterator[Finding]:
    singles = [(a, r) for a, r in good if not a[1].get("iscrowd", 0)]
    if len(singles) < 2:
        return
    rles = [r for _, r in singles]
    overlaps = np.triu(np.array(coco_mask.iou(rles, rles, [0] * len(rles))), 1)
    for i, j in np.argwhere(overlaps > MAX_IOU):
        other = singles[int(i)][0][1].get("id")
        message = (
            f"its mask and that of annotation {other} overlap by an IoU of {overlaps[i, j]:.2f}"
        )
        fix = "remove one of them if they are one object"
        yield _of(task, "duplicate object", message, fix, singles[int(j)][0], WARNING)


def _group(task: PictureTask) -> Iterator[Finding]:
    """The co-salient class and the number of its instances."""
    group = task.image.get("cosalient_category")
    if group is not None and group not in task.names.values():
        message = f"cosalient_category {group!r} is none of `categories`"
        yield _of(task, "unknown co-salient class", message, "correct it, or add the category")
        return
    members = crowds = 0
    for _, entry in task.annotations:
        name = task.names.get(id_key(entry.get("category_id")))
        if name is None:  # a fault of its own; the object may well be one of the group
            crowds += 1
        elif name != DISTRACTOR and group in (None, name):
            members += not entry.get("iscrowd", 0)
            crowds += bool(entry.get("iscrowd", 0))
    if members == 1 and not crowds:
        yield _of(
            task,
            "single instance",
            "there is exactly one co-salient instance",
            "annotate the others, or make it a distractor with an empty truth",
        )
    elif group is not None and not members and not crowds:
        message = f"no object is of the cosalient_category {group!r}; the truth is empty"
        fix = "set it to null if that is meant"
        yield _of(task, "empty group", message, fix, severity=WARNING)
