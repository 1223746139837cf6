"""Checking a dataset: its json, its pictures, and what it shares with other splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from os.path import realpath
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cosal_d2.prepare.check.dataset import Dataset, id_key, load_dataset
from cosal_d2.prepare.check.findings import ERROR, WARNING, Finding
from cosal_d2.prepare.check.near_duplicates import file_hash, near_pairs
from cosal_d2.prepare.check.picture import PictureTask, check_picture
from cosal_d2.prepare.check.structure import check_structure
from cosal_d2.prepare.convert.source_files import find_files
from cosal_d2.utils.parallel import ordered_map, worker_count


def check_dataset(
    dataset: Dataset,
    against: list[Path] | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> list[Finding]:
    """Look for everything that would bite later: all faults, those of the json first.

    Args:
        dataset: what to check.
        against: jsons of other splits, whose pictures must not be near-duplicates of this one's.
        workers: processes; None takes one a core.
        progress: show a progress bar.
    """
    findings = check_structure(dataset)
    tasks = _picture_tasks(dataset)
    hashes: dict[int, np.ndarray | None] = {}
    for task, (found, hashed) in zip(
        tasks, each_picture(check_picture, tasks, workers, progress), strict=True
    ):
        findings += found
        hashes[task.position] = hashed
    for other in against or []:
        findings += _shared(dataset, hashes, load_dataset(str(other)), workers, progress)
    findings += _unlisted(dataset)
    return findings


def each_picture(
    function: Callable, tasks: list, workers: int | None, progress: bool = False
) -> Iterator:
    """Results of a function of a picture in the order of the tasks, with a progress bar."""
    results = ordered_map(function, tasks, min(worker_count(workers), max(len(tasks), 1)), chunk=8)
    return iter(tqdm(results, total=len(tasks), unit="image", disable=None if progress else True))


def _listed(dataset: Dataset) -> list[tuple[int, dict, Path]]:
    """Position, entry and file of each image entry that names a file inside the folder."""
    return [
        (i, image, file)
        for i, image in dataset.entries("images")
        if (file := dataset.picture(image)) is not None
    ]


def _picture_tasks(dataset: Dataset) -> list[PictureTask]:
    names, owners = dataset.category_names(), dataset.owners()
    own: dict[int | None, list[tuple[int, dict]]] = defaultdict(list)
    for i, entry in dataset.entries("annotations"):
        own[owners.get(id_key(entry.get("image_id")))].append((i, entry))
    return [PictureTask(file, i, image, own[i], names) for i, image, file in _listed(dataset)]


def _shared(
    dataset: Dataset,
    hashes: dict[int, np.ndarray | None],
    other: Dataset,
    workers: int | None,
    progress: bool,
) -> Iterator[Finding]:
    """Pictures with a near-duplicate in another split, or with a mirrored one."""
    files = [file for _, _, file in _listed(other)]
    theirs = list(each_picture(file_hash, files, workers, progress))
    positions = list(hashes)
    seen: set[int] = set()
    for mirrored in (False, True):
        for i, j in near_pairs(list(hashes.values()), theirs, mirrored=mirrored):
            if positions[i] in seen:
                continue
            seen.add(positions[i])
            image = dataset.content["images"][positions[i]]
            yield Finding(
                "mirrored duplicate" if mirrored else "near duplicate",
                WARNING if mirrored else ERROR,
                dataset.picture_name(image),
                f"it shows the {'mirror image of' if mirrored else 'same as'} {files[j]} of "
                "another split",
                "keep both in one split, or remove one; `split` keeps such pictures together",
                image_id=image.get("id"),
                image=positions[i],
            )


def _unlisted(dataset: Dataset) -> Iterator[Finding]:
    files = [file for _, _, file in _listed(dataset)]
    known = set(map(realpath, files))
    for file in find_files(dataset.folder):
        if realpath(file) not in known:
            yield Finding(
                "unlisted file",
                WARNING,
                str(file),
                f"{dataset.json_file.name} does not list it",
                "add it to `images`, or remove the file",
            )
