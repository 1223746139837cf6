"""The files of an evaluation of maps, and reading them back for a report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from cosal_d2.evaluation.bootstrap import RESAMPLES, Difference, paired_differences
from cosal_d2.evaluation.curves import draw_curves, render
from cosal_d2.evaluation.field import THRESHOLDS
from cosal_d2.evaluation.maps import MapFile, MapsEvaluation
from cosal_d2.evaluation.tables import (
    group_rows,
    latex_table,
    markdown_table,
    object_rows,
    result_row,
    terminal_table,
)
from cosal_d2.utils.files import csv_text, write_bytes, write_json, write_text

EVALUATION_FILE = "evaluation.json"
VERSION = 1
PICTURES = ("png", "svg", "pdf")  # of the curves


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
    ``objects.csv``, ``groups.csv``, ``differences.csv`` and ``.json``,
    ``files.csv``, ``curves.csv``, ``.png``, ``.svg`` and ``.pdf`` (with the field's measures), and
    ``evaluation.json`` for :mod:`.report`. ``docs/measures.md`` explains each. What an earlier
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
    metrics = evaluation.metrics
    results = {name: list(method.results.values()) for name, method in evaluation.methods.items()}
    groups = {name: group_rows(own) for name, own in results.items()}
    rows = {name: list(map(result_row, own)) for name, own in results.items()}
    objects = {name: object_rows(own) for name, own in results.items()}
    write_json(folder / "metrics.json", metrics)
    write_text(folder / "table.md", markdown_table(metrics))
    write_text(folder / "table.tex", latex_table(metrics))
    write_text(folder / "table.csv", csv_text({"method": m, **row} for m, row in metrics.items()))
    for file, tables in (("per_image", rows), ("objects", objects), ("groups", groups)):
        flat = [{"method": name, **row} for name, table in tables.items() for row in table]
        write_text(folder / f"{file}.csv", csv_text(flat))
    files = [asdict(file) for method in evaluation.methods.values() for file in method.files]
    write_text(folder / "files.csv", csv_text(files, [f.name for f in fields(MapFile)]))
    curves = evaluation.curves
    _write_curves(folder, curves)
    differing = [asdict(difference) for difference in differences]
    columns = [f.name for f in fields(Difference)]
    write_text(folder / "differences.csv", csv_text(differing, columns))
    write_json(folder / "differences.json", differing)
    truth = evaluation.truth
    names = [str(record["file_name"]) for record in truth.records]
    content = {
        "version": VERSION,
        "dataset": os.path.abspath(dataset) if os.path.exists(dataset) else dataset,
        "name": truth.name,
        "image_root": None if truth.image_root is None else str(truth.image_root.resolve()),
        "images": names,
        "methods": {
            name: {
                "metrics": metrics[name],
                "curves": {c: values.tolist() for c, values in curves.get(name, {}).items()},
                "groups": groups[name],
                "rows": {row["file_name"]: row for row in rows[name]},
                "maps": {names[i]: str(path.resolve()) for i, path in method.maps.items()},
            }
            for name, method in evaluation.methods.items()
        },
        "problems": [asdict(problem) for problem in evaluation.problems],
        "differences": differing,
    }
    write_json(folder / EVALUATION_FILE, content)
    return "\n\n".join(filter(None, [terminal_table(metrics), _differences_text(differences)]))


def load_evaluation(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read ``evaluation.json`` of a folder back.

    Raises:
        FileNotFoundError: the folder has none.
        ValueError: it is damaged, or of another version.
    """
    path = Path(folder) / EVALUATION_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: no {EVALUATION_FILE}; give the --out of `cosal evaluate`"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid json: {error}; evaluate again") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ValueError(f"{path}: field 'version' is not {VERSION}; evaluate again")
    return content


def _write_curves(folder: Path, curves: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    if not curves:
        for kind in ("csv", *PICTURES):  # of an earlier evaluation
            (folder / f"curves.{kind}").unlink(missing_ok=True)
        return
    rows = [
        {"method": method, "threshold": int(threshold)}
        | {name: float(values[i]) for name, values in curve.items()}
        for method, curve in curves.items()
        for i, threshold in enumerate(THRESHOLDS)
    ]
    write_text(folder / "curves.csv", csv_text(rows))
    figure = draw_curves(curves)
    for kind in PICTURES:
        write_bytes(folder / f"curves.{kind}", render(figure, kind))


def _differences_text(differences: Sequence[Difference]) -> str:
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
