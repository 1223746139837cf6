"""Trainings, predictions and conversions on a disk that gets full, by a limit of the size of files
and on a small disk of its own."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import prediction_data
from converter_data import write_coco, write_index_masks, write_labelme, write_voc, write_yolo
from network_data import GROUPED, TINY, tiny_model

from chaos.commands import Command, keep
from chaos.kills import Reference
from chaos.outcome import Budget, Outcome
from chaos.training_runs import difference, has_checkpoint, training, was_lost
from cosal_d2.engine import CoSaliencyCheckpointer

DISK = 64 * 2**20  # bytes
SAYS = ("No space left", "File too large")  # what a last line has to say, beside a path
LEAST_FOR_LIBRARIES = 4096


class Job(Protocol):
    """Something that writes files, and is done again after it failed."""

    def begin(self, folder: Path) -> None:
        """Do a part of it into an empty folder."""

    def run(self, folder: Path, log: Path, file_size: int | None) -> Command:
        """Go on, or start again."""

    def needs(self) -> tuple[int, int]:
        """Bytes of the whole result, and of its largest file."""

    def kept(self, folder: Path) -> str:
        """After a failure: what was there and is no more, or ""."""

    def difference(self, folder: Path) -> str:
        """At last: what differs from a result that nothing happened to."""


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class Training:
    """A training of seconds that has its first checkpoint."""

    def __init__(self, root: Path) -> None:
        self.reference = Reference(root / "reference")
        self.reference.seconds(1)
        self.log = root / "begun.txt"
        self.had = False

    def begin(self, folder: Path) -> None:
        run = training(self.reference.data, folder, self.log, slow=0.3)
        while run.status is None and not (folder / "last_checkpoint").exists():
            time.sleep(0.02)
        run.signal(9)
        run.wait()
        self.had = has_checkpoint(folder)

    def run(self, folder: Path, log: Path, file_size: int | None) -> Command:
        return training(self.reference.data, folder, log, file_size=file_size)

    def needs(self) -> tuple[int, int]:
        return _needs(self.reference.folder(1))

    def kept(self, folder: Path) -> str:
        try:
            return "" if has_checkpoint(folder) else "its checkpoint is gone"
        except ValueError as error:
            return str(error)

    def difference(self, folder: Path) -> str:
        return was_lost(folder, self.had) or difference(folder, self.reference.folder(1))


class Prediction:
    """Maps, objects and tables of eight pictures, two of which are done."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True)
        CoSaliencyCheckpointer(tiny_model(*GROUPED), str(root)).save("model")
        self.pictures = prediction_data.write_pictures(root / "pictures", 8, size=(64, 48))
        self.root = root
        self.whole = root / "whole"
        if self.run(self.whole, root / "whole.txt", None).wait() != 0:
            raise RuntimeError(f"a prediction fails by itself: see {root / 'whole.txt'}")

    def _command(self, pictures: list[Path], folder: Path, log: Path, **own) -> Command:
        save = "map,mask,overlay,cutout,objects,json,csv"
        line = ["predict", "--input", *pictures, "--output", folder, "--save", save]
        line += ["--skip-existing", "--config-file", "cosal_vgg16.yaml", "--opts", *TINY, *GROUPED]
        return Command([*line, "MODEL.WEIGHTS", self.root / "model.pth"], log, **own)

    def begin(self, folder: Path) -> None:
        pictures = sorted(self.pictures.iterdir())[:2]
        self._command(pictures, folder, self.root / "begun.txt").wait()
        self.before = contents(folder)

    def run(self, folder: Path, log: Path, file_size: int | None) -> Command:
        return self._command([self.pictures], folder, log, file_size=file_size)

    def needs(self) -> tuple[int, int]:
        return _needs(self.whole)

    def kept(self, folder: Path) -> str:
        after = contents(folder)
        lost = [n for n, c in self.before.items() if not after.get(n, b"").startswith(c[:-2])]
        lost = [name for name in lost if name != "objects.json"]  # made anew at the end of a run
        return f"earlier results are not as they were: {lost}" if lost else ""

    def difference(self, folder: Path) -> str:
        found, wanted = contents(folder), contents(self.whole)
        names = [n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n)]
        return f"files differ: {sorted(names)}" if names else ""


class Conversion:
    """A dataset that replaces a former one."""

    def __init__(self, root: Path, write: Callable[[Path], tuple[list, dict]]) -> None:
        source = root / "source"
        root.mkdir(parents=True)
        self.line = write(source)[0]
        self.root = root
        self.whole = root / "whole"
        self.begin(self.whole)

    def begin(self, folder: Path) -> None:
        run = self.run(folder, self.root / "begun.txt", None)
        if run.wait() != 0:
            raise RuntimeError(f"a conversion fails by itself: {run.last_line()}")

    def run(self, folder: Path, log: Path, file_size: int | None) -> Command:
        end = ["--out", folder, "--name", "made", "--workers", "1", "--overwrite"]
        return Command(["data", *self.line, *end], log, file_size=file_size)

    def needs(self) -> tuple[int, int]:
        return _needs(self.whole)

    def kept(self, folder: Path) -> str:
        return self.difference(folder)

    def difference(self, folder: Path) -> str:
        return "" if contents(folder) == contents(self.whole) else "the dataset is another"


def _needs(folder: Path) -> tuple[int, int]:
    sizes = [p.stat().st_size for p in folder.rglob("*") if p.is_file()]
    return sum(sizes), max(sizes)


JOBS: dict[str, Callable[[Path], Job]] = {
    "training": Training,
    "prediction": Prediction,
    "COCO conversion": lambda root: Conversion(root, write_coco),
    "LabelMe conversion": lambda root: Conversion(root, write_labelme),
    "YOLO conversion": lambda root: Conversion(root, write_yolo),
    "VOC conversion": lambda root: Conversion(root, write_voc),
    "masks conversion": lambda root: Conversion(root, write_index_masks),
}


def full_disks(budget: Budget, root: Path) -> Outcome:
    """Let the disk get full at a random byte of each job in turn.

    It survives if it ends with status 1 and a last line that names a path and says that there is no
    space, leaves what was there before, and, once there is space, gives the whole result.
    """
    outcome = Outcome("full disk")
    jobs: dict[str, Job] = {}
    with small_disk(root / "disk") as disk:
        means = ["a limit of file sizes"] + (["a small disk"] if disk else [])
        turns = [(name, way) for way in means for name in JOBS]
        if not disk:
            outcome.missing.append("a small disk, as only root may mount one")
        for number in range(budget.amount):
            if budget.is_over():
                outcome.missing += budget.missing(number)
                break
            name, way = turns[number % len(turns)]
            if name not in jobs:
                jobs[name] = JOBS[name](root / name)
            folder = (disk if way == "a small disk" else root) / f"attempt_{number}"
            folder.mkdir()
            rng = random.Random(f"{budget.seed} {number}")
            outcome.tried += 1
            if reason := _lost(jobs[name], folder, way == "a small disk", rng):
                place = keep(folder, f"disk_{budget.seed}_{number}")
                outcome.lost.append(f"attempt {number}, {name}, {way}: {reason}; see {place}")
            shutil.rmtree(folder)
        outcome.notes.append(f"{len(jobs)} of {len(JOBS)} jobs, by {' and '.join(means)}")
    return outcome


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A disk of 64 MB, in memory; None where it cannot be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def _lost(job: Job, folder: Path, on_disk: bool, rng: random.Random) -> str:
    output = folder / "output"
    log = folder.parent / f"{folder.name}.txt" if not on_disk else None
    log = log or Path(f"{folder.parent}_{folder.name}.txt")
    job.begin(output)
    total, largest = job.needs()
    file_size = None
    filler = folder / "filler"
    if on_disk:
        _fill(filler, rng.randrange(LEAST_FOR_LIBRARIES, total // 2))
    else:
        file_size = rng.randrange(1, largest)
    run = job.run(output, log, file_size)
    status, last = run.wait(), run.last_line()
    filler.unlink(missing_ok=True)
    if status not in (0, 1):
        return f"it ends with status {status}: {last}"
    if status == 1 and not (any(words in run.said() for words in SAYS) and str(folder) in last):
        return f"its last line names no path, or not what is wrong: {last}"
    if status == 1 and (reason := job.kept(output)):
        return reason
    run = job.run(output, log, None)
    if run.wait() != 0:
        return f"with space it ends with status {run.status}: {run.last_line()}"
    return job.difference(output)


def _fill(file: Path, room: int) -> None:
    """Leave so many bytes on the disk of a file."""
    free = os.statvfs(file.parent)
    with open(file, "wb") as filler:
        for _ in range(max(0, free.f_bavail * free.f_frsize - room) // 4096):
            filler.write(bytes(4096))
