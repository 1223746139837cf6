"""Table 2 in minutes on two CPU cores: synthetic scenes, small pictures, short trainings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from cosal_d2.config import find_config
from cosal_d2.engine.resume import dotted
from cosal_d2.paper.table2 import Table2, draw_once
from cosal_d2.prepare.synthetic import DatasetSpec, SceneOptions

ITERATIONS = 100  # of each network
# Name, number of scenes, seed, range of distractors: the first trains, the others test.
SPLITS = (
    ("table2_train", 200, 1, (0, 4)),
    ("table2_plain", 24, 2, (0, 0)),
    ("table2_distractors", 24, 3, (1, 4)),
)
SIZE = (240, 320)
# What is taken of quickstart.yaml, and smaller pictures, with anchors in proportion.
CONFIG = "quickstart.yaml"
KEYS = ("INPUT.", "SOLVER.", "DATALOADER.", "MODEL.RFM.")
SMALL = (
    *("INPUT.MIN_SIZE_TRAIN", "(112, 128)", "INPUT.MAX_SIZE_TRAIN", "208"),
    *("INPUT.MIN_SIZE_TEST", "128", "INPUT.MAX_SIZE_TEST", "208"),
    *("MODEL.ANCHOR_GENERATOR.SIZES", "[[20, 32, 52, 80]]"),
)


def quick_table(table: Table2, work: Path, workers: int | None = None) -> Table2:
    """A table with the scenes as its data, and with all networks trained, released ones too.

    Args:
        table: without datasets.
        work: folder that takes the scenes.
        workers: processes that draw them.

    Raises:
        ValueError: the table has data of its own.
    """
    if table.datasets or table.data:
        raise ValueError("--quick has data of its own: leave out --dataset and --data")
    files = [
        str(draw_once(DatasetSpec(work / "scenes", name, count, seed, options), workers))
        for name, count, seed, distractors in SPLITS
        for options in (SceneOptions(distractors=distractors, size=SIZE),)
    ]
    return replace(
        table,
        datasets=files[1:],
        data=files[:1],
        base_opts=quick_opts(),
        opts=("MODEL.RELEASED", "", *table.opts),
        train=ITERATIONS if table.train is None else table.train,
        gallery=table.gallery or files[-1],
    )


def quick_opts() -> list[str]:
    """The config changes of all networks."""
    content = yaml.safe_load(Path(find_config(CONFIG)).read_text(encoding="utf-8"))
    pairs = [(key, value) for key, value in dotted(content) if key.startswith(KEYS)]
    return [*(part for pair in pairs for part in pair), *SMALL]
