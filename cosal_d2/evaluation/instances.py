"""Instances: average precision, counts and groups, beside connected components of the map."""

from __future__ import annotations

import contextlib
import io
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from detectron2.structures import Instances
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cosal_d2.evaluation.objects import MIN_REGION
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.masks import mask_rle, rle_fields, to_rle

MATCH_IOU = 0.5  # of masks, from which an instance is an annotated object
MAX_DETECTIONS = 1000  # an image: COCO's 100 would cap the recall in a crowd
Scored = tuple[dict, float]  # compressed RLE of a mask, and its score


@dataclass(frozen=True)
class ImageInstances:
    """What is known of the instances in one image; a few kilobytes, no mask is kept as pixels.

    Attributes:
        truth: the co-salient objects, compressed RLE.
        crowds: the co-salient crowds, compressed RLE.
        true_counts: number of co-salient objects of each class, the largest first.
        instances: those of the network.
        counts: how many of these each group has, the largest first.
        matched: how many of these match an annotated object, co-salient or not.
        pure: how many of the matched ones are of the most frequent class in their group.
        components: connected components of the map.
    """

    truth: tuple[dict, ...]
    crowds: tuple[dict, ...]
    true_counts: tuple[int, ...]
    instances: tuple[Scored, ...]
    counts: tuple[int, ...]
    matched: int
    pure: int
    components: tuple[Scored, ...]

    @property
    def row(self) -> dict[str, int | None]:
        """The counts as columns of a table; a crowd's is unknown."""
        return {
            "true_count": None if self.crowds else max(self.true_counts, default=0),
            "count": max(self.counts, default=0),
            "components": len(self.components),
        }


def score_instances(
    instances: Instances, cosal_map: np.ndarray, record: Mapping[str, Any]
) -> ImageInstances:
    """Compare the instances of one image with its annotations.

    Args:
        instances: N of (H, W) on the CPU, with ``pred_masks``, ``scores`` and ``group_ids``.
        cosal_map: (H, W) in [0, 1].
        record: dataset dict, as :func:`.truth.decode_truth` takes it.
    """
    height, width = int(record["height"]), int(record["width"])
    objects: list[tuple[dict, str]] = []
    truth, crowds, classes = [], [], Counter()
    for i, annotation in enumerate(record.get("annotations", ())):
        rle = to_rle(annotation["segmentation"], height, width)
        if not coco_mask.area(rle):
            continue
        cosalient, name = bool(annotation.get("cosalient", True)), _own_class(annotation, i)
        if annotation.get("iscrowd", 0):
            if cosalient:
                crowds.append(rle)
            continue
        objects.append((rle, name))
        if cosalient:
            truth.append(rle)
            classes[name] += 1
    groups = instances.group_ids.tolist()
    rles = [mask_rle(mask.numpy()) for mask in instances.pred_masks]
    matched, pure = _purity(rles, groups, objects)
    return ImageInstances(
        truth=tuple(truth),
        crowds=tuple(crowds),
        true_counts=_descending(classes),
        instances=tuple(zip(rles, instances.scores.tolist(), strict=True)),
        counts=_descending(Counter(groups)),
        matched=matched,
        pure=pure,
        components=tuple(map_components(cosal_map)),
    )


def _own_class(annotation: Mapping[str, Any], index: int) -> str:
    """An object's class; a distractor of unknown class has one of its own."""
    name = annotation.get("own_class") or annotation.get("class_name") or ""
    if annotation.get("cosalient", True) or name not in ("", DISTRACTOR):
        return name
    return f"{DISTRACTOR} {index}"


def _descending(counter: Counter) -> tuple[int, ...]:
    return tuple(sorted(counter.values(), reverse=True))


def _purity(
    rles: Sequence[dict], groups: Sequence[int], objects: Sequence[tuple[dict, str]]
) -> tuple[int, int]:
    """How many instances match an object, and how many of these are of the most frequent class
    among the matched instances of their group."""
    if not rles or not objects:
        return 0, 0
    ious = coco_mask.iou(list(rles), [rle for rle, _ in objects], [0] * len(objects))
    members: dict[int, Counter] = defaultdict(Counter)
    for group, row in zip(groups, ious, strict=True):
        best = int(row.argmax())
        if row[best] >= MATCH_IOU:
            members[group][objects[best][1]] += 1
    return (
        sum(sum(own.values()) for own in members.values()),
        sum(max(own.values()) for own in members.values()),
    )


def map_components(cosal_map: np.ndarray) -> list[Scored]:
    """The 8-connected components of a map at or above 0.5 that cover at least 0.1 % of the picture,
    each with the mean of the map inside as its score.

    Args:
        cosal_map: (H, W) in [0, 1].
    """
    count, labels = cv2.connectedComponents((cosal_map >= 0.5).astype(np.uint8), connectivity=8)
    areas = np.bincount(labels.ravel(), minlength=count)
    sums = np.bincount(labels.ravel(), weights=cosal_map.ravel(), minlength=count)
    return [
        (mask_rle(labels == i), float(sums[i] / areas[i]))
        for i in range(1, count)
        if areas[i] >= MIN_REGION * cosal_map.size
    ]


def summarize_instances(
    results: Sequence[ImageInstances],
) -> OrderedDict[str, OrderedDict[str, float]]:
    """The measures of a dataset.

    Args:
        results: one an image.

    Returns:
        ``instances`` and ``components``, each with those of :func:`average_precision`,
        ``count_exact``, ``count_within_one``, ``count_error`` and ``counted``, the number of images
        without a crowd, which alone enter the counts; ``instances`` also with ``groups_exact`` and
        ``group_purity``. A measure that does not apply is left out.
    """
    counted = [r for r in results if not r.crowds]
    found = average_precision(results, [r.instances for r in results])
    pairs = [(r.row["count"], r.row["true_count"]) for r in counted]
    found.update(_count_measures(pairs))
    if counted:
        found["groups_exact"] = sum(r.counts == r.true_counts for r in counted) / len(counted)
    matched = sum(r.matched for r in results)
    if matched:
        found["group_purity"] = sum(r.pure for r in results) / matched
    # Components have no groups, so theirs is the number of all objects.
    components = average_precision(results, [r.components for r in results])
    components.update(_count_measures([(len(r.components), len(r.truth)) for r in counted]))
    summary = OrderedDict(instances=found, components=components)
    for measures in summary.values():
        measures["counted"] = len(counted)
    return summary


def _count_measures(pairs: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Of numbers found and true ones."""
    if not pairs:
        return {}
    errors = np.abs(np.subtract(*np.array(pairs).T))
    return {
        "count_exact": float((errors == 0).mean()),
        "count_within_one": float((errors <= 1).mean()),
        "count_error": float(errors.mean()),
    }


def average_precision(
    results: Sequence[ImageInstances], found: Sequence[Sequence[Scored]]
) -> OrderedDict[str, float]:
    """COCO's average precision, every co-salient object being of one category.

    Args:
        results: the truth, one an image. What lies in a crowd is ignored, as COCO does.
        found: the objects that are scored, a sequence an image.

    Returns:
        ``AP`` (mean over the IoUs 0.5, 0.55, ..., 0.95), ``AP50`` and ``AP75`` of masks, and
        ``box_AP``, ``box_AP50`` and ``box_AP75`` of the tight boxes around them, in [0, 1]; empty
        where no image has an object.
    """
    truth = [
        [{**o, "iscrowd": 0} for o in rle_fields(list(r.truth))]
        + [{**o, "iscrowd": 1} for o in rle_fields(list(r.crowds))]
        for r in results
    ]
    scored = [
        [
            {**fields, "score": score}
            for fields, (_, score) in zip(rle_fields([rle for rle, _ in own]), own, strict=True)
        ]
        for own in found
    ]
    measures: OrderedDict[str, float] = OrderedDict()
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth, scored = _coco_index(truth), _coco_index(scored)
        for kind, prefix in (("segm", ""), ("bbox", "box_")):
            evaluation = COCOeval(truth, scored, kind)
            evaluation.params.areaRng = evaluation.params.areaRng[:1]  # of all sizes
            evaluation.params.maxDets = [MAX_DETECTIONS]
            evaluation.evaluate()
            evaluation.accumulate()
            precision = evaluation.eval["precision"].squeeze((2, 3, 4))  # (10 IoUs, 101 recalls)
            if (precision >= 0).all():  # else there is no object
                by_iou = precision.mean(axis=1)
                values = by_iou.mean(), by_iou[0], by_iou[5]
                names = (prefix + name for name in ("AP", "AP50", "AP75"))
                measures.update(zip(names, map(float, values), strict=True))
    return measures


def _coco_index(images: Sequence[Sequence[dict]]) -> COCO:
    """Annotations of one category, a sequence an image, as pycocotools takes them."""
    coco = COCO()
    entries = [{**a, "image_id": i, "category_id": 1} for i, own in enumerate(images) for a in own]
    for i, entry in enumerate(entries, 1):  # an id of 0 means "unmatched"
        entry["id"] = i
    # Compressed RLE knows its size, so the images' is not looked at.
    sizes = [{"id": i, "height": 0, "width": 0} for i in range(len(images))]
    coco.dataset = {"images": sizes, "annotations": entries, "categories": [{"id": 1}]}
    coco.createIndex()
    return coco
