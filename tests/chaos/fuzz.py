"""Damaged files for all readers, in processes whose crashes and hangs are seen."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import cv2

from chaos.commands import server
from chaos.outcome import Budget, Outcome
from chaos.readers import READERS, Reader
from cosal_d2.utils.parallel import worker_count
from cosal_d2.utils.size_limit import LIMIT_VARIABLE

LONGEST = 60  # seconds that a reader may take for files of a few kilobytes
MEGAPIXELS = "20"  # limit of pictures: headers that state huge ones are refused by it sooner
MEMORY = 8 * 2**30  # bytes of a process's address space
SHOWN = 5  # faults of a reader that are told
ELSEWHERE = ("/etc/passwd",)  # files that the damage names
DOCUMENTED = (ValueError, OSError)


def fuzz(budget: Budget, root: Path) -> Outcome:
    """Give each reader as many damaged inputs.

    An input survives if it is read, or refused with a documented error that names a file.
    """
    outcome = Outcome("damaged files read or refused")
    share = budget.seconds / len(READERS)
    shortest = budget.amount
    for name in READERS:
        part = Budget(budget.seed, budget.amount, share)
        tried, faults = fuzz_reader(READERS[name], part, root)
        outcome.tried += tried
        shortest = min(shortest, tried)
        kinds = Counter(fault for _, fault in faults)
        outcome.lost += [f"{name}, input {seed}: {fault}" for seed, fault in faults]
        if faults:
            outcome.notes.append(f"{name}: {len(kinds)} kinds of faults")
    outcome.notes.append(f"{len(READERS)} readers, seed {budget.seed}, {shortest:,} or more each")
    outcome.missing = budget.missing(outcome.tried, budget.amount * len(READERS))
    return outcome


def fuzz_reader(
    reader: Reader, budget: Budget, root: Path, workers: int | None = None
) -> tuple[int, list[tuple[str, str]]]:
    """Give one reader damaged inputs.

    Returns:
        how many, and for each fault the input, as `read_once` takes it, and what happened.
    """
    workers = worker_count(workers)
    crews = [_Crew(reader, budget, root, i, workers) for i in range(workers)]
    crews_left = crews
    try:
        while crews_left := [crew for crew in crews_left if crew.goes_on()]:
            time.sleep(0.05)
    finally:
        for crew in crews:
            crew.end()
    return sum(c.tried for c in crews), [fault for c in crews for fault in c.faults]


class _Crew:
    """A process that reads every `step`th input, and its successors where it dies."""

    def __init__(self, reader: Reader, budget: Budget, root: Path, first: int, step: int) -> None:
        self.reader, self.budget, self.root, self.step = reader, budget, root, step
        self.tried = 0
        self.faults: list[tuple[str, str]] = []
        self._start(first)

    def _start(self, first: int) -> None:
        context = server()
        self._current = context.Value("q", first)
        self._since = (first, time.monotonic())
        self._results, sender = context.Pipe(duplex=False)
        arguments = (self.reader, self.budget, self.root, self.step, self._current, sender)
        self._process = context.Process(target=_work, args=arguments)
        self._process.start()
        sender.close()

    def goes_on(self) -> bool:
        """Take what was found; whether there may be more."""
        self._take()
        number = self._current.value
        if number != self._since[0]:
            self._since = (number, time.monotonic())
        hangs = time.monotonic() - self._since[1] > LONGEST
        if self._process.is_alive() and not hangs:
            return True
        if hangs:
            self._process.kill()
        self._process.join()
        self._take()
        number = self._current.value
        if not hangs and self._process.exitcode == 0:
            return False
        ended = f"it ends with status {self._process.exitcode}"
        what = f"it takes more than {LONGEST} s" if hangs else ended
        self.faults.append((f"{self.budget.seed} {number}", what))
        self.tried += 1
        self._start(number + self.step)
        return True

    def _take(self) -> None:
        with contextlib.suppress(EOFError):
            while self._results.poll():
                tried, found = self._results.recv()
                self.tried += tried
                self.faults += found

    def end(self) -> None:
        """End the process where it runs."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()


def _work(
    reader: Reader,
    budget: Budget,
    root: Path,
    step: int,
    current: Synchronized,
    results: Connection,
) -> None:
    """Read inputs from the current one on until the budget is over."""
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")
    nothing = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nothing, number)
    os.environ[LIMIT_VARIABLE] = MEGAPIXELS
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(dir=root) as folder:
        sound = Path(folder, "sound")
        sound.mkdir()
        reader.write(sound)
        while current.value < budget.amount and not budget.is_over():
            seed = f"{budget.seed} {current.value}"
            fault = read_once(reader, seed, sound, Path(folder, "damaged"))
            results.send((1, [(seed, fault)] if fault else []))
            current.value += step


def read_once(reader: Reader, seed: str, sound: Path, damaged: Path) -> str:
    """Damage a copy of sound files and read it.

    Args:
        reader: reads them.
        seed: of the damage.
        sound: the files.
        damaged: the copy, which replaces a former one.

    Returns:
        what is wrong with the outcome, "" for nothing.
    """
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(sound, damaged)
    reader.damage(damaged, random.Random(seed))
    names = {
        str(damaged),
        f"Selected from {damaged.name}",
        *ELSEWHERE,
        *(p.name for p in damaged.rglob("*")),
        *(p.name for p in sound.rglob("*")),
    }
    try:
        reader.read(damaged)
    except DOCUMENTED as error:
        text = str(error)
        if any(name in text for name in names):
            return ""
        return f"the error names no file: {type(error).__name__}: {text[:200]} ({_place(error)})"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]} ({_place(error)})"
    return ""


def _place(error: Exception) -> str:
    """Where in the package it was raised, or passed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "cosal_d2" in Path(f.filename).parts] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"


def show(name: str, seed: str, folder: Path) -> None:
    """Read one input again, leave its files in a folder, and let an error end in a traceback."""
    sound = folder / "sound"
    sound.mkdir(parents=True)
    READERS[name].write(sound)
    damaged = folder / "damaged"
    shutil.copytree(sound, damaged)
    READERS[name].damage(damaged, random.Random(seed))
    print(f"its files: {damaged}", file=sys.stderr)
    READERS[name].read(damaged)
