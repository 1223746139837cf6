"""The columns of an ablation table as configs, and what tells two of them apart."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog
from detectron2.utils.file_io import PathManager

from cosal_d2.config import add_cosal_config, check_config, config_folder

# The table sets these itself, the same for every column.
RESERVED = ("_BASE_", "DATASETS.TEST", "OUTPUT_DIR", "SEED", "SOLVER.MAX_ITER")
# Where and by how many processes a column is trained is no part of what it is.
NOT_COMPARED = ("DATALOADER.NUM_WORKERS", "MODEL.DEVICE", "OUTPUT_DIR", "SEED", "VERSION")


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        name: the number that the file's name begins with (``7`` of ``7_online.yaml``), or its stem.
        title: the file's first line, a comment.
        file: name of the yaml.
        keys: what the yaml changes, by dotted key.
        node: the same as a config.
    """

    name: str
    title: str
    file: str
    keys: dict[str, Any]
    node: CfgNode


def column_files() -> list[str]:
    """The shipped columns, in the order of their numbers."""
    folder = os.path.join(config_folder(), "ablation")
    files = [f for f in os.listdir(folder) if f.endswith(".yaml")]
    return [os.path.join(folder, f) for f in sorted(files, key=lambda f: column_order(_name(f)))]


def column_order(name: str) -> tuple[float, str]:
    """Sort key of column names: by number, then those without one."""
    number = re.match(r"\d+", name)
    return (int(number.group()) if number else float("inf"), name)


def find_column(wanted: str) -> Column:
    """A column by its number, by the name of a shipped file, or by a path.

    Raises:
        ValueError: no such column, naming those there are; or see :func:`load_column`.
    """
    if os.path.isfile(wanted):
        return load_column(wanted)
    for path in column_files():
        if wanted in (_name(path), os.path.basename(path), os.path.basename(path)[:-5]):
            return load_column(path)
    known = ", ".join(os.path.basename(path) for path in column_files())
    raise ValueError(f"no column {wanted!r}; give a number, a path, or one of: {known}")


def load_column(path: str) -> Column:
    """Read a column's yaml.

    Raises:
        ValueError: the first line is no title, the yaml is none, or it has a key that the table
            sets for all columns.
    """
    with open(path, encoding="utf-8") as f:
        text = f.read()
    first = text.partition("\n")[0]
    title = first.lstrip("# ").strip()
    if not first.startswith("#") or not title:
        raise ValueError(f"{path}: the first line is no title; begin with a comment: # TITLE")
    try:
        node = CfgNode(yaml.safe_load(text) or {})
    except (yaml.YAMLError, TypeError, AssertionError) as error:
        raise ValueError(f"{path} is no yaml of config keys: {error}") from error
    keys = flatten(node)
    for key in keys:
        if key in RESERVED:
            raise ValueError(f"{path}: {key} is the table's, the same for all columns; remove it")
    return Column(_name(path), title, os.path.basename(path), keys, node)


def _name(path: str) -> str:
    stem = os.path.splitext(os.path.basename(path))[0]
    number = re.match(r"(\d+[a-z]?)_", stem)
    return number.group(1) if number else stem


def column_config(base: CfgNode, column: Column, steps: int, seed: int = 0) -> CfgNode:
    """The base config with a column's keys, trained for ``steps``.

    An empty ``INPUT.MIN_SIZE_TRAIN`` (training at one scale) becomes the base's test size.

    Args:
        base: with its datasets set.
        column: what to change.
        steps: ``SOLVER.MAX_ITER``; see :func:`set_schedule`.
        seed: ``SEED``.

    Raises:
        ValueError: the column has a key that the config does not know, or cannot be built.
    """
    cfg = base.clone()
    cfg.defrost()
    try:
        cfg.merge_from_other_cfg(column.node)
        if not cfg.INPUT.MIN_SIZE_TRAIN:
            cfg.INPUT.MIN_SIZE_TRAIN = (cfg.INPUT.MIN_SIZE_TEST,)
            cfg.INPUT.MAX_SIZE_TRAIN = cfg.INPUT.MAX_SIZE_TEST
            cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = "choice"
        check_config(cfg)
    except (AssertionError, KeyError, ValueError) as error:
        raise ValueError(f"{column.file}: {error}") from error
    set_schedule(cfg, steps)
    cfg.SEED = seed
    return cfg


def set_schedule(cfg: CfgNode, steps: int) -> None:
    """Shorten or stretch a config's schedule to ``steps`` iterations, in place.

    ``SOLVER.STEPS`` and ``SOLVER.WARMUP_ITERS`` keep their share of ``MAX_ITER``, the warm-up at
    most a tenth; a checkpoint is written every tenth, and the network is scored at the end only.
    """
    solver = cfg.SOLVER
    share = steps / solver.MAX_ITER
    solver.STEPS = tuple(sorted({max(round(s * share), 1) for s in solver.STEPS}))
    solver.WARMUP_ITERS = min(round(solver.WARMUP_ITERS * share), steps // 10)
    solver.MAX_ITER = steps
    solver.CHECKPOINT_PERIOD = max(steps // 10, 1)
    cfg.TEST.EVAL_PERIOD = 0


def flatten(cfg: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A config by dotted keys, with the values as json gives them back.

    A file's folder is left out: where it lies is no part of a config.
    """
    flat: dict[str, Any] = {}
    for key, value in cfg.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            value = os.path.basename(value) if _is_path(value) else value
            flat[prefix + key] = json.loads(json.dumps(value))
    return flat


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and os.path.isabs(value)


def compared(cfg: CfgNode) -> dict[str, Any]:
    """The keys of a config that a finished cell must agree in."""
    return {key: value for key, value in flatten(cfg).items() if key not in NOT_COMPARED}


def first_difference(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[str, Any, Any] | None:
    """The first key in which two flat configs differ, with both values; None where they agree.

    A key that one of them lacks counts there as its default: new keys are off by default.
    """
    if before == now:
        return None
    cfg = get_cfg()
    add_cosal_config(cfg)
    defaults = flatten(cfg)
    for key in sorted(before.keys() | now.keys()):
        was, is_ = (x.get(key, defaults.get(key)) for x in (before, now))
        if was != is_:
            return key, was, is_
    return None


def content_hash(names: Iterable[str]) -> dict[str, str]:
    """A short sha256 of each registered dataset's annotations and picture files, wherever they
    lie; names of classes count for nothing, since no training sees them.

    Raises:
        OSError: a picture is missing.
    """
    hashes = {}
    for name in names:
        digest = hashlib.sha256()
        for record in DatasetCatalog.get(name):
            with PathManager.open(record["file_name"], "rb") as f:
                picture = hashlib.sha256(f.read()).hexdigest()
            entry = {**record, "file_name": os.path.basename(record["file_name"])}
            entry["annotations"] = [
                {k: v for k, v in a.items() if k != "class_name"} for a in record["annotations"]
            ]
            digest.update(f"{picture}{json.dumps(entry, sort_keys=True, default=repr)}".encode())
        hashes[name] = digest.hexdigest()[:16]
    return hashes


def fingerprint(config: Mapping[str, Any], data: Mapping[str, str]) -> str:
    """A short sha256 of a flat config and the datasets' contents."""
    text = json.dumps([config, data], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
