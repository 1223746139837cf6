"""Datasets written anew from entries of others: whole, in part, or changed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from cosal_d2.prepare.check.dataset import Dataset
from cosal_d2.prepare.check.near_duplicates import Print, file_print
from cosal_d2.prepare.convert.dataset_writer import Entry, Target, Written, write_entries
from cosal_d2.prepare.convert.source_files import safe_name
from cosal_d2.utils.parallel import ordered_map, worker_count


@dataclass(frozen=True)
class Item:
    """A picture of a dataset with what is annotated in it.

    Attributes:
        file: the picture.
        image: its entry.
        annotations: its annotations, with `category` (a name) in place of `category_id`.
    """

    file: Path
    image: dict
    annotations: list[dict]


def items_of(dataset: Dataset) -> list[Item]:
    """The pictures of a sound dataset.

    Raises:
        ValueError: a field is missing, or an id repeats or leads nowhere; the message names it.
    """
    problem = f"{dataset.json_file}: %s; `check --fix` writes a repaired copy"
    try:
        names = {c["id"]: c["name"] for c in dataset.content["categories"]}
        own: dict[object, list[dict]] = defaultdict(list)
        for entry in dataset.content["annotations"]:
            if entry["category_id"] not in names:
                text = f"annotation {entry['id']} has the unknown category {entry['category_id']}"
                raise ValueError(problem % text)
            kept = {k: v for k, v in entry.items() if k not in ("image_id", "category_id")}
            own[entry["image_id"]].append({**kept, "category": names[entry["category_id"]]})
        items, seen = [], set()
        for image in dataset.content["images"]:
            if image["id"] in seen:
                raise ValueError(problem % f"the image id {image['id']} is there twice")
            seen.add(image["id"])
            items.append(Item(dataset.folder / image["file_name"], image, own.pop(image["id"], [])))
    except (KeyError, TypeError) as error:
        raise ValueError(problem % f"an entry has no {error}") from error
    if own:
        raise ValueError(problem % f"annotations are of the unknown image {next(iter(own))}")
    return items


def write_items(
    items: list[Item],
    target: Target,
    description: str,
    categories: dict[str, int] | None = None,
    keep_ids: bool = True,
    fields: dict | None = None,
) -> Written:
    """Write items as they are.

    Args:
        items: what to write.
        target: where.
        description: goes to the json's `info`.
        categories: names with their ids; None: those that occur, sorted.
        keep_ids: keep the ids of images and annotations.
        fields: further top-level fields of the json.
    """
    make_entry = partial(_entry, () if keep_ids else ("id",))
    return write_entries(
        make_entry, items, target, description=description, categories=categories, fields=fields
    )


def _entry(dropped: tuple[str, ...], item: Item) -> Entry:
    if not item.file.is_file():
        raise FileNotFoundError(
            f"{item.file}: no such picture; add it, or let `check --fix` write a repaired copy"
        )
    image = {k: v for k, v in item.image.items() if k not in dropped}
    annotations = [{k: v for k, v in a.items() if k not in dropped} for a in item.annotations]
    return Entry(item.file, safe_name(item.image["file_name"]), image, annotations)


def category_ids(dataset: Dataset) -> dict[str, int]:
    """Names of the dataset's categories with their ids."""
    return {c["name"]: c["id"] for c in dataset.content["categories"]}


def merge(datasets: list[Dataset], target: Target) -> Written:
    """Put datasets into one: categories by name, ids anew.

    A file name that is there already gets its dataset's name in front.

    Raises:
        ValueError: a dataset is not sound.
    """
    taken: set[str] = set()
    items, names = [], set()
    for dataset in datasets:
        names |= category_ids(dataset).keys()
        for item in items_of(dataset):
            name = safe_name(item.image["file_name"])
            path = PurePosixPath(name)
            number = 1
            while name.lower() in taken:
                prefix = dataset.name if number == 1 else f"{dataset.name}_{number}"
                name, number = (path.parent / f"{prefix}_{path.name}").as_posix(), number + 1
            taken.add(name.lower())
            items.append(Item(item.file, {**item.image, "file_name": name}, item.annotations))
    parts = ", ".join(d.name for d in datasets)
    ids = {name: i for i, name in enumerate(sorted(names), 1)}
    return write_items(items, target, f"Merged from {parts}", ids, keep_ids=False)


def prints(items: list[Item], workers: int | None = None) -> list[Print]:
    """Perceptual prints of the items' pictures.

    Raises:
        OSError: a picture is missing or unreadable.
    """
    count = min(worker_count(workers), max(len(items), 1))
    return list(ordered_map(file_print, [i.file for i in items], count, chunk=16))
