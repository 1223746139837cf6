"""The shared writer: entries become a dataset root, in parallel, with memory that does not grow.

What is finished is noted, picture by picture, in a hidden folder beside the dataset's place, from
which an interrupted run goes on. The dataset is moved into place when complete, the json last.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from cosal_d2.prepare.convert.entries import Job, Skipped
from cosal_d2.prepare.convert.journal import (
    Line,
    compact,
    entry_line,
    joined,
    read_journal,
    skipped_line,
)
from cosal_d2.prepare.series import check_free, check_name, former_versions, install_dataset
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.parallel import ordered_map, worker_count


@dataclass(frozen=True)
class Target:
    """Where and how a dataset is written.

    Attributes:
        root: dataset root; the files go to `root/folder/name.json` and `root/folder/name/`.
        name: letters, digits, `_`, `-` and `.`.
        link: symbolic links to the pictures instead of copies.
        overwrite: replace a dataset of the same name once the new one is complete.
        workers: processes; None takes one a core.
        progress: show a progress bar.
        folder: `cosal`, where datasets are found by their name.

    Raises:
        ValueError: `name` is no dataset name.
    """

    root: Path
    name: str
    link: bool = False
    overwrite: bool = False
    workers: int | None = None
    progress: bool = False
    folder: str = "cosal"

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def home(self) -> Path:
        """The folder of the json."""
        return Path(self.root) / self.folder


@dataclass
class Written:
    """What came of a job.

    Attributes:
        json_file: the annotations.
        images: number of pictures.
        instances, distractors: numbers of co-salient objects and of others.
        skipped: number of pictures left out, by reason.
        faults: messages on faulty pictures that were left out.
    """

    json_file: Path
    images: int = 0
    instances: int = 0
    distractors: int = 0
    skipped: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class _Placer:
    """Calls the job and puts the picture into place; returns the journal's line on it."""

    def __init__(self, job: Job, link: bool, folder: Path) -> None:
        self.job, self.link, self.folder = job, link, folder
        self.made: set[Path] = {folder}

    def __call__(self, task: object) -> str:
        entry = self.job(task)
        if isinstance(entry, Skipped):
            return skipped_line(entry)
        target = self.folder / entry.name
        if target.parent not in self.made:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.made.add(target.parent)
        target.unlink(missing_ok=True)  # never write through a link into the source
        if entry.content is not None:
            target.write_bytes(entry.content)
        elif self.link:
            target.symlink_to(entry.file.resolve())
        elif entry.original is not None:
            target.write_bytes(entry.original)
        else:
            shutil.copyfile(entry.file, target)
        return entry_line(entry)


def _resume(work: Path, fingerprint: str) -> int:
    """Make `work` ready; the number of tasks that an earlier run of the same job has finished."""
    state, journal = work / "state.json", work / "journal.jsonl"
    same = state.is_file() and state.read_text(encoding="utf-8") == fingerprint
    if not (same and journal.is_file() and (work / "images").is_dir()):
        shutil.rmtree(work, ignore_errors=True)
        (work / "images").mkdir(parents=True)
        journal.touch()
        temporary = work / "state.partial"
        temporary.write_text(fingerprint, encoding="utf-8")
        os.replace(temporary, state)
        return 0
    done = complete = 0
    with journal.open("rb+") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break
            done, complete = done + 1, complete + len(line)
        lines.truncate(complete)
    return done


def _recover(work: Path, folder: Path, json_file: Path) -> None:
    """Undo what a run did that was killed while it moved the dataset into place; where it had moved
    all of it, clear up after it."""
    images = work / "images"
    if not images.exists() and folder.is_dir() and not json_file.exists():
        os.replace(folder, images)
    complete = not images.exists()
    for path in (folder, json_file):
        for aside in former_versions(path):
            if not complete and not path.exists():
                os.replace(aside, path)
            elif complete:
                shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
    if complete:
        shutil.rmtree(work)


def _survey(work: Path, job: Job, written: Written) -> dict[str, int]:
    """Fill `written` from the journal; category names with their ids."""
    names: set[str] = set()
    files: set[str] = set()
    for line in read_journal(work / "journal.jsonl"):
        if isinstance(line, Skipped):
            if line.bad:
                written.faults.append(line.reason)
            written.skipped["faulty" if line.bad else line.reason] += 1
            continue
        if line.name in files:
            raise ValueError(
                f"{line.name}: two pictures would get this file name; give each a name of its own"
            )
        files.add(line.name)
        written.images += 1
        for category, _ in line.annotations:
            names.add(category)
            kind = "distractors" if category == DISTRACTOR else "instances"
            setattr(written, kind, getattr(written, kind) + 1)
    if job.categories is None:
        return {name: i for i, name in enumerate(sorted(names), 1)}
    ids = dict(job.categories)
    for name in sorted(names - ids.keys()):
        ids[name] = max(ids.values(), default=0) + 1
    return ids


def _write_json(work: Path, job: Job, ids: dict[str, int]) -> Path:
    """Write the json from the journal, holding one picture at a time."""
    target = work / "dataset.json"
    partial = work / "dataset.partial"
    journal = work / "journal.jsonl"
    head = {"info": {"description": job.description}, **job.fields}
    head["categories"] = [
        {"id": i, "name": n} for n, i in sorted(ids.items(), key=lambda pair: pair[1])
    ]
    with partial.open("w", encoding="utf-8") as out:
        out.write(compact(head)[:-1] + ',"images":[')
        lines = (x for x in read_journal(journal) if isinstance(x, Line))
        for number, line in enumerate(lines, 1):
            own = compact({"id": number if line.id is None else line.id})
            out.write(("," if number > 1 else "") + joined(own, line.image))
        out.write('],"annotations":[')
        count = 0
        lines = (x for x in read_journal(journal) if isinstance(x, Line))
        for number, line in enumerate(lines, 1):
            image_id = number if line.id is None else line.id
            for category, text in line.annotations:
                count += 1
                own = {"image_id": image_id, "category_id": ids[category]}
                if not text.startswith('{"id":'):
                    own = {"id": count, **own}
                out.write(("," if count > 1 else "") + joined(compact(own), text))
        out.write("]}\n")
    os.replace(partial, target)
    return target


def write_entries(job: Job, target: Target) -> Written:
    """Run a job and write what it gives as a dataset; an interrupted run goes on where it was.

    Args:
        job: what to write.
        target: where.

    Returns:
        What was written and what was left out.

    Raises:
        FileExistsError: the dataset exists and `overwrite` is False.
        ValueError, OSError: the source is faulty; the message names file, field and fix. What is
            finished stays for the next run.
    """
    workers = worker_count(target.workers)
    folder, json_file = target.home / target.name, target.home / f"{target.name}.json"
    work = target.home / f".{target.name}.converting"
    written = Written(json_file)
    fingerprint = json.dumps({"link": target.link, **job.fingerprint}, sort_keys=True)
    if (work / "installing").exists():
        _recover(work, folder, json_file)
    check_free(target.home, target.name, target.overwrite)
    target.home.mkdir(parents=True, exist_ok=True)
    done = _resume(work, fingerprint)
    count, tasks = job.tasks(work)
    placer = _Placer(job, target.link, work / "images")
    results = ordered_map(placer, islice(tasks, done, None), min(workers, max(count, 1)), chunk=8)
    with (
        (work / "journal.jsonl").open("a", encoding="utf-8") as journal,
        tqdm(total=count, initial=done, unit="image", disable=not target.progress) as bar,
    ):
        for line in results:
            journal.write(line + "\n")
            journal.flush()
            bar.update()
    ids = _survey(work, job, written)
    if not written.images:
        shutil.rmtree(work)
        reasons = "; ".join(f"{n} {reason}" for reason, n in written.skipped.most_common())
        raise ValueError(
            f"{job.description}: no picture is left ({reasons or 'none found'}); loosen the "
            "selection or correct the source" + "".join(f"\n{m}" for m in written.faults[:5])
        )
    new_json = _write_json(work, job, ids)
    (work / "installing").touch()
    install_dataset(work / "images", new_json, folder, json_file)
    shutil.rmtree(work)
    return written
