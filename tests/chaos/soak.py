"""A training and a prediction that go on for long: whether memory, handles or threads grow."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import prediction_data

from chaos.commands import Command
from chaos.outcome import Budget, Outcome
from chaos.training_runs import training, write_data

MEGABYTE = 2**20
MORE_MEMORY = 64 * MEGABYTE  # beyond a tenth of that at the start
LOOKS = 10  # a third of a second apart
START = 0.25  # share of the time in which buffers and caches get filled
PICTURES = 24
ENDLESS = 10**8  # iterations


# A command, a function that counts what it has done, and the word for these.
Started = tuple[Command, Callable[[], int], str]


@dataclass(frozen=True)
class Held:
    """What the processes of a command hold: bytes of memory, open handles, threads."""

    memory: int
    handles: int
    threads: int

    def __str__(self) -> str:
        return f"{self.memory // MEGABYTE} MB, {self.handles} handles, {self.threads} threads"


def held(run: Command) -> Held:
    """What a command holds now."""
    memory = handles = threads = 0
    for number in run.members():
        process = Path("/proc", str(number))
        try:
            fields = dict(
                line.split(":", 1) for line in (process / "status").read_text().splitlines()
            )
            handles += len(os.listdir(process / "fd"))
            memory += 1024 * int(fields["VmRSS"].split()[0])
            threads += int(fields["Threads"])
        except (OSError, KeyError):  # it has ended
            continue
    return Held(memory, handles, threads)


def soak(budget: Budget, root: Path) -> Outcome:
    """Train, then predict, for ``budget.amount`` seconds each.

    The seconds begin with the first results. A run survives if it holds at the end what it held
    after a quarter of them: as many handles and threads, and no more than a tenth and 64 MB more
    memory.
    """
    outcome = Outcome("long runs")
    seconds = min(budget.amount, budget.seconds / 2)
    for name, start in (("training", _training), ("prediction", _prediction)):
        outcome.tried += 1
        (root / name).mkdir()
        run, done, what = start(root / name, seconds)
        while run.status is None and not done():
            run.process.join(0.1)
        first, last, ended = _watch(run, seconds)
        count = f"{done():,} {what}"
        outcome.notes.append(f"{name} of {seconds:.0f} s, {count}: {first}; {last} at the end")
        if reason := ended or _grown(first, last):
            outcome.lost.append(f"{name}: {reason}")
    return outcome


def _watch(run: Command, seconds: float) -> tuple[Held, Held, str]:
    """What a run holds after a quarter of the time and at the end, the least of ten looks each,
    as files are open for moments; and what ended it before."""
    looks: list[list[Held]] = [[], []]
    for place, share in enumerate((START, 1 - START)):
        run.process.join(share * seconds)
        for _ in range(LOOKS):
            run.process.join(0.3)
            looks[place].append(held(run))
    ended = run.status is not None
    run.signal(signal.SIGKILL)
    run.wait()
    first, last = (
        Held(*(min(getattr(look, field) for look in part) for field in Held.__annotations__))
        for part in looks
    )
    return first, last, f"it ended by itself: {run.last_line()}" if ended else ""


def _grown(first: Held, last: Held) -> str:
    if last.memory > 1.1 * first.memory + MORE_MEMORY:
        return f"memory grew: {first}; {last} at the end"
    if last.handles > first.handles or last.threads > first.threads:
        return f"handles or threads grew: {first}; {last} at the end"
    return ""


def _training(root: Path, _: float) -> Started:
    data = write_data(root / "data")
    run = training(
        data,
        root / "output",
        root / "log.txt",
        workers=1,
        opts=["SOLVER.MAX_ITER", ENDLESS, "SOLVER.CHECKPOINT_PERIOD", 200, "TEST.EVAL_PERIOD", 500],
    )

    return run, lambda: 20 * _lines(root / "output" / "metrics.json"), "iterations"


def _prediction(root: Path, seconds: float) -> Started:
    """The released network on links to some pictures, so many that it is not over before."""
    pictures = prediction_data.write_pictures(root / "pictures", PICTURES, size=(160, 120))
    many = root / "many"
    for place in range(int(3 * seconds) + 50):
        (many / str(place)).mkdir(parents=True)
        for picture in pictures.iterdir():
            os.link(picture, many / str(place) / picture.name)
    save = "map,mask,overlay,objects,json,csv"
    line = ["predict", "--input", many, "--recursive", "--output", root / "output", "--save", save]
    run = Command([*line, "--size", "128"], root / "log.txt")

    return run, lambda: max(0, _lines(root / "output" / "counts.csv") - 1), "pictures"


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0
