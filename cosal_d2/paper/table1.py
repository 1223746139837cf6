"""The paper's Table 1: the columns of ``configs/ablation/``, each trained with each seed for the
same number of iterations.

Each training has a folder of its own, ``OUT/COLUMN_SEED/`` (``trainings.py``).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from detectron2.config import CfgNode

from cosal_d2.config import check_config, config_folder
from cosal_d2.data.datasets import check_registered
from cosal_d2.engine.resume import dotted
from cosal_d2.paper.table1_report import Cell, write_report
from cosal_d2.paper.trainings import check_settings, scale_schedule, train_in_folder

logger = logging.getLogger(__name__)

# The table sets these itself, the same for every column.
RESERVED = ("DATASETS.TEST", "OUTPUT_DIR", "SEED", "SOLVER.MAX_ITER")


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        name: the number that the file's name begins with (``7`` of ``7_online.yaml``), or its stem.
        title: the file's first line, a comment.
        file: name of the yaml.
        node: what the yaml and its ``_BASE_`` columns change in the config of all columns.
    """

    name: str
    title: str
    file: str
    node: CfgNode


def column_files() -> list[str]:
    """The shipped columns, in the order of their numbers."""
    folder = os.path.join(config_folder(), "ablation")
    files = [file for file in os.listdir(folder) if file.endswith(".yaml")]
    return [os.path.join(folder, file) for file in sorted(files, key=_number)]


def find_column(wanted: str) -> Column:
    """A column by its number, by the name of a shipped file, or by a path.

    Raises:
        ValueError: no such column, naming those there are; or see :func:`load_column`.
    """
    if os.path.isfile(wanted):
        return load_column(wanted)
    for path in column_files():
        if wanted in (_name(path), os.path.basename(path), Path(path).stem):
            return load_column(path)
    known = ", ".join(os.path.basename(path) for path in column_files())
    raise ValueError(f"no column {wanted!r}; give a number, a path, or one of: {known}")


def load_column(path: str) -> Column:
    """Read a column's yaml.

    Raises:
        ValueError: the first line is no title, the yaml is none, or it has a key that the table
            sets for all columns.
    """
    text = Path(path).read_text(encoding="utf-8")
    first = text.partition("\n")[0]
    title = first.lstrip("# ").strip()
    if not first.startswith("#") or not title:
        raise ValueError(f"{path}: the first line is no title; begin with a comment: # TITLE")
    try:
        keys = CfgNode.load_yaml_with_base(path) if yaml.safe_load(text) else {}
        node = CfgNode(keys)
    except OSError as error:
        raise ValueError(
            f"{path}: its _BASE_ cannot be read ({error}); name a column beside it"
        ) from error
    except RecursionError as error:
        raise ValueError(f"{path}: its _BASE_ leads back to it; name another column") from error
    except (yaml.YAMLError, AttributeError, TypeError, AssertionError, UnicodeError) as error:
        raise ValueError(f"{path} or its _BASE_ is no yaml of config keys: {error}") from error
    for key, _ in dotted(node):
        if key in RESERVED:
            raise ValueError(f"{path}: {key} is the table's, the same for all columns; remove it")
    return Column(_name(path), title, os.path.basename(path), node)


def column_config(base: CfgNode, column: Column, iterations: int, seed: int = 0) -> CfgNode:
    """The base config with a column's keys, its schedule as :func:`scale_schedule` makes it.

    An empty ``INPUT.MIN_SIZE_TRAIN`` (training at one scale) becomes the base's test size.

    Args:
        base: with its datasets set.
        column: what to change.
        iterations: ``SOLVER.MAX_ITER``.
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
    scale_schedule(cfg, iterations, seed)
    return cfg


def train_table(
    base: CfgNode,
    columns: Sequence[Column],
    seeds: Sequence[int],
    out: Path,
    iterations: int | None = None,
) -> str:
    """Train the cells that are not finished, and bring the table up to date after each.

    Args:
        base: the base config, with ``DATASETS.TRAIN`` and ``DATASETS.TEST``.
        columns: what is compared.
        seeds: one training each.
        out: folder of the cells, and of ``table1.md``, ``.csv`` and ``.png``.
        iterations: of each training; None takes the base config's.

    Returns:
        the table, Markdown.

    Raises:
        ValueError: what is asked for is unusable, or a cell was trained with other settings.
    """
    iterations = base.SOLVER.MAX_ITER if iterations is None else iterations
    names = [column.name for column in columns]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"--columns: {', '.join(names) or 'none'}; name each once")
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError("--seeds: give different whole numbers from 0 on")
    if iterations < 1:
        raise ValueError(f"--iterations {iterations}: give 1 or more")
    if not (base.DATASETS.TRAIN and base.DATASETS.TEST):
        raise ValueError("name the datasets to train on with --data, those to score with --test")
    check_registered([*base.DATASETS.TRAIN, *base.DATASETS.TEST])
    cells, configs = [], []
    for seed in seeds:  # seed by seed, so that columns can be compared early
        for column in columns:
            cfg = column_config(base, column, iterations, seed)
            cfg.OUTPUT_DIR = str(out / f"{column.name}_{seed}")
            cell = Cell(column.name, column.title, seed, Path(cfg.OUTPUT_DIR), cfg.DATASETS.TEST)
            check_settings(cfg, cell.finished)
            cells.append(cell)
            configs.append(cfg)
    about = (
        f"Each column trained for {iterations} iterations on {', '.join(base.DATASETS.TRAIN)}, "
        f"seeds {', '.join(map(str, seeds))}; mean ± sample standard deviation over the n seeds."
    )
    for cell, cfg in zip(cells, configs, strict=True):
        if not cell.finished:
            logger.info("training %s (%s) for %d iterations", cell.folder, cell.title, iterations)
            train_in_folder(cfg)
            write_report(out, cells, about)
    return write_report(out, cells, about)


def _name(path: str) -> str:
    stem = Path(path).stem
    number = re.match(r"(\d+[a-z]?)_", stem)
    return number.group(1) if number else stem


def _number(file: str) -> tuple[float, str]:
    number = re.match(r"\d+", file)
    return (int(number.group()) if number else float("inf"), file)
