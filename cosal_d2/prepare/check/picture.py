"""Faults of one picture and its annotations; runs in other processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from cosal_d2.prepare.check.dataset import has, id_key
from cosal_d2.prepare.check.findings import ERROR, WARNING, Finding
from cosal_d2.prepare.check.near_duplicates import file_hash
from cosal_d2.prepare.convert.picture_file import Picture, load_picture
from cosal_d2.prepare.convert.polygons import covered_and_doubtful
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.coco_fields import are_numbers
from cosal_d2.utils.files import instead_of_file
from cosal_d2.utils.masks import to_rle

TOLERANCE = 1.0  # pixels: a box may be so much off its mask
OUTSIDE = 0.5  # pixels: a box may be so much outside its picture
MAX_IOU = 0.7

Annotation = tuple[int, dict]  # position in `annotations` and entry


@dataclass(frozen=True)
class PictureTask:
    """One picture to check.

    Attributes:
        file: the picture.
        position: of its entry in `images`.
        image: its entry.
        annotations: pairs of position in `annotations` and entry.
        names: category names by id.
    """

    file: Path
    position: int
    image: dict
    annotations: list[Annotation]
    names: dict[object, str]


def check_picture(task: PictureTask) -> tuple[list[Finding], np.ndarray | None]:
    """Faults of a picture, and its hashes where it is readable and not plain."""
    check = _PictureCheck(task)
    try:
        picture = load_picture(task.file)
    except FileNotFoundError:
        fix = "add it, or remove the image and its annotations"
        what = instead_of_file(task.file)
        message = "there is no such file" if what == "nothing" else f"there is no file, but {what}"
        check.add("missing image", message, fix)
        return check.findings, None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        reason = reason.removeprefix(f"cannot read {task.file} as a picture: ")
        reason = reason.removesuffix("; replace the file")
        fix = "replace the file, or remove the image and its annotations"
        check.add("unreadable image", reason, fix)
        return check.findings, None
    check.size_and_masks(picture)
    check.group()
    return check.findings, file_hash(task.file)


class _PictureCheck:
    """Collects the faults of a picture."""

    def __init__(self, task: PictureTask) -> None:
        self.task = task
        self.findings: list[Finding] = []

    def add(
        self,
        kind: str,
        message: str,
        fix: str,
        annotation: Annotation | None = None,
        severity: str = ERROR,
    ) -> None:
        position, entry = annotation or (None, {})
        self.findings.append(
            Finding(
                kind,
                severity,
                str(self.task.file),
                message,
                fix,
                image_id=self.task.image.get("id"),
                annotation_id=entry.get("id"),
                image=self.task.position,
                annotation=position,
            )
        )

    def size_and_masks(self, picture: Picture) -> None:
        """The size; where it is right, boxes and masks."""
        given = (self.task.image.get("height"), self.task.image.get("width"))
        height, width = picture.upright
        if has(self.task.image, "height", "width") and given != picture.upright:
            note = " once its EXIF rotation is applied" if given == picture.stored else ""
            self.add(
                "size mismatch",
                f"the picture has {height} x {width} pixels{note} (height x width), the json says "
                f"{given[0]} x {given[1]}",
                "correct `height` and `width` together with the masks, or replace the file",
            )
            return
        usable: list[tuple[Annotation, dict]] = []
        for annotation in self.task.annotations:
            entry = annotation[1]
            rle = self._mask(annotation, height, width) if "segmentation" in entry else None
            if entry.get("bbox") is not None:
                self._box(annotation, rle, height, width)
            if rle is not None:
                usable.append((annotation, rle))
                self._area(annotation, int(coco_mask.area(rle)))
        self._overlaps([(a, r) for a, r in usable if not a[1].get("iscrowd", 0)])

    def _mask(self, annotation: Annotation, height: int, width: int) -> dict | None:
        """The mask, where it can be used."""
        segmentation = annotation[1]["segmentation"]
        redraw = "draw the mask, or make it from the box with `cosal data coco --masks-from-boxes`"
        if segmentation is None or segmentation == [] or segmentation == [[]]:
            self.add("empty mask", "there is no mask", redraw, annotation)
            return None
        polygons = segmentation if isinstance(segmentation, list) else []
        size = segmentation.get("size") if isinstance(segmentation, dict) else None
        if isinstance(size, (list, tuple)) and list(size) != [height, width]:
            message = f"the mask has the size {list(size)}, the picture {[height, width]}"
            fix = "make the mask from the picture's size (height, width)"
            self.add("size mismatch", message, fix, annotation)
            return None
        if not all(is_polygon(p) for p in polygons):
            message = "a polygon has fewer than three points, or something else than numbers"
            fix = "give x and y of three points or more, or remove the polygon"
            self.add("malformed mask", message, fix, annotation)
            return None
        try:
            rle = to_rle(segmentation, height, width)
            coco_mask.decode(rle)  # refuses counts that leave the picture
        except ValueError as error:
            fix = "draw the mask again, or remove the annotation"
            self.add("malformed mask", str(error).split(";")[0], fix, annotation)
            return None
        if not coco_mask.area(rle):
            self.add("empty mask", "the mask has no pixel", redraw, annotation)
            return None
        if any(crosses_itself(p) for p in polygons):
            message = "the outline of a polygon crosses itself"
            fix = "put its points in order, or give the mask as RLE"
            self.add("self-intersecting mask", message, fix, annotation)
        return rle

    def _box(self, annotation: Annotation, rle: dict | None, height: int, width: int) -> None:
        box = annotation[1]["bbox"]
        give = "give x, y, width and height"
        if not are_numbers(box) or len(box) != 4:
            self.add("malformed box", f"bbox {box!r} is not four numbers", give, annotation)
            return
        x, y, w, h = box
        fix = "make it tight around the mask"
        if w <= 0 or h <= 0:
            self.add("malformed box", f"bbox {list(box)} has no area", give, annotation)
        elif min(x, y) < -OUTSIDE or x + w > width + OUTSIDE or y + h > height + OUTSIDE:
            message = f"bbox {list(box)} leaves the picture of {width} x {height} (width x height)"
            self.add("box out of bounds", message, fix, annotation)
        elif rle is not None:
            tight = [_corners(coco_mask.toBbox(rle))]
            if isinstance(annotation[1]["segmentation"], list):
                polygons = annotation[1]["segmentation"]
                points = np.concatenate([np.reshape(p, (-1, 2)) for p in polygons])
                tight.append(np.concatenate([points.min(axis=0), points.max(axis=0)]))
            if min(np.abs(_corners(box) - t).max() for t in tight) > TOLERANCE + 1e-6:
                mask_box = coco_mask.toBbox(rle).tolist()
                message = f"bbox {list(box)} is not tight, the mask's is {mask_box}"
                self.add("box not tight", message, fix, annotation)

    def _area(self, annotation: Annotation, found: int) -> None:
        given = annotation[1].get("area")
        if not isinstance(given, (int, float)) or annotation[1].get("iscrowd", 0):
            return
        if abs(given - found) > max(0.2 * found, 20):
            message = f"`area` is {given}, the mask has {found} pixels"
            fix = "correct it; training and scores do not use it"
            self.add("wrong area", message, fix, annotation, WARNING)

    def _overlaps(self, singles: list[tuple[Annotation, dict]]) -> None:
        if len(singles) < 2:
            return
        rles = [rle for _, rle in singles]
        overlaps = np.triu(coco_mask.iou(rles, rles, [0] * len(rles)), 1)
        for i, j in np.argwhere(overlaps > MAX_IOU):
            other = singles[i][0][1].get("id")
            message = (
                f"its mask and that of annotation {other} overlap by an IoU of {overlaps[i, j]:.2f}"
            )
            fix = "remove one of them if they are one object"
            self.add("duplicate object", message, fix, singles[j][0], WARNING)

    def group(self) -> None:
        """The co-salient class and the number of its instances."""
        group = self.task.image.get("cosalient_category")
        if group is not None and group not in self.task.names.values():
            message = f"cosalient_category {group!r} is none of `categories`"
            self.add("unknown co-salient class", message, "correct it, or add the category")
            return
        members = crowds = 0
        for _, entry in self.task.annotations:
            name = self.task.names.get(id_key(entry.get("category_id")))
            if name is None:  # a fault of its own; the object may well be one of the group
                crowds += 1
            elif name != DISTRACTOR and group in (None, name):
                members += not entry.get("iscrowd", 0)
                crowds += bool(entry.get("iscrowd", 0))
        if members == 1 and not crowds:
            message = "there is exactly one co-salient instance"
            fix = "annotate the others, or make it a distractor with an empty truth"
            severity = ERROR
            if not self.task.image.get("clean", True):  # it says that others may lack
                message += " in a picture that is not `clean`"
                severity = WARNING
            self.add("single instance", message, fix, severity=severity)
        elif group is not None and not members and not crowds:
            message = f"no object is of the cosalient_category {group!r}; the truth is empty"
            fix = "set it to null if that is meant"
            self.add("empty group", message, fix, severity=WARNING)


def is_polygon(points: object) -> bool:
    """Whether it is x and y of three points or more."""
    whole = isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0
    return whole and are_numbers(points)


def crosses_itself(polygon: list[float]) -> bool:
    """Whether the outline of a polygon, [x0, y0, x1, y1, ...], crosses itself, however little; see
    :func:`.covered_and_doubtful`."""
    covered, doubtful = covered_and_doubtful(np.reshape(polygon, (-1, 2)))
    return doubtful > 1e-6 * max(covered, 1)


def _corners(box: object) -> np.ndarray:
    x, y, w, h = (float(v) for v in box)
    return np.array([x, y, x + w, y + h])
