"""Evaluations as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from tqdm import tqdm

from cosal_d2.evaluation.curves import draw_curves, render
from cosal_d2.evaluation.field import MEASURES
from cosal_d2.evaluation.output import load_evaluation
from cosal_d2.evaluation.report.pictures import draw_panels
from cosal_d2.evaluation.tables import LOWER, best_of, columns_of
from cosal_d2.evaluation.truth import decode_truth
from cosal_d2.evaluation.truth_sets import TruthSet, load_truth

WEAK = 0.5
FAILURES = {
    "nothing": "finds no object",
    "missed": "misses an object",
    "distractor": "takes a distractor",
    "false": "shows something that is none",
    "empty": "answers an empty truth",
    "weak": f"F below {WEAK}",
}
SHOWN = ("adpF", "MAE", "maxF", "S", "maxE", "wF", "raw_adpF", "raw_MAE", "P", "R")
DETAILS = ("objects", "objects_found", "distractors", "distractors_rejected", "false_regions")


def build_page(
    folders: Sequence[str | os.PathLike[str]],
    *,
    dataset: str | None = None,
    images: str | os.PathLike[str] | None = None,
    title: str | None = None,
    limit: int = 500,
    longest: int = 480,
    progress: bool = False,
) -> str:
    """Make the page.

    Args:
        folders: outputs of ``tools/evaluate_maps.py`` on one dataset.
        dataset: the truth, if it is no longer where it was.
        images: folder of the images; by default that of the dataset.
        title: of the page; by default the dataset's name.
        limit: at most this many images in the gallery: those that are worst for the first method.
        longest: longest side of the pictures in it, in pixels.
        progress: show a bar where standard error is a terminal.

    Raises:
        FileNotFoundError: a folder is no evaluation, or the dataset or the folder of images is not
            there.
        ValueError: the evaluations are of different images, or two have a method of one name.
    """
    merged = merge([load_evaluation(folder) for folder in folders], list(map(str, folders)))
    if not (dataset or merged["dataset"]):
        raise ValueError(f"{folders[0]} does not say what its dataset was; give it by --dataset")
    truth = load_truth(dataset or merged["dataset"])
    known = {str(record["file_name"]): record for record in truth.records}
    absent = [name for name in merged["images"] if name not in known]
    if absent:
        raise ValueError(f"{truth.name} has no image {absent[0]}; give the dataset that was scored")
    root = _image_root(images, truth)
    methods = merged["methods"]
    kept = worst_images(merged, limit)
    entries = []
    for name in tqdm(kept, unit="image", disable=None if progress else True):
        drawn = decode_truth(known[name])
        maps = {m: method["maps"][name] for m, method in methods.items() if name in method["maps"]}
        entry = image_entry(name, methods, sorted({*drawn.object_classes} - {""}))
        entry["size"] = drawn.mask.shape[::-1]
        entry["pictures"] = draw_panels(name, drawn, maps, root, longest)
        entries.append(entry)
    content = {
        "methods": list(methods),
        "measures": _measures(methods),
        "lower": sorted(LOWER),
        "failures": FAILURES,
        "classes": sorted({c for entry in entries for c in entry["classes"]}),
        "counts": sorted({e["objects"] for e in entries if e["objects"] is not None}),
        "images": entries,
    }
    return _render(merged, content, title or f"Co-saliency on {truth.name}", len(kept))


def merge(evaluations: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Put evaluations of one dataset together.

    Raises:
        ValueError: they are of different images, or two have a method of one name.
    """
    if not evaluations:
        raise ValueError("no evaluation; give the --out of evaluate_maps")
    merged = {**evaluations[0], "methods": {}, "problems": [], "differences": []}
    for name, evaluation in zip(names, evaluations, strict=True):
        if evaluation["images"] != merged["images"]:
            raise ValueError(f"{names[0]} and {name} were scored on different images")
        for method, content in evaluation["methods"].items():
            if method in merged["methods"]:
                raise ValueError(f"{name}: another evaluation has a method {method}, too")
            merged["methods"][method] = content
        merged["problems"] += evaluation["problems"]
        merged["differences"] += evaluation["differences"]
    return merged


def failures_of(row: Mapping[str, Any]) -> list[str]:
    """Failure groups that an image's row belongs to, keys of ``FAILURES``."""
    rejected = row["distractors_rejected"]
    f = row.get("adpF", row["raw_adpF"])
    found = {
        "nothing": row["objects"] > 0 and row["objects_found"] == 0,
        "missed": row["objects_found"] < row["objects"],
        "distractor": rejected is not None and rejected < row["distractors"],
        "false": bool(row["false_regions"]),
        "empty": row["empty"] and not row["empty_answer"],
        "weak": not row["empty"] and f < WEAK,
    }
    return [name for name, is_so in found.items() if is_so]


def image_entry(
    name: str, methods: Mapping[str, Mapping[str, Any]], classes: Sequence[str]
) -> dict[str, Any]:
    """What the gallery knows of an image, without its pictures."""
    rows = {m: method["rows"][name] for m, method in methods.items() if name in method["rows"]}
    any_row = next(iter(rows.values()), {})
    unknown = not any_row or (any_row["objects"] == 0 and not any_row["empty"])
    wanted = [*_measures(methods), *DETAILS]
    return {
        "name": name,
        "classes": list(classes),
        "objects": None if unknown else any_row["objects"],
        "distractors": any_row.get("distractors", 0),
        "scores": {m: {k: row[k] for k in wanted if k in row} for m, row in rows.items()},
        "failures": {m: failures_of(row) for m, row in rows.items()},
    }


def worst_images(merged: Mapping[str, Any], limit: int) -> list[str]:
    """At most ``limit`` images, in the dataset's order: the worst of the first method."""
    first = next(iter(merged["methods"].values()))["rows"]

    def f(name: str) -> float:
        row = first.get(name, {})
        value = row.get("adpF", row.get("raw_adpF"))
        return 0.0 if value is None else value

    chosen = set(sorted(merged["images"], key=f)[:limit])
    return [name for name in merged["images"] if name in chosen]


def _measures(methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [row for method in methods.values() for row in method["rows"].values()]
    present = {name for row in rows for name in row}
    return [name for name in (*SHOWN, *(m for m in MEASURES if m not in SHOWN)) if name in present]


def _image_root(images: str | os.PathLike[str] | None, truth: TruthSet) -> Path | None:
    if images is None:
        return truth.image_root
    if not Path(images).is_dir():
        raise FileNotFoundError(f"--images {images}: no such folder")
    return Path(images)


def _cell(value: float | None, best: bool = False) -> dict[str, Any]:
    if value is None:
        return {"value": "", "text": "-", "best": False}
    text = str(value) if isinstance(value, int) else f"{value:.4f}"
    return {"value": value, "text": text, "best": best}


def _render(merged: Mapping[str, Any], content: dict[str, Any], title: str, shown: int) -> str:
    methods = merged["methods"]
    metrics = {name: method["metrics"] for name, method in methods.items()}
    columns = columns_of(metrics)
    best = {name: best_of(metrics, name) for name in columns}
    groups = [{"method": m, **row} for m, method in methods.items() for row in method["groups"]]
    group_columns = [
        name
        for name in dict.fromkeys(name for row in groups for name in row)
        if name not in ("method", "by", "group") and any(r.get(name) is not None for r in groups)
    ]
    failures = {
        m: [name for row in method["rows"].values() for name in failures_of(row)]
        for m, method in methods.items()
    }
    curves = {
        m: {name: np.array(values) for name, values in method["curves"].items()}
        for m, method in methods.items()
        if method["curves"]
    }
    total = len(merged["images"])
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html").render(
        title=title,
        total=total,
        methods=list(methods),
        columns=columns,
        lower_columns=[name for name in columns if name in LOWER],
        rows=[
            {
                "method": m,
                "cells": [
                    _cell(row.get(c), best[c] is not None and row.get(c) == best[c])
                    for c in columns
                ],
            }
            for m, row in metrics.items()
        ],
        curves=_address(render(draw_curves(curves), "svg")) if curves else "",
        differences=merged["differences"],
        group_columns=group_columns,
        groups=[{**row, "cells": [_cell(row.get(c)) for c in group_columns]} for row in groups],
        failures=[
            {
                "name": name,
                "label": label,
                "cells": [{"method": m, "count": failures[m].count(name)} for m in methods],
            }
            for name, label in FAILURES.items()
        ],
        problems=merged["problems"],
        note="" if shown == total else f"The {shown} images that are worst for the first method.",
        data=json.dumps(content, allow_nan=False).replace("<", "\\u003c"),
        style=(folder / "style.css").read_text(encoding="utf-8"),
        script=(folder / "script.js").read_text(encoding="utf-8"),
    )


def _address(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
