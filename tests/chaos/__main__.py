"""``python -m chaos``, in the project's folder with ``tests`` on PYTHONPATH: all kinds of trouble,
a line each; exit status 1 if anything was lost."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaos.bulk import bulk
from chaos.dead_rank import dead_ranks
from chaos.full_disk import full_disks
from chaos.fuzz import fuzz, show
from chaos.kills import kills
from chaos.outcome import Budget, Outcome
from chaos.readers import READERS
from chaos.soak import soak


@dataclass(frozen=True)
class Kind:
    """
    Attributes:
        run: tries it.
        amount, amount_in_full: attempts of it, or seconds of a long run.
        share: of the time.
    """

    run: Callable[[Budget, Path], Outcome]
    amount: int
    amount_in_full: int
    share: float


KINDS = {
    "kills": Kind(kills, 12, 50, 0.35),
    "disks": Kind(full_disks, 14, 70, 0.15),
    "ranks": Kind(dead_ranks, 2, 10, 0.08),
    "bulk": Kind(bulk, 1, 5, 0.08),
    "soak": Kind(soak, 60, 3600, 0.1),
    "fuzz": Kind(fuzz, 10_000, 10_000, 0.32),
}


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=20, help="for all kinds together (default: %(default)s)")
    add("--full", action="store_true", help="all attempts, however long they take")
    add("--seed", type=int, default=0, help="of all that is drawn at random (default: 0)")
    add("--only", nargs="+", choices=KINDS, default=list(KINDS), help="some kinds alone")
    add("--input", nargs=3, metavar=("READER", "SEED", "N"), help=f"one of {', '.join(READERS)}")
    args = parser.parse_args()
    if args.input:
        name, seed, number = args.input
        show(name, f"{seed} {number}", Path(tempfile.mkdtemp(prefix="chaos")))
        return 0
    return run(args.only, args.minutes, args.full, args.seed)


def run(names: list[str], minutes: float, full: bool, seed: int) -> int:
    """Try kinds of trouble, and print a line for each.

    Time that one kind leaves goes to the next ones.

    Returns:
        1 if anything was lost, else 0.
    """
    start = time.monotonic()
    lost = 0
    with tempfile.TemporaryDirectory(prefix="chaos") as folder:
        for place, name in enumerate(names):
            kind = KINDS[name]
            left = 60 * minutes - (time.monotonic() - start)
            seconds = left * kind.share / sum(KINDS[n].share for n in names[place:])
            amount = kind.amount_in_full if full else kind.amount
            root = Path(folder, name)
            root.mkdir()
            began = time.monotonic()
            outcome = kind.run(Budget(seed, amount, float("inf") if full else seconds), root)
            outcome.notes.append(f"{time.monotonic() - began:.0f} s")
            print(outcome, *outcome.lost, sep="\n  lost: ", flush=True)
            lost += len(outcome.lost)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
