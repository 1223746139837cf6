"""One of two processes of a training dies, and the other one must not wait for it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

from chaos.commands import keep
from chaos.kills import SLOW, Reference
from chaos.outcome import Budget, Outcome
from chaos.training_runs import difference, has_checkpoint, training, was_lost

LONGEST = 60  # seconds until all have ended, on a machine that does much else


def dead_ranks(budget: Budget, root: Path) -> Outcome:
    """Kill either of two processes at a random moment.

    The training survives if the rest ends with status 1, a last line says which process was killed,
    and it goes on, resumed, as one that nothing happened to.
    """
    outcome = Outcome("one of two processes dead")
    reference = Reference(root / "reference")
    slowest = 0.0
    for number in range(budget.amount):
        if budget.is_over():
            outcome.missing = budget.missing(number)
            break
        folder = root / f"run_{number}"
        folder.mkdir()
        rng = random.Random(f"{budget.seed} {number}")
        outcome.tried += 1
        reason, seconds = _lost(reference, folder, number % 2, rng)
        slowest = max(slowest, seconds)
        if reason:
            place = keep(folder, f"rank_{budget.seed}_{number}")
            outcome.lost.append(f"moment {number}, process {number % 2}: {reason}; see {place}")
        shutil.rmtree(folder, ignore_errors=True)
    outcome.notes.append(f"the rest ended within {slowest:.1f} s")
    return outcome


def _lost(reference: Reference, folder: Path, rank: int, rng: random.Random) -> tuple[str, float]:
    """What went wrong, or "", and seconds until all had ended."""
    output, log = folder / "output", folder / "log.txt"
    whole = reference.seconds(2)
    while True:
        shutil.rmtree(output, ignore_errors=True)
        run = training(reference.data, output, log, processes=2, slow=SLOW)
        # Before, a process may not have told the others yet that it is there.
        while run.status is None and not (output / "metrics.json").exists():
            time.sleep(0.02)
        run.process.join(rng.uniform(0, whole / 2))
        ranks = sorted(pid for pid, parent in run.members().items() if parent == run.process.pid)
        if len(ranks) == 2 and run.status is None:
            break
        run.wait()
    start = time.monotonic()
    os.kill(ranks[rank], signal.SIGKILL)
    status = run.wait(LONGEST)
    seconds = time.monotonic() - start
    if status is None:
        return f"it was not over after {LONGEST} s", seconds
    if status == 0:  # it had done its work
        return difference(output, reference.folder(2)), seconds
    if status != 1 or "SIGKILL" not in run.last_line():
        return f"it ends with status {status}: {run.last_line()}", seconds
    try:
        had_checkpoint = has_checkpoint(output)
    except ValueError as error:
        return str(error), seconds
    run = training(reference.data, output, log, processes=2)
    if run.wait() != 0:
        return f"resumed, it ends with status {run.status}: {run.last_line()}", seconds
    reason = was_lost(output, had_checkpoint) or difference(output, reference.folder(2))
    return reason, seconds
