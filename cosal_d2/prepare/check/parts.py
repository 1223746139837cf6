"""Datasets made of sound ones: whole or in part, or several in one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import PurePosixPath

from cosal_d2.prepare.check.dataset import Dataset, id_key
from cosal_d2.prepare.check.structure import check_structure
from cosal_d2.prepare.convert.dataset_writer import Entry, Written, write_entries
from cosal_d2.prepare.convert.source_files import safe_name
from cosal_d2.prepare.target import Target
from cosal_d2.utils.coco import FIELDS
from cosal_d2.utils.files import LONGEST_NAME
from cosal_d2.utils.size_limit import check_pixels


def sound_entries(dataset: Dataset) -> list[Entry]:
    """The pictures of a dataset with their annotations.

    Raises:
        ValueError: a field is missing, or an id repeats or leads nowhere; the message names the
            first such fault.
    """
    faults = check_structure(dataset)
    if faults:
        fault = str(faults[0]).removeprefix("error: ")
        raise ValueError(
            f"{dataset.json_file}: {fault}; `cosal data check --fix` writes a repaired copy"
        )
    for image in dataset.content["images"]:
        try:
            check_pixels(image["height"], image["width"])
        except ValueError as error:
            raise ValueError(f"{dataset.json_file}: image {image['id']}: {error}") from error
    names = dataset.category_names()
    own: dict[object, list[dict]] = {id_key(i["id"]): [] for i in dataset.content["images"]}
    for entry in dataset.content["annotations"]:
        rest = {k: v for k, v in entry.items() if k not in ("image_id", "category_id")}
        rest["category"] = names[id_key(entry["category_id"])]
        own[id_key(entry["image_id"])].append(rest)
    return [
        Entry(dataset.picture(i), safe_name(i["file_name"]), i, own[id_key(i["id"])])
        for i in dataset.content["images"]
    ]


def write_part(dataset: Dataset, entries: list[Entry], target: Target, description: str) -> Written:
    """Write pictures of a dataset as they are, with its categories and further fields.

    Raises:
        FileNotFoundError: a picture is missing.
        ValueError: there are no pictures, two would get one name, ids of categories are of two
            kinds, or the dataset itself would be replaced.
    """
    target.check_apart(dataset.json_file, dataset.folder)
    categories = {c["name"]: c["id"] for c in dataset.content["categories"]}
    if len({isinstance(number, str) for number in categories.values()}) > 1:
        raise ValueError(
            f"{dataset.json_file}: ids of `categories` are numbers and texts; give each a number"
        )
    return write_entries(
        _existing,
        entries,
        target,
        description=description,
        categories=categories,
        fields={k: v for k, v in dataset.content.items() if k not in ("info", *FIELDS)},
    )


def _existing(entry: Entry) -> Entry:
    if not entry.file.is_file():
        raise FileNotFoundError(
            f"{entry.file}: no such picture; add it, or let `cosal data check --fix` write a "
            "repaired copy"
        )
    return entry


def merge(datasets: list[Dataset], target: Target) -> Written:
    """Put datasets into one: categories by name, ids anew.

    A file name that is there already gets its dataset's name in front; one that would be too long
    so goes into a folder of that name.

    Raises:
        ValueError: a dataset is not sound, or would be replaced.
    """
    for dataset in datasets:
        target.check_apart(dataset.json_file, dataset.folder)
    taken: set[str] = set()
    merged, names = [], set()
    for dataset in datasets:
        for entry in sound_entries(dataset):
            path, number = PurePosixPath(entry.name), 1
            name = entry.name
            while name.lower() in taken:
                prefix = dataset.name if number == 1 else f"{dataset.name}_{number}"
                last = f"{prefix}_{path.name}"
                if len(os.fsencode(last)) > LONGEST_NAME:
                    last = f"{prefix}/{path.name}"
                name, number = (path.parent / last).as_posix(), number + 1
            taken.add(name.lower())
            image = _without_id(entry.image)
            annotations = [_without_id(a) for a in entry.annotations]
            merged.append(replace(entry, name=name, image=image, annotations=annotations))
        names |= {c["name"] for c in dataset.content["categories"]}
    return write_entries(
        _existing,
        merged,
        target,
        description=f"Merged from {', '.join(d.name for d in datasets)}",
        categories={name: i for i, name in enumerate(sorted(names), 1)},
    )


def _without_id(entry: dict) -> dict:
    return {k: v for k, v in entry.items() if k != "id"}
