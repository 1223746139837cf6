"""Repairing what a check found, in a copy of the dataset."""

from __future__ import annotations

import copy
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from cosal_d2.prepare.check.check import check_dataset
from cosal_d2.prepare.check.dataset import Dataset, has, id_key
from cosal_d2.prepare.check.findings import ERROR, Finding, count_errors
from cosal_d2.prepare.check.losses import losses
from cosal_d2.prepare.check.parts import sound_entries, write_part
from cosal_d2.prepare.check.picture import is_polygon
from cosal_d2.prepare.convert.coco import any_upright, picture_frame
from cosal_d2.prepare.convert.drawing_frame import doubt
from cosal_d2.prepare.convert.picture_file import (
    Picture,
    load_picture,
    scaled_rle,
    upright_rle,
)
from cosal_d2.prepare.target import Target
from cosal_d2.utils.coco import DISTRACTOR, FIELDS, field_faults
from cosal_d2.utils.coco_fields import is_id, parse_flag, shown
from cosal_d2.utils.masks import rle_fields, to_rle
from cosal_d2.utils.pictures import picture_size

ROUNDS = 4
SAME_SHAPE = 0.02  # relative difference of aspect ratios
# What a step raises where there is nothing to repair from.
FAILURES = (KeyError, OverflowError, TypeError, ValueError, OSError)


def write_repaired(
    dataset: Dataset, findings: list[Finding], against: list[Path], target: Target
) -> tuple[list[str], list[str]]:
    """Repair until a check finds nothing more, and write the copy.

    Args:
        dataset: the faulty one, which stays as it is.
        findings: from a check of it.
        against: jsons of the other splits of that check.
        target: where the copy goes.

    Returns:
        What was done and what is left, a line each.
    """
    done: list[str] = []
    fixed = dataset
    for _ in range(ROUNDS):
        fixed, steps = repair(fixed, findings)
        done += steps
        findings = check_dataset(fixed, against, target.workers)
        if not steps or not count_errors(findings):
            break
    left = [str(f) for f in findings if f.severity == ERROR]
    write_part(fixed, sound_entries(fixed), target, f"Repaired from {dataset.json_file.name}")
    return done, left


def repair(dataset: Dataset, findings: list[Finding]) -> tuple[Dataset, list[str]]:
    """A repaired copy of a dataset's json, and what was done, a line each.

    Pictures that cannot be read, that have exactly one co-salient instance, or that another split
    has too are left out; so are annotations without a usable mask, whose pictures then are no
    longer clean if the object was large or its class has a single one left. Boxes come from masks,
    crossing outlines become RLE, sizes come from pictures, ids that lack or repeat are given anew,
    further fields that cannot be read are taken away.
    """
    fixed = replace(dataset, content=copy.deepcopy(dataset.content))
    work = _Repair(fixed)
    steps = {
        "box out of bounds": work.redraw,
        "box not tight": work.redraw,
        "malformed box": work.redraw,
        "self-intersecting mask": work.redraw,
        "malformed mask": work.trim,
        "size mismatch": work.resize,
        "duplicate id": work.renumber,
        "missing field": work.complete,
        "malformed field": work.unset,
        "unknown co-salient class": work.regroup,
        "duplicate category": work.join_categories,
    }
    order = defaultdict(int, {"missing field": -2, "size mismatch": -1})
    for finding in sorted(findings, key=lambda f: order[f.kind]):
        if finding.severity != ERROR or (
            finding.annotation in work.annotations or finding.image in work.images
        ):
            continue
        try:
            steps.get(finding.kind, work.drop)(finding)
        except FAILURES:  # what it needs is not usable either
            work.drop(finding)
    work.apply()
    return fixed, work.done


class _Repair:
    """One round of repairs on a dataset's content, which is changed.

    A step raises one of ``FAILURES``, with nothing changed, where there is nothing to repair from.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.content = dataset, dataset.content
        self.done: list[str] = []
        self.images: set[int] = set()
        self.annotations: set[int] = set()
        self.doubles: set[int] = set()  # of the annotations, those that are there once more

    def note(self, finding: Finding, what: str) -> None:
        ids = f" (annotation {finding.annotation_id})" if finding.annotation_id is not None else ""
        self.done.append(f"{finding.file}{ids}: {finding.kind}: {what}")

    def drop(self, finding: Finding) -> None:
        """Leave out the annotation, or else the image."""
        if finding.annotation is not None:
            self.annotations.add(finding.annotation)
            self.note(finding, "the annotation is left out")
        elif finding.image is not None:
            self.images.add(finding.image)
            self.note(finding, "the image and its annotations are left out")

    def _entry(self, finding: Finding) -> dict:
        return self.content["annotations"][finding.annotation]

    def _size(self, image: dict) -> tuple[int, int]:
        return int(image["height"]), int(image["width"])

    def _fields(self, finding: Finding, segmentation: object) -> dict:
        """Box, area and RLE of a mask in the finding's image."""
        size = self._size(self.content["images"][finding.image])
        return rle_fields([to_rle(segmentation, *size)])[0]

    def trim(self, finding: Finding) -> None:
        """A malformed mask: its sound polygons stay, if there are any."""
        entry = self._entry(finding)
        polygons = entry["segmentation"] if isinstance(entry["segmentation"], list) else []
        sound = [p for p in polygons if is_polygon(p)]
        entry.update(self._fields(finding, sound), segmentation=sound)
        self.note(finding, f"{len(polygons) - len(sound)} of {len(polygons)} polygons are left out")

    def redraw(self, finding: Finding) -> None:
        """A crossing outline becomes RLE; a wrong box is made tight."""
        entry = self._entry(finding)
        fields = self._fields(finding, entry["segmentation"])
        if finding.kind == "self-intersecting mask":
            entry.update(fields)
            self.note(finding, "the mask is given as RLE of the pixels that its polygons cover")
        else:
            entry["bbox"] = fields["bbox"]
            self.note(finding, f"bbox is set to the mask's, {entry['bbox']}")

    def resize(self, finding: Finding) -> None:
        """A mask of another size than its picture, or a wrong size in the json."""
        image = self.content["images"][finding.image]
        if finding.annotation is not None:
            entry, size = self._entry(finding), self._size(image)
            former = tuple(int(v) for v in entry["segmentation"]["size"])
            rle = _fitted(entry["segmentation"], former, size)
            entry.update(rle_fields([rle])[0])
            self.note(finding, f"the mask is scaled from {list(former)} to {list(size)}")
            return
        former = image.get("height"), image.get("width")
        picture = load_picture(self.dataset.picture(image))
        turned = former == picture.stored != picture.upright
        drawn_upright = turned and self._is_drawn_upright(finding, image, picture)
        image["height"], image["width"] = size = picture.upright
        self.note(finding, f"height and width are set to {size[0]}, {size[1]}")
        for position, entry in self._own(image):
            segmentation = entry.get("segmentation")
            as_drawn = drawn_upright and not isinstance(segmentation, dict)
            turn = picture.orientation if turned and not as_drawn else 1
            try:
                rle = _fitted(segmentation, size if as_drawn else former, size, turn)
                entry.update(rle_fields([rle])[0])
            except (TypeError, ValueError):
                self.annotations.add(position)
                text = f"annotation {entry.get('id')} fits neither size and is left out"
                self.note(finding, text)

    def _is_drawn_upright(self, finding: Finding, image: dict, picture: Picture) -> bool:
        """Whether polygons were drawn on the upright picture though its stored size is stated; a
        picture of which that stays open is marked not clean."""
        own = [entry for _, entry in self._own(image)]
        frame = picture_frame(picture.file, image, own, self.others_upright)
        question = doubt(frame, picture)
        if question is not None and question.severe:
            image["clean"] = False
            self.note(finding, f"it is marked not clean: {question.text}")
        return frame.size == picture.upright

    @cached_property
    def others_upright(self) -> bool:
        """Whether any picture's boxes show that the tool states stored sizes of upright ones."""
        own = defaultdict(list)
        for _, entry in self.dataset.entries("annotations"):
            own[id_key(entry.get("image_id"))].append(entry)
        return any_upright(
            (image, own[id_key(image.get("id"))])
            for _, image in self.dataset.entries("images")
            if has(image, "height", "width")
        )

    def _own(self, image: dict) -> list[tuple[int, dict]]:
        """Annotations of an image with their positions."""
        key = id_key(image.get("id"))
        entries = self.dataset.entries("annotations")
        return [(i, a) for i, a in entries if id_key(a.get("image_id")) == key]

    def renumber(self, finding: Finding) -> None:
        if finding.annotation is None:
            self.drop(finding)
            return
        entry = self._entry(finding)
        if next(a for a in self.content["annotations"] if a == entry) is not entry:
            self.doubles.add(finding.annotation)
            self.drop(finding)
            return
        self._give_id(entry, finding)

    def _give_id(self, entry: dict, finding: Finding) -> None:
        numbers = [a.get("id") for _, a in self.dataset.entries("annotations")]
        entry["id"] = max([n for n in numbers if type(n) is int and is_id(n)], default=0) + 1
        self.note(finding, f"it gets the id {entry['id']}")

    def unset(self, finding: Finding) -> None:
        """A field beyond those that COCO instance format needs, with a value that is none."""
        if finding.annotation is not None:
            part, entries = "annotations", [self._entry(finding)]
        elif finding.image is not None:
            part, entries = "images", [self.content["images"][finding.image]]
        else:
            part, entries = "categories", self.content["categories"]
        for fault in list(field_faults({**dict.fromkeys(FIELDS, ()), part: entries})):
            if fault.field is not None and fault.field not in FIELDS[part]:
                entry = entries[fault.position]
                value = entry.pop(fault.field)
                if fault.field == "ignore":
                    with suppress(ValueError):
                        entry["iscrowd"] = parse_flag(value)
                self.note(finding, f"`{fault.field}`, {shown(value)}, is taken away")

    def complete(self, finding: Finding) -> None:
        """A missing field: boxes and sizes can be found, anything else cannot."""
        if finding.annotation is not None:
            entry = self._entry(finding)
            if not has(entry, "image_id", "category_id", "segmentation"):
                self.drop(finding)
                return
            if not has(entry, "id"):
                self._give_id(entry, finding)
            if entry.get("bbox") is not None:
                return
            image = self.content["images"][self.dataset.owners()[id_key(entry["image_id"])]]
            rle = to_rle(entry["segmentation"], *self._size(image))
            entry["bbox"] = rle_fields([rle])[0]["bbox"]
            self.note(finding, f"bbox is set to the mask's, {entry['bbox']}")
        elif finding.image is not None:
            image = self.content["images"][finding.image]
            if not has(image, "id", "file_name"):
                self.drop(finding)
                return
            size = picture_size(self.dataset.picture(image))
            image["height"], image["width"] = size
            self.note(finding, f"height and width are set to {size[0]}, {size[1]}")
        else:
            self.content["categories"] = [
                c for c in self.content["categories"] if has(c, "id", "name")
            ]
            self.note(finding, "the category is left out")

    def regroup(self, finding: Finding) -> None:
        """An unknown co-salient class: the only annotated one, or the image is left out."""
        image = self.content["images"][finding.image]
        names = self.dataset.category_names()
        found = {names.get(id_key(a.get("category_id"))) for _, a in self._own(image)}
        (image["cosalient_category"],) = found - {DISTRACTOR, None}
        self.note(finding, f"it is set to {image['cosalient_category']!r}")

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
        for _, entry in self.dataset.entries("annotations"):
            number = id_key(entry.get("category_id"))
            if number in change and number not in used:
                entry["category_id"] = change[number]
        self.note(finding, "categories of one name are joined; of one id the first is kept")

    def apply(self) -> None:
        """Take out what was dropped, and images that lose all of their co-salient annotations, as
        their empty truth would be false."""
        emptied, unclean = losses(self.dataset, self.images, self.annotations, self.doubles)
        for position in unclean:
            image = self.content["images"][position]
            image["clean"] = False
            name = self.dataset.picture_name(image)
            self.done.append(f"{name}: objects without annotation are left: it is marked not clean")
        for position in emptied:
            self.images.add(position)
            name = self.dataset.picture_name(self.content["images"][position])
            self.done.append(f"{name}: no co-salient annotation is left: the image is left out")
        ids: dict[bool, set] = {True: set(), False: set()}  # of images left out, and of the others
        for i, image in self.dataset.entries("images"):
            if "id" in image:
                ids[i in self.images].add(id_key(image["id"]))
        dropped = ids[True] - ids[False]
        self.content["images"] = [
            image for i, image in enumerate(self.content["images"]) if i not in self.images
        ]
        self.content["annotations"] = [
            a
            for i, a in enumerate(self.content["annotations"])
            if i not in self.annotations
            and not (isinstance(a, dict) and id_key(a.get("image_id")) in dropped)
        ]


def _fitted(segmentation: object, former: tuple, size: tuple[int, int], turn: int = 1) -> dict:
    """RLE of a mask of another (height, width) than its picture.

    Args:
        segmentation: the mask.
        former, size: of the mask, as far as known, and of the upright picture.
        turn: EXIF orientation that the mask lacks, 1 for none.

    Raises:
        TypeError, ValueError: it fits neither size.
    """
    if isinstance(segmentation, dict) and tuple(segmentation.get("size", ())) == size:
        return to_rle(segmentation, *size)
    if turn != 1:
        return upright_rle(to_rle(segmentation, *former), turn)
    known = len(former) == 2 and all(isinstance(v, int) and v > 0 for v in former)
    if known and abs(former[0] * size[1] / (former[1] * size[0]) - 1) < SAME_SHAPE:
        return scaled_rle(to_rle(segmentation, *former), size)
    return to_rle(segmentation, *size)
