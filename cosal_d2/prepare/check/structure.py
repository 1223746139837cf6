"""Faults of a json that show without its pictures."""

from __future__ import annotations

import os
from collections import Counter

from cosal_d2.prepare.check.dataset import Dataset, has, id_key
from cosal_d2.prepare.check.findings import ERROR, Finding
from cosal_d2.utils.coco import FIELDS, field_faults

# Fields that a repair finds, by list.
FOUND = {"images": ("height", "width"), "annotations": ("id", "bbox"), "categories": ()}


def check_structure(dataset: Dataset) -> list[Finding]:
    """Missing fields, ids that repeat or lead nowhere, files that are listed twice."""
    check = _StructureCheck(dataset)
    check.fields()
    check.categories()
    check.images()
    check.annotations()
    return check.findings


class _StructureCheck:
    """Collects the faults of a json."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.owners = dataset.owners()
        self.findings: list[Finding] = []

    def _add(self, part: str, position: int, kind: str, message: str, fix: str) -> None:
        entry = self.dataset.content[part][position]
        known = entry if isinstance(entry, dict) else {}
        place: dict = {}
        if part == "images":
            place = {"image": position, "image_id": known.get("id")}
        elif part == "annotations":
            place = {"annotation": position, "annotation_id": known.get("id")}
            place["image_id"] = known.get("image_id")
        self.findings.append(Finding(kind, ERROR, self._file(part, entry), message, fix, **place))

    def _file(self, part: str, entry: object) -> str:
        """The picture of an image entry or of an annotation's image, or the json."""
        if part == "annotations" and isinstance(entry, dict):
            owner = self.owners.get(id_key(entry.get("image_id")))
            entry = None if owner is None else self.dataset.content["images"][owner]
        return self.dataset.picture_name(None if part == "categories" else entry)

    def fields(self) -> None:
        """Fields that are missing or cannot be read; boxes and masks are judged with the
        pictures."""
        for fault in field_faults(self.dataset.content, may_repeat=tuple(FIELDS)):
            needed = fault.field is None or fault.field in FIELDS[fault.part]
            if needed and fault.field in ("bbox", "segmentation") and not fault.missing:
                continue
            kind = "missing field" if needed else "malformed field"
            found = "; --fix finds it" if fault.field in FOUND[fault.part] else ""
            self._add(fault.part, fault.position, kind, fault.message, fault.fix + found)

    def categories(self) -> None:
        """Categories that share an id or a name; a picture that uses one is named."""
        categories = [c for _, c in self.dataset.entries("categories")]
        for field in ("id", "name"):
            counts = Counter(id_key(c[field]) for c in categories if field in c)
            for value in (v for v, count in counts.items() if count > 1):
                same = [c for c in categories if field in c and id_key(c[field]) == value]
                ids = {id_key(c["id"]) for c in same if "id" in c}
                users = (a for _, a in self.dataset.entries("annotations"))
                user = next((a for a in users if id_key(a.get("category_id")) in ids), {})
                message = f"{len(same)} categories have the {field} {value!r}"
                self.findings.append(
                    Finding(
                        "duplicate category",
                        ERROR,
                        self._file("annotations", user),
                        message + (", which it is the first to use" if user else ""),
                        f"give each its own {field}",
                        image_id=user.get("image_id"),
                    )
                )

    def images(self) -> None:
        """Image ids and files that are there twice."""
        files: set[str] = set()
        for i, image in self.dataset.entries("images"):
            first = self.owners[id_key(image["id"])] if "id" in image else i
            file = os.path.normpath(image["file_name"]) if has(image, "file_name") else None
            if first != i:
                other = self.dataset.picture_name(self.dataset.content["images"][first])
                message = f"{other} has the same image id {image['id']!r}"
                self._add("images", i, "duplicate id", message, "give each image an id of its own")
            elif file in files:
                message = "two image entries are of this file"
                fix = "keep one of them, with all annotations"
                self._add("images", i, "repeated file", message, fix)
            elif file is not None and self.dataset.picture(image) is None:
                message = "a link puts it outside the image folder"
                fix = "make the image folder itself the link, or link the pictures one by one"
                self._add("images", i, "outside picture", message, fix)
            elif file is not None:
                files.add(file)

    def annotations(self) -> None:
        """Annotation ids that are there twice, and images and categories that are nowhere."""
        known = {id_key(c["id"]) for _, c in self.dataset.entries("categories") if "id" in c}
        seen: dict[object, str] = {}
        for i, entry in self.dataset.entries("annotations"):
            if has(entry, "id"):
                key, file = id_key(entry["id"]), self._file("annotations", entry)
                if key in seen:
                    message = f"an annotation of {seen[key]} has the same id {entry['id']!r}"
                    fix = "give each annotation an id of its own"
                    self._add("annotations", i, "duplicate id", message, fix)
                seen.setdefault(key, file)
            if has(entry, "image_id") and id_key(entry["image_id"]) not in self.owners:
                message = f"image_id {entry['image_id']!r} is none of `images`"
                fix = "correct it, or add the image"
                self._add("annotations", i, "unknown image", message, fix)
            if has(entry, "category_id") and id_key(entry["category_id"]) not in known:
                message = f"category_id {entry['category_id']!r} is none of `categories`"
                fix = "correct it, or add the category"
                self._add("annotations", i, "unknown category", message, fix)
