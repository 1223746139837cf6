"""Results of images as rows, as a dataset's measures, by groups, and as tables of methods."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from tabulate import LATEX_ESCAPE_RULES

from cosal_d2.evaluation.field import FIELD_MEASURES, summarize_field
from cosal_d2.evaluation.measures import summarize
from cosal_d2.evaluation.objects import BOX_IOU, SIZES, ObjectScore
from cosal_d2.evaluation.scorer import ImageResult
from cosal_d2.utils.files import table_text

MANY = 6  # co-salient objects from which pictures are one group
# Names of an image's and of a dataset's numbers in rows that also hold the field's measures.
ROW_NAMES = {"mae": "raw_MAE", "precision": "P", "recall": "R", "adpF": "raw_adpF"}
SUMMARY_NAMES = {"MAE": "raw_MAE", "adpF": "raw_adpF"}
GROUP_MEASURES = ("MAE", "adpF", "maxF", "S", "wF", "raw_MAE", "raw_adpF")
COLUMNS = (
    *(name for name in FIELD_MEASURES if not name.endswith(("IoU", "Dice"))),
    *("meanIoU", "meanDice", "P", "R", "F0.3", "F1", "raw_MAE", "raw_adpF"),
    *("object_recall", "box_recall", "count_error", "distractor_rejection"),
    *("wrongly_empty", "empty_MAE", "empty_share", "images"),
)
LOWER_IS_BETTER = frozenset({"MAE", "raw_MAE", "empty_MAE", "wrongly_empty", "count_error"})
BLOCK = 6  # measures side by side in a terminal


def result_row(result: ImageResult) -> OrderedDict[str, Any]:
    """All numbers of an image as one flat row.

    The field's measures have their plain names; the paper's MAE and adpF, of the map as it is, are
    ``raw_MAE`` and ``raw_adpF``. A number that does not apply is None.
    """
    row = OrderedDict(file_name=result.file_name, image_id=result.image_id)
    if result.field is not None:
        row.update(summarize_field([result.field]))
    row.update((ROW_NAMES.get(name, name), v) for name, v in asdict(result.score).items())
    return row


def object_rows(results: Iterable[ImageResult]) -> list[dict[str, Any]]:
    """A row for each object and distractor, with the name and id of its image."""
    return [
        {"file_name": result.file_name, "image_id": result.image_id, **asdict(score)}
        for result in results
        for score in result.objects
    ]


def summarize_results(results: Iterable[ImageResult]) -> OrderedDict[str, float]:
    """All measures of a dataset in one flat dict.

    Returns:
        the field's measures (:func:`.field.summarize_field`) if they were scored, then those of
        :func:`.measures.summarize` with MAE and adpF as ``raw_MAE`` and ``raw_adpF``, then
        ``images``, their number.
    """
    rows = list(results)
    result: OrderedDict[str, float] = OrderedDict()
    if all(row.field is not None for row in rows):
        result.update(summarize_field([row.field for row in rows]))
    for name, value in summarize(row.score for row in rows).items():
        result[SUMMARY_NAMES.get(name, name)] = value
    result["images"] = len(rows)
    return result


def group_rows(results: Sequence[ImageResult]) -> list[OrderedDict[str, Any]]:
    """Results by number of instances, object size and class.

    Groups by number of instances hold the images with that many co-salient objects; groups by class
    the images with a co-salient object of the class, and its objects; groups by size only objects.
    Image measures are means over images; for those of the paper's protocol images with an empty
    truth are left out. Shares are of the group's objects and distractors, those in images with an
    empty truth left out.

    Args:
        results: one an image.

    Returns:
        rows with ``by`` ("instances", "size" or "class"), ``group``, ``images``, image measures,
        ``objects``, ``object_recall``, ``box_recall``, ``distractors``, ``distractor_rejection``;
        a number that does not apply is None.
    """
    rows = []
    for count in range(MANY + 1):
        members = [r for r in results if min(r.score.objects, MANY) == count]
        if members and any(r.score.objects for r in results):
            name = f"{MANY} or more" if count == MANY else str(count)
            rows.append(_group("instances", name, members, _counted_objects(members)))
    for size in SIZES:
        if any(o.size == size for r in results for o in r.objects):
            objects = [o for o in _counted_objects(results) if o.size == size]
            rows.append(_group("size", size, [], objects))
    classes = {o.class_name for r in results for o in r.objects if o.role == "object"} - {""}
    for name in sorted(classes):
        members = [
            r for r in results if ("object", name) in {(o.role, o.class_name) for o in r.objects}
        ]
        objects = [o for o in _counted_objects(members) if o.class_name == name]
        rows.append(_group("class", name, members, objects))
    return rows


def _counted_objects(results: Iterable[ImageResult]) -> list[ObjectScore]:
    return [o for result in results if not result.score.empty for o in result.objects]


def _group(
    by: str, name: str, members: Sequence[ImageResult], scores: Sequence[ObjectScore]
) -> OrderedDict[str, Any]:
    images = [result_row(member) for member in members]
    objects = [o for o in scores if o.role == "object"]
    distractors = [o for o in scores if o.role == "distractor"]
    row: OrderedDict[str, Any] = OrderedDict(by=by, group=name, images=len(images) or None)
    for measure in GROUP_MEASURES:
        row[measure] = _mean(
            image.get(measure)
            for image in images
            if not (measure.startswith("raw_") and image["empty"])
        )
    row["objects"] = len(objects)
    row["object_recall"] = _mean(o.found for o in objects)
    row["box_recall"] = _mean(o.box_iou >= BOX_IOU for o in objects)
    row["count_error"] = _mean(image["count_error"] for image in images)
    row["distractors"] = len(distractors)
    row["distractor_rejection"] = _mean(not o.found for o in distractors)
    return row


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def columns_of(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The measures that a table shows: those that any method has, in a fixed order."""
    return [name for name in COLUMNS if any(name in row for row in metrics.values())]


def best_of(metrics: Mapping[str, Mapping[str, float]], name: str) -> float | None:
    """Best value of a measure among two or more methods; None for counts, or where all agree."""
    values = [row[name] for row in metrics.values() if name in row]
    if name == "images" or len(set(values)) < 2:
        return None
    return min(values) if name in LOWER_IS_BETTER else max(values)


def terminal_table(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Table of plain text, a few measures side by side."""
    names = columns_of(metrics)
    blocks = [names[start : start + BLOCK] for start in range(0, len(names), BLOCK)]
    return "\n\n".join(_table(metrics, block, "simple") for block in blocks)


def markdown_table(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """GitHub table, the best of each column in bold."""
    names = columns_of(metrics)
    return _table(metrics, names, "github", "**{}**", lambda s: s.replace("|", r"\|")) + "\n"


def latex_table(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """``tabular`` with the best of each column in bold."""
    names = columns_of(metrics)
    return _table(metrics, names, "latex_raw", r"\textbf{{{}}}", _latex_escape) + "\n"


def _latex_escape(text: str) -> str:
    return re.sub(".", lambda match: LATEX_ESCAPE_RULES.get(match.group(), match.group()), text)


def _table(
    metrics: Mapping[str, Mapping[str, float]],
    names: Sequence[str],
    style: str,
    bold: str = "{}",
    escape: Callable[[str], str] = str,
) -> str:
    """A row a method, in one of tabulate's styles."""
    rows = []
    for method, values in metrics.items():
        cells = [number_text(values.get(name)) for name in names]
        for i, name in enumerate(names):
            if name in values and values[name] == best_of(metrics, name):
                cells[i] = bold.format(cells[i])
        rows.append([escape(method), *cells])
    return table_text(["method", *map(escape, names)], rows, style)


def number_text(value: float | None) -> str:
    """A measure with four digits, a count as it is, "-" for None."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
