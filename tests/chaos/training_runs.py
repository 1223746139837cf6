"""A training of seconds, and whether two of them are one and the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from network_data import TINY, write_dataset
from training_data import SMALL

from chaos.commands import Command
from cosal_d2.engine.resume import newest_checkpoint

ITERATIONS = 8
DATASET = "cosal_tiny"
OPTS = [
    *("SOLVER.MAX_ITER", str(ITERATIONS), "SOLVER.CHECKPOINT_PERIOD", "2"),
    *("SOLVER.CHECKPOINTS_KEPT", "2", "TEST.EVAL_PERIOD", "4", "TEST.BEST_METRIC", "MAE"),
    *("DATASETS.TRAIN", f"('{DATASET}',)", "DATASETS.TEST", f"('{DATASET}',)", "SEED", "3"),
    *("TEST.MEASURE_WORKERS", "0"),
]


def write_data(root: Path) -> Path:
    """Synthetic pictures, under a root for ``$DETECTRON2_DATASETS``."""
    write_dataset(root, count=4)
    return root


def training(
    data: Path,
    output: Path,
    log: Path,
    *,
    processes: int = 1,
    workers: int = 0,
    opts: Sequence = (),
    **own,
) -> Command:
    """Start a training, or go on with it.

    Args:
        data: of :func:`write_data`.
        output: its folder.
        log: file for what it prints.
        processes: of the training.
        workers: of each one's loader.
        opts: further changes of the config.
        own: of :class:`.Command`.
    """
    arguments = ["train", "--config-file", "cosal_vgg16.yaml", "--resume"]
    arguments += ["--num-gpus", str(processes), *TINY, *SMALL, *OPTS]
    arguments += ["DATALOADER.NUM_WORKERS", str(workers), "OUTPUT_DIR", str(output), *opts]
    return Command(arguments, log, data=data, **own)


def was_lost(output: Path, had_checkpoint: bool) -> str:
    """Whether the last start in a folder began anew although there was a checkpoint."""
    start = json.loads((output / "run.json").read_text())[-1]
    return "the training began anew" if had_checkpoint and not start["checkpoint"] else ""


def has_checkpoint(output: Path) -> bool:
    """Whether a training can go on from one in a folder.

    Raises:
        ValueError: there are checkpoints, and none is intact.
    """
    return output.exists() and bool(newest_checkpoint(str(output)))


def difference(output: Path, other: Path) -> str:
    """What differs in two folders of trainings: names of files, bits of checkpoints, or the log
    but for its times; "" where nothing does."""
    found, wanted = (
        {p.relative_to(f) for p in f.rglob("*") if "tfevents" not in p.name}
        for f in (output, other)
    )
    if found != wanted:
        return f"files: {sorted(map(str, found - wanted))} for {sorted(map(str, wanted - found))}"
    for name in sorted(p.name for p in found if p.suffix == ".pth"):
        a, b = (torch.load(f / name, weights_only=True) for f in (output, other))
        a, b = (_state(x) for x in (a, b))
        if not same_tensors(a, b):
            return f"{name} differs"
    a, b = ((f / "last_checkpoint").read_text() for f in (output, other))
    if a != b:
        return f"last_checkpoint is {a}, not {b}"
    return "" if logged(output) == logged(other) else "metrics.json differs"


def _state(checkpoint: dict) -> list:
    """What a training goes on from; the rest are times and values that the log shows."""
    trainer = checkpoint.get("trainer", {}).get("_trainer", {})
    return [checkpoint["model"], trainer.get("optimizer"), trainer.get("iteration")]


def logged(folder: Path) -> list[dict]:
    """The lines of ``metrics.json``, but for times."""
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return [{k: v for k, v in x.items() if "time" not in k and "eta" not in k} for x in lines]


def same_tensors(a, b) -> bool:
    """Whether nested states hold the same bits."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_tensors(v, b[k]) for k, v in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same_tensors, a, b))
    return a == b
