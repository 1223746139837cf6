"""What is known of each image under one map, as rows, as a dataset's measures, and by groups."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from cosal_d2.evaluation.field import FieldScore, field_row, summarize_field
from cosal_d2.evaluation.instances import BOX_IOU, SIZES, ObjectScore
from cosal_d2.evaluation.metrics import ImageScore, summarize

MANY = 6  # co-salient objects from which pictures are one group
# Names of an image's numbers in rows that also hold the field's measures.
ROW_NAMES = {"mae": "raw_MAE", "precision": "P", "recall": "R", "adpF": "raw_adpF"}
SUMMARY_NAMES = {"MAE": "raw_MAE", "adpF": "raw_adpF"}
GROUP_MEASURES = ("MAE", "adpF", "maxF", "S", "wF", "raw_MAE", "raw_adpF")


@dataclass(frozen=True)
class ImageResult:
    """Everything known of one image under one map: a few kilobytes, the map itself is not kept.

    Attributes:
        score: the paper's protocol.
        objects: object by object.
        field: the field's measures; None where they were not asked for.
    """

    score: ImageScore
    objects: tuple[ObjectScore, ...]
    field: FieldScore | None = None


def result_row(result: ImageResult) -> OrderedDict[str, Any]:
    """All numbers of an image as one flat row.

    The field's measures have their plain names; the paper's MAE and adpF, of the map as it is, are
    ``raw_MAE`` and ``raw_adpF``. A number that does not apply is None.
    """
    score = {ROW_NAMES.get(name, name): value for name, value in asdict(result.score).items()}
    row = OrderedDict((name, score.pop(name)) for name in ("file_name", "image_id"))
    if result.field is not None:
        row.update(field_row(result.field))
    row.update(score)
    return row


def summarize_results(results: Iterable[ImageResult]) -> OrderedDict[str, float]:
    """All measures of a dataset in one flat dict.

    Returns:
        the field's measures (:func:`.field.summarize_field`) if they were scored, then those of
        :func:`.metrics.summarize` with MAE and adpF as ``raw_MAE`` and ``raw_adpF``, then
        ``images``, their number.
    """
    rows = list(results)
    result: OrderedDict[str, float] = OrderedDict()
    if rows and all(row.field is not None for row in rows):
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
            rows.append(_group("instances", name, members, lambda _: True))
    for size in SIZES:
        keep = _having("size", size)
        if any(keep(row) for result in results for row in result.objects):
            rows.append(_group("size", size, [], keep, results))
    classes = {o.class_name for r in results for o in r.objects if o.role == "object"} - {""}
    for name in sorted(classes):
        keep = _having("class_name", name)
        members = [r for r in results if any(o.role == "object" and keep(o) for o in r.objects)]
        rows.append(_group("class", name, members, keep))
    return rows


def _having(field: str, value: str) -> Callable[[ObjectScore], bool]:
    return lambda row: getattr(row, field) == value


def _group(
    by: str,
    name: str,
    members: Sequence[ImageResult],
    keep: Callable[[ObjectScore], bool],
    sources: Sequence[ImageResult] | None = None,
) -> OrderedDict[str, Any]:
    flat = [result_row(member) for member in members]
    sources = members if sources is None else sources
    kept = [o for r in sources if not r.score.empty for o in r.objects if keep(o)]
    objects = [o for o in kept if o.role == "object"]
    distractors = [o for o in kept if o.role == "distractor"]
    row: OrderedDict[str, Any] = OrderedDict(by=by, group=name, images=len(flat) if flat else None)
    for measure in GROUP_MEASURES:
        full = [r for r in flat if not (measure.startswith("raw_") and r["empty"])]
        row[measure] = _mean(r.get(measure) for r in full)
    row["objects"] = len(objects)
    row["object_recall"] = _mean(o.found for o in objects)
    row["box_recall"] = _mean(o.box_iou >= BOX_IOU for o in objects)
    row["count_error"] = _mean(r["count_error"] for r in flat)
    row["distractors"] = len(distractors)
    row["distractor_rejection"] = _mean(not o.found for o in distractors)
    return row


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
