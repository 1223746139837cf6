"""Pictures and their annotations become a dataset root, in parallel."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from cosal_d2.prepare.convert.class_names import class_key
from cosal_d2.prepare.convert.written import Written, counts
from cosal_d2.prepare.target import Target
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.coco_fields import not_finite
from cosal_d2.utils.files import write_bytes, write_text
from cosal_d2.utils.parallel import ordered_map, worker_count


@dataclass(frozen=True)
class Entry:
    """A picture and its annotations as they will stand in a dataset.

    Attributes:
        file: the picture's source.
        name: `file_name` in the dataset, a relative path.
        image: further fields of its image entry; `id` where it is to be kept.
        annotations: annotation entries without `image_id`, with `category` (a name) in place of
            `category_id`; `id` where it is to be kept.
        content: what the picture's file shall hold; None takes the source as it is.
        remarks: pairs of a remark for the summary and what it is about.
        shapes: number of the source's shapes that are left out, by reason.
        clipped: number of objects that reached beyond the picture.
    """

    file: Path
    name: str
    image: dict
    annotations: list[dict] = field(default_factory=list)
    content: bytes | None = None
    remarks: tuple[tuple[str, str], ...] = ()
    shapes: Counter = field(default_factory=Counter)
    clipped: int = 0


@dataclass(frozen=True)
class Skipped:
    """A picture that is left out, with the reason; `bad` where its data are faulty; `shapes` as of
    an entry."""

    reason: str
    bad: bool = False
    shapes: Counter = field(default_factory=Counter)


def write_entries(
    make_entry: Callable[[Any], Entry | Skipped],
    tasks: Sequence,
    target: Target,
    *,
    description: str,
    categories: dict[str, int] | None = None,
    fields: dict | None = None,
    shapes: Counter | None = None,
    if_empty: Callable[[], str] = str,
) -> Written:
    """Write the entries of all tasks as a dataset, the same for any number of workers.

    The dataset is built in a hidden folder beside its place and moved there when complete, so that
    a former one stays until then.

    Args:
        make_entry: picklable pure function from a task to its entry.
        tasks: picklable each.
        target: where.
        description: goes to the json's `info`.
        categories: names with their ids, where others get ids behind them; None: the names that
            occur, sorted.
        fields: further top-level fields of the json.
        shapes: number of the source's shapes that are in no task and left out, by reason.
        if_empty: explains why no picture is left.

    Raises:
        ValueError: no picture is left, two would get one file name, or a field that is kept is NaN
            or infinite.
        ValueError, OSError: `make_entry` or the disk failed.
    """
    written = Written(target.json_file, shapes=Counter(shapes))
    workers = min(worker_count(target.workers), max(len(tasks), 1))
    target.home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{target.name}.", dir=target.home) as work:
        new_folder, new_json = Path(work, "pictures"), Path(work, "new.json")
        new_folder.mkdir()
        place = partial(_place, make_entry, new_folder, target.link)
        results = ordered_map(place, tasks, workers, chunk=8)
        bar = tqdm(
            results, total=len(tasks), unit="image", disable=None if target.progress else True
        )
        entries = _sort(bar, written)
        if not entries:
            raise ValueError(
                f"{description}: no picture is left ({counts(written.skipped)})"
                + (f"; shapes left out: {counts(written.shapes)}" if written.shapes else "")
                + (f"; {reason}" if (reason := if_empty()) else "")
                + "".join(f"\n{message}" for message in written.faults[:5])
            )
        head = {"info": {"description": description}, **(fields or {})}
        content = {**head, **_assemble(entries, categories, written)}
        try:
            text = json.dumps(content, separators=(",", ":"), allow_nan=False)
        except ValueError as error:
            raise ValueError(
                f"{description}: {not_finite(content)} is NaN or infinite, which no json has; "
                "correct or remove it"
            ) from error
        write_text(new_json, text + "\n")
        target.install(new_folder, new_json)
    return written


def _place(
    make_entry: Callable[[Any], Entry | Skipped], folder: Path, link: bool, task: object
) -> Entry | Skipped:
    """Make an entry and put its picture into the folder; returns the entry without content."""
    entry = make_entry(task)
    if isinstance(entry, Skipped):
        return entry
    target = folder / entry.name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # never write through a link into the source
    if entry.content is not None:
        write_bytes(target, entry.content)
    elif link:
        target.symlink_to(entry.file.resolve())
    else:
        shutil.copyfile(entry.file, target)
    return replace(entry, content=None)


def _sort(results: Iterable[Entry | Skipped], written: Written) -> list[Entry]:
    """The entries; the pictures left out are counted."""
    entries: dict[str, Entry] = {}
    for result in results:
        written.shapes.update(result.shapes)
        if isinstance(result, Skipped):
            written.skipped["faulty" if result.bad else result.reason] += 1
            written.faults += [result.reason] if result.bad else []
        elif result.name in entries:
            raise ValueError(
                f"{result.name}: two pictures would get this file name; give each a name of its own"
            )
        else:
            entries[result.name] = result
            written.clipped += result.clipped
            for remark, subject in result.remarks:
                written.remarks.setdefault(remark, []).append(subject)
    return list(entries.values())


def _assemble(
    entries: list[Entry], categories: dict[str, int] | None, written: Written
) -> dict[str, list]:
    """COCO's three lists; pictures and objects are counted."""
    if categories is None:
        entries = _spelled_alike(entries)
    names = {a["category"] for entry in entries for a in entry.annotations}
    ids = dict(categories or {})
    for name in sorted(names - ids.keys()):
        ids[name] = max(ids.values(), default=0) + 1
    images, annotations = [], []
    for number, entry in enumerate(entries, 1):
        images.append({"id": number, **entry.image, "file_name": entry.name})
        for own in entry.annotations:
            annotation = {"id": len(annotations) + 1, "image_id": images[-1]["id"]}
            annotation |= {"category_id": ids[own["category"]], **own}
            del annotation["category"]
            annotations.append(annotation)
    written.images = len(images)
    written.distractors = sum(a["category_id"] == ids.get(DISTRACTOR) for a in annotations)
    written.instances = len(annotations) - written.distractors
    by_id = sorted(ids.items(), key=lambda pair: pair[1])
    return {
        "categories": [{"id": i, "name": name} for name, i in by_id],
        "images": images,
        "annotations": annotations,
    }


def _spelled_alike(entries: list[Entry]) -> list[Entry]:
    """The entries with one spelling for each class, the commonest."""
    fields = ("category", "class_name")
    counts = Counter(a[f] for e in entries for a in e.annotations for f in fields if f in a)
    best: dict[str, str] = {}
    for name, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        best.setdefault(class_key(name), name)
    if len(best) == len(counts):
        return entries

    def spelled(part: dict) -> dict:
        return {**part, **{f: best[class_key(part[f])] for f in fields if f in part}}

    group = "cosalient_category"
    return [
        replace(
            entry,
            image={**entry.image, group: best.get(class_key(entry.image[group] or ""))},
            annotations=[spelled(a) for a in entry.annotations],
        )
        for entry in entries
    ]
