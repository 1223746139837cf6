"""Evaluations as one HTML page that needs nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from tqdm import tqdm

from cosal_d2.evaluation.curves import draw_curves, render
from cosal_d2.evaluation.field import FIELD_MEASURES
from cosal_d2.evaluation.output import load_evaluation
from cosal_d2.evaluation.report.panels import draw_panels
from cosal_d2.evaluation.tables import LOWER_IS_BETTER, best_of, columns_of, number_text
from cosal_d2.evaluation.truth import decode_truth, load_truth
from cosal_d2.utils.pictures import data_url

WEAK = 0.5
FAILURES = {
    "nothing": "finds no object",
    "missed": "misses an object",
    "distractor": "takes a distractor",
    "false": "shows something that is none",
    "empty": "answers an empty truth",
    "weak": f"F below {WEAK}",
}
FIRST = ("adpF", "MAE", "maxF", "S", "maxE", "wF", "raw_adpF", "raw_MAE", "P", "R")
GALLERY_MEASURES = (*FIRST, *(name for name in FIELD_MEASURES if name not in FIRST))
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
        folders: outputs of `cosal evaluate` on one dataset.
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
    merged = _merged(folders)
    if not (dataset or merged["dataset"]):
        raise ValueError(f"{folders[0]} does not say what its dataset was; give it by --dataset")
    truth = load_truth(dataset or merged["dataset"])
    known = {str(record["file_name"]): record for record in truth.records}
    absent = [name for name in merged["images"] if name not in known]
    if absent:
        raise ValueError(f"{truth.name} has no image {absent[0]}; give the dataset that was scored")
    if images is not None and not Path(images).is_dir():
        raise FileNotFoundError(f"--images {images}: no such folder")
    root = truth.image_root if images is None else Path(images)
    methods = merged["methods"]
    present = {name for m in methods.values() for row in m["rows"].values() for name in row}
    measures = [name for name in GALLERY_MEASURES if name in present]
    chosen = _worst_images(merged, limit)
    entries = []
    for name in tqdm(chosen, unit="image", disable=None if progress else True):
        drawn = decode_truth(known[name])
        maps = {m: method["maps"][name] for m, method in methods.items() if name in method["maps"]}
        entry = _image_entry(name, methods, measures)
        entry["classes"] = sorted({o.class_name for o in drawn.objects} - {""})
        entry["size"] = drawn.mask.shape[::-1]
        entry["pictures"] = draw_panels(name, drawn, maps, root, longest)
        entries.append(entry)
    gallery = {
        "methods": list(methods),
        "measures": measures,
        "lower": sorted(LOWER_IS_BETTER),
        "failures": FAILURES,
        "classes": sorted({c for entry in entries for c in entry["classes"]}),
        "counts": sorted({e["objects"] for e in entries if e["objects"] is not None}),
        "images": entries,
    }
    return _render(merged, gallery, title or f"Co-saliency on {truth.name}")


def _merged(folders: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
    """Evaluations of one dataset, put together."""
    if not folders:
        raise ValueError("no evaluation; give the --out of `cosal evaluate`")
    merged: dict[str, Any] = {}
    for folder in folders:
        evaluation = load_evaluation(folder)
        if not merged:
            merged = {**evaluation, "methods": {}, "problems": [], "differences": []}
        if evaluation["images"] != merged["images"]:
            raise ValueError(f"{folders[0]} and {folder} were scored on different images")
        for method, content in evaluation["methods"].items():
            if method in merged["methods"]:
                raise ValueError(f"{folder}: another evaluation has a method {method}, too")
            merged["methods"][method] = content
        merged["problems"] += evaluation["problems"]
        merged["differences"] += evaluation["differences"]
    return merged


def _failures_of(row: Mapping[str, Any]) -> list[str]:
    """Failure groups that an image's row belongs to, keys of ``FAILURES``."""
    rejected = row["distractors_rejected"]
    found = {
        "nothing": row["objects"] > 0 and row["objects_found"] == 0,
        "missed": row["objects_found"] < row["objects"],
        "distractor": rejected is not None and rejected < row["distractors"],
        "false": bool(row["false_regions"]),
        "empty": row["empty"] and not row["empty_answer"],
        "weak": not row["empty"] and row.get("adpF", row["raw_adpF"]) < WEAK,
    }
    return [name for name, is_so in found.items() if is_so]


def _image_entry(
    name: str, methods: Mapping[str, Mapping[str, Any]], measures: Sequence[str]
) -> dict[str, Any]:
    """What the gallery knows of an image, without its pictures."""
    rows = {m: method["rows"][name] for m, method in methods.items() if name in method["rows"]}
    any_row = next(iter(rows.values()), {})
    unknown = not any_row or (any_row["objects"] == 0 and not any_row["empty"])
    wanted = [*measures, *DETAILS]
    return {
        "name": name,
        "objects": None if unknown else any_row["objects"],
        "distractors": any_row.get("distractors", 0),
        "scores": {m: {k: row[k] for k in wanted if k in row} for m, row in rows.items()},
        "failures": {m: _failures_of(row) for m, row in rows.items()},
    }


def _worst_images(merged: Mapping[str, Any], limit: int) -> list[str]:
    """At most ``limit`` images, in the dataset's order: the worst of the first method."""
    first = next(iter(merged["methods"].values()))["rows"]

    def f(name: str) -> float:
        row = first.get(name, {})
        return row.get("adpF", row.get("raw_adpF")) or 0.0

    chosen = set(sorted(merged["images"], key=f)[:limit])
    return [name for name in merged["images"] if name in chosen]


def _render(merged: Mapping[str, Any], gallery: Mapping[str, Any], title: str) -> str:
    methods = merged["methods"]
    metrics = {name: method["metrics"] for name, method in methods.items()}
    columns = columns_of(metrics)
    groups = [{"method": m, **row} for m, method in methods.items() for row in method["groups"]]
    group_columns = [
        name
        for name in dict.fromkeys(name for row in groups for name in row)
        if name not in ("method", "by", "group") and any(r.get(name) is not None for r in groups)
    ]
    curves = {
        m: {name: np.array(values) for name, values in method["curves"].items()}
        for m, method in methods.items()
        if method["curves"]
    }
    total, shown = len(merged["images"]), len(gallery["images"])
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = number_text
    return environment.get_template("page.html").render(
        title=title,
        total=total,
        metrics=metrics,
        columns=columns,
        best={name: best_of(metrics, name) for name in columns},
        lower=[name for name in columns if name in LOWER_IS_BETTER],
        curves=data_url("svg+xml", render(draw_curves(curves), "svg")) if curves else "",
        differences=merged["differences"],
        groups=groups,
        group_columns=group_columns,
        failures=FAILURES,
        failed={
            m: [name for row in method["rows"].values() for name in _failures_of(row)]
            for m, method in methods.items()
        },
        problems=merged["problems"],
        note="" if shown == total else f"The {shown} images that are worst for the first method.",
        data=json.dumps(gallery, allow_nan=False).replace("<", "\\u003c"),
        style=(folder / "style.css").read_text(encoding="utf-8"),
        script=(folder / "script.js").read_text(encoding="utf-8"),
    )
