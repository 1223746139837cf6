"""The files of an evaluation of maps, and reading them back for a report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from cosal_d2.evaluation.bootstrap import RESAMPLES, Difference, paired_differences
from cosal_d2.evaluation.curves import draw_curves, render
from cosal_d2.evaluation.field import field_curves
from cosal_d2.evaluation.histogram import THRESHOLDS
from cosal_d2.evaluation.map_files import MapFile
from cosal_d2.evaluation.maps import MapsEvaluation, MethodResult
from cosal_d2.evaluation.results import group_rows, result_row
from cosal_d2.evaluation.tables import latex_table, markdown_table, terminal_table
from cosal_d2.utils.files import csv_text, write_bytes, write_json, write_text

EVALUATION_FILE = "evaluation.json"
VERSION = 1


def write_evaluation(
    evaluation: MapsEvaluation,
    out: str | os.PathLike[str],
    *,
    dataset: str = "",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> str:
    """Write everything that is known of the methods.

    ``metrics.json``, ``table.md``, ``table.tex``, ``table.csv``, ``per_image.csv``,
    ``objects.csv``, ``groups.csv``, ``differences.csv`` and ``.json`` (with two or more methods),
    ``files.csv``, ``curves.csv``, ``.png``, ``.svg`` and ``.pdf`` (with the field's measures), and
    ``evaluation.json`` for :mod:`.report`. ``docs/metrics.md`` explains each. What an earlier
    evaluation left in the folder is replaced; its curves go where there are none now.

    Args:
        evaluation: what :func:`.maps.evaluate_methods` gave.
        out: folder, made where it is missing.
        dataset: what the truth was loaded from, for the report.
        resamples: of the bootstrap; 0 leaves it out.
        seed: of the bootstrap.

    Returns:
        what a terminal should show: the table, then the differences.

    Raises:
        ValueError: ``resamples`` or ``seed`` is negative; nothing is written then.
    """
    differences = paired_differences(evaluation, resamples, seed) if resamples else []
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    metrics, methods = evaluation.metrics, evaluation.methods
    write_json(folder / "metrics.json", metrics)
    write_text(folder / "table.md", markdown_table(metrics))
    write_text(folder / "table.tex", latex_table(metrics))
    write_text(folder / "table.csv", csv_text({"method": m, **row} for m, row in metrics.items()))
    tables = {
        "per_image.csv": lambda results: [result_row(result) for result in results],
        "objects.csv": lambda results: [asdict(o) for result in results for o in result.objects],
        "groups.csv": group_rows,
    }
    for name, make in tables.items():
        rows = [
            {"method": m, **row}
            for m, method in methods.items()
            for row in make(list(method.results.values()))
        ]
        write_text(folder / name, csv_text(rows))
    files = [asdict(file) for method in methods.values() for file in method.files]
    write_text(folder / "files.csv", csv_text(files, [f.name for f in fields(MapFile)]))
    curves = {m: curve for m, method in methods.items() if (curve := _curves(method))}
    if not curves:
        for kind in ("csv", "png", "svg", "pdf"):  # of an earlier evaluation
            (folder / f"curves.{kind}").unlink(missing_ok=True)
    else:
        rows = [
            {"method": m, "threshold": int(t)} | {name: float(c[i]) for name, c in curve.items()}
            for m, curve in curves.items()
            for i, t in enumerate(THRESHOLDS)
        ]
        write_text(folder / "curves.csv", csv_text(rows))
        figure = draw_curves(curves)
        for kind in ("png", "svg", "pdf"):
            write_bytes(folder / f"curves.{kind}", render(figure, kind))
    rows = [asdict(difference) for difference in differences]
    write_text(folder / "differences.csv", csv_text(rows, [f.name for f in fields(Difference)]))
    write_json(folder / "differences.json", rows)
    write_json(folder / EVALUATION_FILE, _content(evaluation, dataset, curves, rows))
    return "\n\n".join(filter(None, [terminal_table(metrics), differences_text(differences)]))


def differences_text(differences: list[Difference]) -> str:
    """The differences whose interval leaves out 0, and how many do not."""
    clear = [d for d in differences if d.low > 0 or d.high < 0]
    lines = [
        f"{d.a} - {d.b}: {d.measure} {d.difference:+.4f}, 95 % interval {d.low:+.4f} to "
        f"{d.high:+.4f} ({d.images} images)"
        for d in clear
    ]
    if differences:
        rest = len(differences) - len(clear)
        lines.append(f"{rest} of {len(differences)} differences have an interval that includes 0")
    return "\n".join(lines)


def load_evaluation(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read ``evaluation.json`` of a folder back.

    Raises:
        FileNotFoundError: the folder has none.
        ValueError: it is damaged, or of another version.
    """
    path = Path(folder) / EVALUATION_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no {EVALUATION_FILE}; give the --out of evaluate_maps")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid json: {error}; evaluate again") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ValueError(f"{path}: field 'version' is not {VERSION}; evaluate again")
    return content


def _curves(method: MethodResult) -> dict[str, np.ndarray]:
    scores = [result.field for result in method.results.values()]
    return field_curves(scores) if scores and all(scores) else {}


def _content(
    evaluation: MapsEvaluation,
    dataset: str,
    curves: Mapping[str, Mapping[str, np.ndarray]],
    differences: list[dict[str, Any]],
) -> dict[str, Any]:
    truth = evaluation.truth
    return {
        "version": VERSION,
        "dataset": os.path.abspath(dataset) if os.path.exists(dataset) else dataset,
        "name": truth.name,
        "image_root": None if truth.image_root is None else str(truth.image_root.resolve()),
        "images": [str(record["file_name"]) for record in truth.records],
        "methods": {
            name: {
                "metrics": method.metrics,
                "curves": {c: values.tolist() for c, values in curves.get(name, {}).items()},
                "groups": group_rows(list(method.results.values())),
                "rows": {
                    record["file_name"]: result_row(method.results[i])
                    for i, record in enumerate(truth.records)
                    if i in method.results
                },
                "maps": {
                    truth.records[i]["file_name"]: str(path.resolve())
                    for i, path in method.maps.items()
                },
            }
            for name, method in evaluation.methods.items()
        },
        "problems": [asdict(problem) for problem in evaluation.problems],
        "differences": differences,
    }
