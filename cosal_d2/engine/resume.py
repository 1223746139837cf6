"""From which checkpoint a training goes on, and whose folder it may write into."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode
from detectron2.utils import comm

from cosal_d2.config import get_cosal_config

BEST = "model_best"  # the weights alone
TRACES = ("last_checkpoint", "model_*.pth", "metrics.json", "events.out.tfevents.*")
SHOWN = 8
# Keys that a resumed training may change: they leave its weights as they are, or its length.
FREE_KEYS = frozenset(
    (
        *("OUTPUT_DIR", "VERSION", "VIS_PERIOD", "CUDNN_BENCHMARK", "SEED"),
        *("MODEL.WEIGHTS", "MODEL.DEVICE", "MODEL.RELEASED"),
        *("SOLVER.MAX_ITER", "SOLVER.CHECKPOINT_PERIOD", "SOLVER.CHECKPOINTS_KEPT"),
        *("DATASETS.TEST", "DATALOADER.NUM_WORKERS"),
        *("INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TEST"),
    )
)

logger = logging.getLogger(__name__)


def find_start(cfg: CfgNode, resume: bool) -> str:
    """The checkpoint in ``OUTPUT_DIR`` that a training goes on from, "" to start anew: what the
    main process finds, in all processes.

    Raises:
        ValueError: to start, the folder holds an earlier training; to resume, none of its
            checkpoints is intact, or they belong to another config.
    """
    found = ("", "")
    if comm.is_main_process():
        try:
            if not resume:
                check_unused(cfg.OUTPUT_DIR)
            else:
                path = newest_checkpoint(cfg.OUTPUT_DIR)
                if path:
                    check_same_config(path, cfg)
                found = (path, "")
        except (OSError, ValueError) as error:
            found = ("", str(error))
    path, problem = comm.all_gather(found)[0]
    if problem:
        raise ValueError(problem)
    return path


def check_unused(folder: str) -> None:
    """Refuse a folder with traces of an earlier training, whose files would be mixed up with new
    ones.

    Raises:
        ValueError: naming what is there.
    """
    names = sorted(path.name for trace in TRACES for path in Path(folder).glob(trace))
    if names:
        raise ValueError(
            f"OUTPUT_DIR {folder} holds an earlier training ({names[0]} and {len(names) - 1} more "
            "files): go on with it by --resume, or give another OUTPUT_DIR"
        )


def newest_checkpoint(folder: str) -> str:
    """The intact checkpoint that ``last_checkpoint`` names, or else the one of the latest
    iteration; "" where there is none at all.

    Raises:
        ValueError: there are checkpoints, or there were, but none is intact.
    """
    tag = Path(folder, "last_checkpoint")
    problems: dict[str, str] = {}
    if tag.exists():
        name = tag.read_bytes().decode("utf-8", "replace").strip()
        try:
            if not name or name != os.path.basename(name):
                raise ValueError("names no checkpoint")
            read_checkpoint(Path(folder, name))
            return os.path.join(folder, name)
        except ValueError as error:
            problems["last_checkpoint"] = str(error)
    intact: dict[int, str] = {}
    for path in sorted(Path(folder).glob("model_*.pth")):
        try:
            content = read_checkpoint(path)
            if "trainer" in content:
                intact[content["trainer"]["iteration"]] = os.fspath(path)
        except ValueError as error:
            problems[path.name] = str(error)
    listed = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    if intact:
        newest = intact[max(intact)]
        logger.warning(
            "going on from %s, the newest intact checkpoint (%s)",
            newest,
            listed or f"there is no {tag}",
        )
        return newest
    if problems:
        raise ValueError(
            f"{folder} has no intact checkpoint to go on from ({listed}): move these files away to "
            "start anew"
        )
    return ""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds; every byte of it is checked, and tensors are read when used.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"{damaged} in it has another checksum")
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if "model" not in content:
            raise ValueError("it holds no network")
        return content
    except FileNotFoundError as error:
        raise ValueError(f"{path.name} is missing") from error
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path.name} is damaged or no checkpoint ({reason})") from error


def check_same_config(path: str, cfg: CfgNode) -> None:
    """Refuse a checkpoint of a training with another config.

    Args:
        path: of the checkpoint; one that names no config is accepted.
        cfg: scaled as the trainer's.

    Raises:
        ValueError: naming the keys that differ, but for ``FREE_KEYS`` and ``TEST``.
    """
    was = read_checkpoint(Path(path)).get("trainer", {}).get("config")
    differing = differences(was, cfg) if was else {}
    differing = {k: v for k, v in differing.items() if k not in FREE_KEYS and k[:5] != "TEST."}
    if differing:
        shown = [f"{k} is {a!r} there and {b!r} here" for k, (a, b) in differing.items()]
        more = f"; and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
        raise ValueError(
            f"{path}: this folder belongs to another config; keys that differ: "
            f"{'; '.join(shown[:SHOWN])}{more}. Give another OUTPUT_DIR, or the config that it was "
            "trained with"
        )


def differences(was: str, cfg: CfgNode) -> dict[str, tuple[Any, Any]]:
    """Values in a dumped config and in ``cfg`` of the keys, dotted, in which they differ; a key
    that came after the dump had its default value."""
    default = get_cosal_config().dump()
    default, was, now = (dict(dotted(yaml.safe_load(text))) for text in (default, was, cfg.dump()))
    before = default | was
    return {
        key: (before.get(key), now.get(key))
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    }


def dotted(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a config, dotted, with their values."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
