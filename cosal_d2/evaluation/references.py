"""Reference rows: what a dataset gives to answers that need no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog

from cosal_d2.evaluation.evaluator import CoSaliencyEvaluator
from cosal_d2.evaluation.truth import decode_truth

ALL_OBJECTS = "all objects"


def all_objects_map(record: Mapping[str, Any]) -> np.ndarray:
    """Answer of a perfect saliency detector: 1 on every annotated object, co-salient or not.

    Args:
        record: dataset dict.

    Returns:
        ``(H, W)`` float64 of 0 and 1.
    """
    return decode_truth(record).salient.astype(np.float64)


def constant_map(record: Mapping[str, Any], value: float) -> np.ndarray:
    """``(H, W)`` float64 map with one value everywhere."""
    return np.full((int(record["height"]), int(record["width"])), value, dtype=np.float64)


def reference_rows(dataset_name: str, constant: float = 0.5) -> dict[str, dict[str, float]]:
    """Score two answers that need no network with :class:`CoSaliencyEvaluator`.

    "all objects" is the truth of ALL objects, as a perfect saliency detector would answer: what it
    loses against 1 is what telling co-salient objects from distractors is worth. The adaptive
    threshold of a constant map lies above it (unless it is 0 or 1), so it finds no object and
    rejects every distractor.

    Works on the calling process alone, also in a multi-process run.

    Args:
        dataset_name: name under which the dataset is registered.
        constant: value of the constant map, in [0, 1].

    Returns:
        ``{"all objects": {...}, "constant 0.5": {...}}``, each with the evaluator's keys; without
        any in a dataset without images.
    """
    answers: dict[str, Callable[[Mapping[str, Any]], np.ndarray]] = {
        ALL_OBJECTS: all_objects_map,
        f"constant {constant:g}": lambda record: constant_map(record, constant),
    }
    rows: dict[str, dict[str, float]] = {}
    for title, answer in answers.items():
        evaluator = CoSaliencyEvaluator(dataset_name, distributed=False, title=f"'{title}'")
        evaluator.reset()
        for record in DatasetCatalog.get(dataset_name):
            evaluator.process([record], [{"cosal_map": answer(record)}])
        rows[title] = dict(evaluator.evaluate().get("cosal", {}))
    return rows
