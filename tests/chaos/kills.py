"""Trainings that are killed or stopped at a random moment, and resumed."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

from chaos.commands import Command, keep
from chaos.outcome import Budget, Outcome
from chaos.training_runs import difference, has_checkpoint, training, was_lost, write_data

SLOW = 0.15  # seconds that each file takes to be written
LONGEST_STOP = 60  # seconds in which the rest of a training ends
# Number and whether all processes get it: a cluster's end, the kernel's choice when memory is
# short, a terminal's Ctrl-C or a cluster that asks first.
SIGNALS = (
    (signal.SIGKILL, True),
    (signal.SIGKILL, False),
    (signal.SIGTERM, True),
    (signal.SIGTERM, False),
    (signal.SIGINT, True),
)


class Reference:
    """Trainings that nothing happened to, one for each number of processes."""

    def __init__(self, root: Path) -> None:
        """
        Args:
            root: folder for them and their data.
        """
        self.root = root
        self.data = write_data(root / "data")
        self._seconds: dict[int, float] = {}

    def folder(self, processes: int) -> Path:
        """Its output."""
        return self.root / f"uninterrupted_{processes}"

    def seconds(self, processes: int) -> float:
        """How long it takes, and it is run where it was not yet.

        Raises:
            RuntimeError: it fails by itself.
        """
        if processes not in self._seconds:
            start = time.monotonic()
            log = self.root / f"uninterrupted_{processes}.txt"
            folder = self.folder(processes)
            run = training(self.data, folder, log, processes=processes, slow=SLOW)
            if run.wait() != 0:
                raise RuntimeError(f"a training fails by itself: {run.last_line()}")
            self._seconds[processes] = time.monotonic() - start
        return self._seconds[processes]


def kills(budget: Budget, root: Path) -> Outcome:
    """Kill trainings of one and two processes, with and without workers, at any time or in a save.

    A training survives if it ends, resumed by the same command, with the bits and files of one that
    nothing happened to.
    """
    outcome = Outcome("training killed or stopped, and resumed")
    reference = Reference(root / "reference")
    in_saves = several = 0
    for number in range(budget.amount):
        if budget.is_over():
            outcome.missing = budget.missing(outcome.tried)
            break
        folder = root / f"run_{number}"
        attempt = _Attempt(reference, folder, budget.seed, number)
        outcome.tried += 1
        if reason := attempt.lost():
            place = keep(folder, f"kill_{budget.seed}_{number}")
            outcome.lost.append(f"{attempt}: {reason}; see {place}")
        in_saves += attempt.in_save
        several += attempt.processes > 1
        shutil.rmtree(folder, ignore_errors=True)
    outcome.notes += [f"{in_saves} in a save", f"{several} of two processes"]
    return outcome


class _Attempt:
    def __init__(self, reference: Reference, folder: Path, seed: int, number: int) -> None:
        self.reference = reference
        self.folder = folder
        self.output = folder / "output"
        self.random = random.Random(f"{seed} {number}")
        self.number = number
        self.processes = (1, 1, 2)[number % 3]
        self.workers = (0, 1)[number // 3 % 2]
        self.at_save = number % 2 == 1
        self.signal, self.all = SIGNALS[number % len(SIGNALS)]
        self.in_save = False
        folder.mkdir(parents=True)

    def __str__(self) -> str:
        whom = "all processes" if self.all else "the first process"
        return (
            f"moment {self.number}, {signal.Signals(self.signal).name} to {whom} of "
            f"{self.processes} with {self.workers} workers each"
            f"{', in a save' if self.in_save else ''}"
        )

    def lost(self) -> str:
        """What went wrong, or ""."""
        if reason := self._interrupted():
            return reason
        try:
            had_checkpoint = has_checkpoint(self.output)
        except ValueError as error:
            return str(error)
        run = self._start()
        status = run.wait()
        if status != 0:
            return f"resumed, it ends with status {status}: {run.last_line()}"
        reason = was_lost(self.output, had_checkpoint)
        return reason or difference(self.output, self.reference.folder(self.processes))

    def _start(self, slow: float = 0) -> Command:
        return training(
            self.reference.data,
            self.output,
            self.folder / "log.txt",
            processes=self.processes,
            workers=self.workers,
            slow=slow,
        )

    def _interrupted(self) -> str:
        """Interrupt a training; of one that is over before its moment comes, another."""
        seconds = self.reference.seconds(self.processes)
        while True:
            shutil.rmtree(self.output, ignore_errors=True)
            run = self._start(SLOW)
            if self._reach_moment(run, seconds):
                run.signal(self.signal, self.all)
                self.in_save = any(self.output.glob(".*.part*"))
                if run.wait(LONGEST_STOP) is None:
                    return f"processes were left {LONGEST_STOP} s after it"
                return ""
            if run.wait() != 0:
                return f"it ended by itself: {run.last_line()}"

    def _reach_moment(self, run: Command, seconds: float) -> bool:
        """Wait for a random moment; False where the training is over before."""
        if not self.at_save:
            run.process.join(self.random.uniform(0, seconds))
            return run.status is None
        saves = self.random.randint(1, 6)
        seen: set[str] = set()
        while run.status is None:
            seen |= {p.name for p in self.output.glob(".*.part.pth")}
            if len(seen) >= saves:
                time.sleep(self.random.uniform(0, SLOW))
                return run.status is None
            time.sleep(0.002)
        return False
