"""Repairing what a check found, in a copy of the json."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable

from cosal_d2.prepare.check.dataset import Dataset
from cosal_d2.prepare.check.findings import ERROR, Finding
from cosal_d2.prepare.check.picture import is_polygon
from cosal_d2.prepare.check.structure import bereft_images, category_names, id_key
from cosal_d2.prepare.convert.picture_file import (
    load_picture,
    picture_size,
    scaled_rle,
    upright_rle,
)
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.masks import rle_fields, to_rle

DROP_IMAGE = (
    *("missing image", "unreadable image", "repeated file", "single instance", "near duplicate"),
)
DROP_ANNOTATION = ("empty mask", "unknown category", "unknown image")
REDRAW = ("box out of bounds", "box not tight", "malformed box", "self-intersecting mask")
SAME_SHAPE = 0.02  # relative difference of aspect ratios


class _Repair:
    """One round of repairs on a dataset's content, which is changed."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.content = dataset, dataset.content
        self.done: list[str] = []
        self.images: set[int] = set()
        self.annotations: set[int] = set()

    def note(self, finding: Finding, what: str) -> None:
        ids = f" (annotation {finding.annotation_id})" if finding.annotation_id is not None else ""
        self.done.append(f"{finding.file}{ids}: {finding.kind}: {what}")

    def drop_image(self, finding: Finding) -> None:
        if finding.image not in self.images:
            self.images.add(finding.image)
            self.note(finding, "the image and its annotations are left out")

    def drop_annotation(self, finding: Finding) -> None:
        if finding.annotation not in self.annotations:
            self.annotations.add(finding.annotation)
            self.note(finding, "the annotation is left out")

    def trim(self, finding: Finding) -> None:
        """A malformed mask: its sound polygons stay, if there are any."""
        entry = self.content["annotations"][finding.annotation]
        polygons = entry["segmentation"] if isinstance(entry["segmentation"], list) else []
        sound = [p for p in polygons if is_polygon(p)]
        try:
            fields = rle_fields([to_rle(sound, *self._size(finding))])[0]
        except (KeyError, TypeError, ValueError):
            self.drop_annotation(finding)
            return
        entry.update(fields, segmentation=sound)
        self.note(finding, f"{len(polygons) - len(sound)} of {len(polygons)} polygons are left out")

    def redraw(self, finding: Finding) -> None:
        entry = self.content["annotations"][finding.annotation]
        size = self._size(finding)
        try:
            rle = to_rle(entry["segmentation"], *size)
        except (KeyError, TypeError, ValueError):
            self.drop_annotation(finding)
            return
        fields = rle_fields([rle])[0]
        if finding.kind == "self-intersecting mask":
            entry.update(fields)
            self.note(finding, "the mask is given as RLE of the pixels that its polygons cover")
        else:
            entry["bbox"] = fields["bbox"]
            self.note(finding, f"bbox is set to the mask's, {fields['bbox']}")

    def _size(self, finding: Finding) -> tuple[int, int]:
        image = self.content["images"][finding.image]
        return int(image["height"]), int(image["width"])

    def resize(self, finding: Finding) -> None:
        if finding.annotation is not None:
            self._resize_mask(finding, self.content["annotations"][finding.annotation])
            return
        image = self.content["images"][finding.image]
        former = image.get("height"), image.get("width")
        picture = load_picture(self.dataset.folder / image["file_name"])
        image["height"], image["width"] = picture.upright
        turn = picture.orientation if former == picture.stored else 1
        self.note(finding, f"height and width are set to {image['height']}, {image['width']}")
        for position, entry in enumerate(self.content["annotations"]):
            if isinstance(entry, dict) and entry.get("image_id") == image["id"]:
                self._scale(finding, position, entry, former, turn)

    def _scale(
        self, finding: Finding, position: int, entry: dict, former: tuple, turn: int
    ) -> None:
        """Fit an annotation of a picture whose size in the json was wrong."""
        size = self._size(finding)
        segmentation = entry.get("segmentation")
        fits = isinstance(segmentation, dict) and tuple(segmentation.get("size", ())) == size
        alike = all(isinstance(v, int) and v > 0 for v in former) and (
            abs(former[0] * size[1] / (former[1] * size[0]) - 1) < SAME_SHAPE
        )
        try:
            if turn != 1 and not fits:
                rle = upright_rle(to_rle(segmentation, *former), turn)
            elif fits or not alike:
                rle = to_rle(segmentation, *size)
            else:
                rle = scaled_rle(to_rle(segmentation, *former), size)
        except (TypeError, ValueError):
            self.annotations.add(position)
            self.note(finding, f"annotation {entry.get('id')} fits neither size and is left out")
            return
        entry.update(rle_fields([rle])[0])

    def _resize_mask(self, finding: Finding, entry: dict) -> None:
        size = self._size(finding)
        former = [int(v) for v in entry["segmentation"]["size"]]
        if len(former) != 2 or min(former) < 1:
            self.drop_annotation(finding)
            return
        if abs(former[0] * size[1] / (former[1] * size[0]) - 1) >= SAME_SHAPE:
            self.drop_annotation(finding)
            return
        try:
            rle = scaled_rle(to_rle(entry["segmentation"], *former), size)
            entry.update(rle_fields([rle])[0])
        except ValueError:
            self.drop_annotation(finding)
            return
        self.note(finding, f"the mask is scaled from {former} to {list(size)}")

    def renumber(self, finding: Finding) -> None:
        if finding.annotation is None:
            self.drop_image(finding)
            return
        entry = self.content["annotations"][finding.annotation]
        twins = [a for a in self.content["annotations"] if a == entry]
        if twins[0] is not entry:
            self.drop_annotation(finding)
            return
        numbers = [a.get("id") for a in self.content["annotations"] if isinstance(a, dict)]
        entry["id"] = max([n for n in numbers if isinstance(n, int)], default=0) + 1
        self.note(finding, f"it gets the id {entry['id']}")

    def complete(self, finding: Finding) -> None:
        """A missing field: boxes and sizes can be found, anything else cannot."""
        if finding.annotation is not None:
            entry = self.content["annotations"][finding.annotation]
            if _has(entry, "id", "image_id", "category_id"):
                owner = next(
                    (
                        i
                        for i in self.content["images"]
                        if _has(i, "id") and i["id"] == entry["image_id"]
                    ),
                    {},
                )
                try:
                    rle = to_rle(entry["segmentation"], owner["height"], owner["width"])
                    entry["bbox"] = rle_fields([rle])[0]["bbox"]
                    self.note(finding, f"bbox is set to the mask's, {entry['bbox']}")
                    return
                except (KeyError, TypeError, ValueError):
                    pass
            self.drop_annotation(finding)
        elif finding.image is not None:
            image = self.content["images"][finding.image]
            if _has(image, "id") and isinstance(image.get("file_name"), str):
                try:
                    size = picture_size(self.dataset.folder / image["file_name"])
                    image["height"], image["width"] = size
                    self.note(finding, f"height and width are set to {size[0]}, {size[1]}")
                    return
                except (OSError, ValueError):
                    pass
            self.drop_image(finding)
        else:
            self.content["categories"] = [
                c for c in self.content["categories"] if _has(c, "id", "name")
            ]
            self.note(finding, "the category is left out")

    def regroup(self, finding: Finding) -> None:
        """An unknown co-salient class: the only annotated one, or the image is left out."""
        image = self.content["images"][finding.image]
        names = category_names(self.content)
        found = {
            names.get(id_key(a.get("category_id")))
            for a in self.content["annotations"]
            if isinstance(a, dict) and a.get("image_id") == image.get("id")
        } - {DISTRACTOR, None}
        if len(found) == 1:
            image["cosalient_category"] = found.pop()
            self.note(finding, f"it is set to {image['cosalient_category']!r}")
        else:
            self.drop_image(finding)

    def join_categories(self, finding: Finding) -> None:
        """Categories that repeat a name become one; of those that repeat an id the first stays."""
        first: dict[str, object] = {}
        kept, used = [], set()
        change: dict[object, object] = {}
        for category in self.content["categories"]:
            name, number = category.get("name"), id_key(category.get("id"))
            if name in first:
                change[number] = first[name]
            elif number not in used:
                first[name] = category["id"]
                kept.append(category)
                used.add(number)
        if len(kept) == len(self.content["categories"]):
            return
        self.content["categories"] = kept
        for entry in (a for a in self.content["annotations"] if isinstance(a, dict)):
            number = id_key(entry.get("category_id"))
            if number in change and number not in used:
                entry["category_id"] = change[number]
        self.note(finding, "categories of one name are joined; of one id the first is kept")

    def apply(self) -> None:
        """Take out what was dropped."""
        for position in bereft_images(self.content, self.images, self.annotations):
            self.images.add(position)
            name = self.dataset.picture_name(self.content["images"][position])
            self.done.append(f"{name}: no co-salient annotation is left: the image is left out")
        images = self.content["images"]
        kept_ids = {
            id_key(image["id"])
            for i, image in enumerate(images)
            if i not in self.images and isinstance(image, dict) and "id" in image
        }
        dropped = {
            id_key(images[i]["id"])
            for i in self.images
            if isinstance(images[i], dict) and "id" in images[i]
        } - kept_ids
        self.content["images"] = [x for i, x in enumerate(images) if i not in self.images]
        self.content["annotations"] = [
            a
            for i, a in enumerate(self.content["annotations"])
            if i not in self.annotations
            and not (isinstance(a, dict) and id_key(a.get("image_id")) in dropped)
        ]


def _has(entry: object, *fields: str) -> bool:
    return isinstance(entry, dict) and all(entry.get(f) is not None for f in fields)


def repair(dataset: Dataset, findings: list[Finding]) -> tuple[Dataset, list[str]]:
    """A repaired copy of a dataset's json, and what was done, a line each.

    Pictures that cannot be read, that have exactly one co-salient instance, or that another split
    has too are left out; so are annotations without a usable mask. Boxes come from masks, crossing
    outlines become RLE, sizes come from pictures, ids that repeat are given anew.
    """
    fixed = Dataset(dataset.name, dataset.json_file, dataset.folder, copy.deepcopy(dataset.content))
    work = _Repair(fixed)
    steps: dict[str, Callable[[Finding], None]] = {
        **dict.fromkeys(DROP_IMAGE, work.drop_image),
        **dict.fromkeys(DROP_ANNOTATION, work.drop_annotation),
        **dict.fromkeys(REDRAW, work.redraw),
        "malformed mask": work.trim,
        "size mismatch": work.resize,
        "duplicate id": work.renumber,
        "missing field": work.complete,
        "unknown co-salient class": work.regroup,
        "duplicate category": work.join_categories,
    }
    order = defaultdict(int, {"missing field": -2, "size mismatch": -1})
    for finding in sorted(findings, key=lambda f: order[f.kind]):
        if finding.severity == ERROR and not (
            finding.annotation in work.annotations or finding.image in work.images
        ):
            steps[finding.kind](finding)
    work.apply()
    return fixed, work.done
