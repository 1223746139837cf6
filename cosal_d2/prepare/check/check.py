"""Checking a dataset: its json, its pictures, and what it shares with other splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from cosal_d2.prepare.check.dataset import Dataset, load_dataset
from cosal_d2.prepare.check.findings import ERROR, WARNING, Finding
from cosal_d2.prepare.check.near_duplicates import Print, near_pairs
from cosal_d2.prepare.check.picture import PictureTask, check_picture
from cosal_d2.prepare.check.structure import check_structure, id_key, owners
from cosal_d2.prepare.convert.source_files import find_files
from cosal_d2.utils.parallel import ordered_map, worker_count


@dataclass
class Checked:
    """What a check found.

    Attributes:
        dataset: what was checked.
        findings: all faults, those of the json first.
        against: the other splits.
    """

    dataset: Dataset
    findings: list[Finding]
    against: list[Path] = field(default_factory=list)

    @property
    def errors(self) -> int:
        """Number of errors."""
        return sum(f.severity == ERROR for f in self.findings)


def picture_tasks(dataset: Dataset, check: bool = True) -> list[PictureTask]:
    """A task for each image entry that names a file."""
    names = {
        id_key(c["id"]): c["name"]
        for c in dataset.content["categories"]
        if isinstance(c, dict) and "id" in c and "name" in c
    }
    places = owners(dataset)
    own: dict[int, list[tuple[int, dict]]] = defaultdict(list)
    for i, entry in enumerate(dataset.content["annotations"]):
        if isinstance(entry, dict) and id_key(entry.get("image_id")) in places:
            own[places[id_key(entry["image_id"])]].append((i, entry))
    return [
        PictureTask(dataset.folder / image["file_name"], i, image, own[i], names, check)
        for i, image in enumerate(dataset.content["images"])
        if isinstance(image, dict) and isinstance(image.get("file_name"), str)
    ]


def prints_of(
    tasks: list[PictureTask], workers: int | None = None, progress: bool = False
) -> Iterator[tuple[list[Finding], Print | None]]:
    """Faults and print of each task's picture, in their order."""
    count = min(worker_count(workers), max(len(tasks), 1))
    results = ordered_map(check_picture, tasks, count, chunk=8)
    return iter(tqdm(results, total=len(tasks), unit="image", disable=not progress))


def check_dataset(
    dataset: Dataset,
    against: list[Path] | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Checked:
    """Look for everything that would bite later.

    Args:
        dataset: what to check.
        against: jsons of other splits, whose pictures must not be near-duplicates of this one's.
        workers: processes; None takes one a core.
        progress: show a progress bar.
    """
    findings = list(check_structure(dataset))
    tasks = picture_tasks(dataset)
    prints: dict[int, Print] = {}
    for task, (found, seen) in zip(tasks, prints_of(tasks, workers, progress), strict=True):
        findings += found
        if seen is not None:
            prints[task.position] = seen
    for other in against or []:
        findings += _shared(dataset, prints, load_dataset(str(other)), workers, progress)
    findings += _unlisted(dataset)
    return Checked(dataset, findings, list(against or []))


def _shared(
    dataset: Dataset,
    prints: dict[int, Print],
    other: Dataset,
    workers: int | None,
    progress: bool,
) -> Iterator[Finding]:
    """Pictures with a near-duplicate in another split, or with a mirrored one."""
    tasks = picture_tasks(other, check=False)
    theirs = [
        (task.file, seen)
        for task, (_, seen) in zip(tasks, prints_of(tasks, workers, progress), strict=True)
        if seen is not None
    ]
    positions = list(prints)
    told: set[int] = set()
    for mirrored in (False, True):
        pairs = near_pairs([prints[p] for p in positions], [p for _, p in theirs], mirrored)
        for i, j in pairs:
            if positions[i] in told:
                continue
            told.add(positions[i])
            image = dataset.content["images"][positions[i]]
            yield Finding(
                "mirrored duplicate" if mirrored else "near duplicate",
                WARNING if mirrored else ERROR,
                dataset.picture_name(image),
                f"it shows the {'mirror image of' if mirrored else 'same as'} {theirs[j][0]} of "
                "another split",
                "keep both in one split, or remove one; `split` keeps such pictures together",
                image_id=image.get("id"),
                image=positions[i],
            )


def _unlisted(dataset: Dataset) -> Iterator[Finding]:
    listed = {
        (dataset.folder / i["file_name"]).resolve()
        for i in dataset.content["images"]
        if isinstance(i, dict) and isinstance(i.get("file_name"), str)
    }
    linked = {
        dataset.folder / i["file_name"]
        for i in dataset.content["images"]
        if isinstance(i, dict) and isinstance(i.get("file_name"), str)
    }
    for file in find_files(dataset.folder):
        if file not in linked and file.resolve() not in listed:
            yield Finding(
                "unlisted file",
                WARNING,
                str(file),
                f"{dataset.json_file.name} does not list it",
                "add it to `images`, or remove the file",
            )
