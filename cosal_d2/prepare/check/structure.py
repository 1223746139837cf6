"""Faults of a json that show without its pictures."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator

from cosal_d2.prepare.check.dataset import Dataset
from cosal_d2.prepare.check.findings import ERROR, Finding
from cosal_d2.utils.coco import DISTRACTOR

FIELDS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "bbox", "segmentation"),
    "categories": ("id", "name"),
}
NEEDED = {"images": ("id", "file_name"), "annotations": ("id", "image_id", "category_id")}


def check_structure(dataset: Dataset) -> Iterator[Finding]:
    """Missing fields, ids that repeat or lead nowhere, files that are listed twice."""
    yield from _missing_fields(dataset)
    yield from _categories(dataset)
    yield from _images(dataset)
    yield from _annotations(dataset)


def owners(dataset: Dataset) -> dict[object, int]:
    """Position of the image entry of each image id; of the first, where an id repeats."""
    found: dict[object, int] = {}
    for i, image in enumerate(dataset.content["images"]):
        if isinstance(image, dict) and "id" in image:
            found.setdefault(id_key(image["id"]), i)
    return found


def id_key(value: object) -> object:
    """Something hashable that tells ids apart."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (int, str)) else repr(value)


def category_names(content: dict) -> dict[object, str]:
    """Names of the categories by the keys of their ids."""
    entries = content["categories"]
    return {id_key(c["id"]): c["name"] for c in entries if _has(c, "id") and _has(c, "name")}


def bereft_images(content: dict, images: set[int], annotations: set[int]) -> list[int]:
    """Positions of images that lose all of their co-salient annotations, so that an empty truth
    would be false.

    Args:
        content: the json.
        images, annotations: positions of what is to be taken out.
    """
    names = category_names(content)
    counts: dict[object, list[list[str | None]]] = defaultdict(lambda: [[], []])
    for position, entry in enumerate(content["annotations"]):
        if isinstance(entry, dict):
            name = names.get(id_key(entry.get("category_id")))
            counts[id_key(entry.get("image_id"))][position in annotations].append(name)
    found = []
    for position, image in enumerate(content["images"]):
        if position in images or not isinstance(image, dict):
            continue
        group = image.get("cosalient_category")
        kept, lost = (
            [n for n in part if n is None or (n != DISTRACTOR and group in (None, n))]
            for part in counts[id_key(image.get("id"))]
        )
        if lost and not kept:
            found.append(position)
    return found


def annotation_file(dataset: Dataset, annotation: object, places: dict[object, int]) -> str:
    """The picture that an annotation belongs to, or the json."""
    if isinstance(annotation, dict):
        place = places.get(id_key(annotation.get("image_id")))
        if place is not None:
            return dataset.picture_name(dataset.content["images"][place])
    return str(dataset.json_file)


def _has(entry: object, field: str) -> bool:
    """Whether the field is there; faults of a box or mask that is null are told elsewhere."""
    if not isinstance(entry, dict) or field not in entry:
        return False
    if field == "file_name":
        return isinstance(entry[field], str)
    return entry[field] is not None or field in ("bbox", "segmentation")


def _missing_fields(dataset: Dataset) -> Iterator[Finding]:
    places = owners(dataset)
    for part, fields in FIELDS.items():
        for i, entry in enumerate(dataset.content[part]):
            absent = [f for f in fields if not _has(entry, f)]
            if not absent:
                continue
            file = str(dataset.json_file)
            position = {}
            if part == "images":
                file, position = dataset.picture_name(entry), {"image": i}
            elif part == "annotations":
                file = annotation_file(dataset, entry, places)
                position = {"annotation": i}
            known = entry if isinstance(entry, dict) else {}
            yield Finding(
                "missing field",
                ERROR,
                file,
                f"{part}[{i}] has no {', '.join(f'`{f}`' for f in absent)}",
                "add what COCO instance format has there, or remove the entry",
                image_id=known.get("image_id" if part == "annotations" else "id")
                if part != "categories"
                else None,
                annotation_id=known.get("id") if part == "annotations" else None,
                **position,
            )


def _categories(dataset: Dataset) -> Iterator[Finding]:
    places = owners(dataset)
    for field in ("id", "name"):
        values = [
            id_key(c[field])
            for c in dataset.content["categories"]
            if isinstance(c, dict) and field in c
        ]
        for value, count in Counter(values).items():
            if count > 1:
                user = _user(dataset, field, value)
                yield Finding(
                    "duplicate category",
                    ERROR,
                    annotation_file(dataset, user, places),
                    f"{count} categories have the {field} {value!r}, which it is the first to use"
                    if user
                    else f"{count} categories have the {field} {value!r}",
                    f"give each its own {field}",
                    image_id=user.get("image_id"),
                )


def _user(dataset: Dataset, field: str, value: object) -> dict:
    """The first annotation of a category of this id or name; empty where there is none."""
    ids = {
        id_key(c["id"])
        for c in dataset.content["categories"]
        if isinstance(c, dict) and "id" in c and id_key(c.get(field)) == value
    }
    entries = (a for a in dataset.content["annotations"] if isinstance(a, dict))
    return next((a for a in entries if id_key(a.get("category_id")) in ids), {})


def _images(dataset: Dataset) -> Iterator[Finding]:
    ids: dict[object, int] = {}
    files: dict[str, int] = {}
    for i, image in enumerate(dataset.content["images"]):
        if not isinstance(image, dict):
            continue
        where = {
            "file": dataset.picture_name(image),
            "image_id": image.get("id"),
            "image": i,
        }
        if "id" in image and ids.setdefault(id_key(image["id"]), i) != i:
            other = dataset.content["images"][ids[id_key(image["id"])]]
            yield Finding(
                "duplicate id",
                ERROR,
                message=f"{dataset.picture_name(other)} has the same image id {image['id']}",
                fix="give each image an id of its own",
                **where,
            )
        elif (
            _has(image, "file_name")
            and files.setdefault(os.path.normpath(image["file_name"]), i) != i
        ):
            yield Finding(
                "repeated file",
                ERROR,
                message="two image entries are of this file",
                fix="keep one of them, with all annotations",
                **where,
            )


def _annotations(dataset: Dataset) -> Iterator[Finding]:
    places = owners(dataset)
    known = {
        id_key(c["id"]) for c in dataset.content["categories"] if isinstance(c, dict) and "id" in c
    }
    ids: dict[object, str] = {}
    for i, entry in enumerate(dataset.content["annotations"]):
        if not isinstance(entry, dict):
            continue
        where = {
            "file": annotation_file(dataset, entry, places),
            "image_id": entry.get("image_id"),
            "annotation_id": entry.get("id"),
            "annotation": i,
        }
        if _has(entry, "id"):
            other = ids.get(id_key(entry["id"]))
            if other is not None:
                yield Finding(
                    "duplicate id",
                    ERROR,
                    message=f"an annotation of {other} has the same id {entry['id']}",
                    fix="give each annotation an id of its own",
                    **where,
                )
            ids.setdefault(id_key(entry["id"]), where["file"])
        if _has(entry, "image_id") and id_key(entry["image_id"]) not in places:
            yield Finding(
                "unknown image",
                ERROR,
                message=f"image_id {entry['image_id']} is none of `images`",
                fix="correct it or remove the annotation",
                **where,
            )
        if _has(entry, "category_id") and id_key(entry["category_id"]) not in known:
            yield Finding(
                "unknown category",
                ERROR,
                message=f"category_id {entry['category_id']} is none of `categories`",
                fix="correct it, or add the category",
                **where,
            )
