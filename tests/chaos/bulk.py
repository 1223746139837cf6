"""`cosal bulk` whose worker, and then the command itself, is killed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import prediction_data
from tool_loading import load_tool

from chaos.outcome import Budget, Outcome

PICTURES = 48
OPTIONS = ("--shard", "4", "--workers", "1", "--size", "128")


def bulk(budget: Budget, root: Path) -> Outcome:
    """Kill both in each attempt; it survives if no picture is lost, and none is there twice."""
    outcome = Outcome("bulk: a worker and the command killed, and run again")
    if not importlib.util.find_spec("ray"):
        outcome.missing.append(f"{budget.amount}, as Ray is not installed")
        return outcome
    tool = load_tool("tools/bulk_chaos.py")
    pictures = prediction_data.write_pictures(root / "pictures", PICTURES, size=(160, 120))
    for number in range(budget.amount):
        if budget.is_over():
            outcome.missing = budget.missing(number)
            break
        outcome.tried += 1
        tool.PATIENCE = min(3600.0, max(30.0, budget.seconds))
        try:
            found = tool.kill_and_resume(str(pictures), str(root / str(number)), OPTIONS)
        except (ChildProcessError, StopIteration) as error:
            outcome.lost.append(f"attempt {number}: {error}")
            continue
        outcome.notes.append(", ".join(f"{count} {what}" for what, count in found.items()))
        if found["lost"] or found["doubled"]:
            outcome.lost.append(f"attempt {number}: {outcome.notes[-1]}")
    return outcome
