"""Numbers on a dataset: counted picture by picture, in parallel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from cosal_d2.prepare.check.check import each_picture
from cosal_d2.prepare.check.split import class_of
from cosal_d2.prepare.convert.dataset_writer import Entry
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.masks import to_rle

HEAT = 64  # cells a side of the heat map


@dataclass(frozen=True)
class PictureNumbers:
    """Numbers on one picture.

    Attributes:
        group: its co-salient class; empty for none.
        instances, distractors, crowds: counts.
        areas: of the co-salient instances, as shares of the picture.
        aspects: width over height of their boxes.
        aspect: width over height of the picture.
        union: share of the picture that the truth covers.
    """

    group: str
    instances: int
    distractors: int
    crowds: int
    areas: list[float]
    aspects: list[float]
    aspect: float
    union: float


def by_role(entry: Entry) -> tuple[list[dict], list[dict]]:
    """Annotations of the truth, and of distractors, as the loader tells them apart."""
    group = entry.image.get("cosalient_category")
    truth, others = [], []
    for annotation in entry.annotations:
        name = annotation["category"]
        inside = name != DISTRACTOR and group in (None, name)
        (truth if inside else others).append(annotation)
    return truth, others


def picture_numbers(entry: Entry) -> tuple[PictureNumbers, np.ndarray]:
    """The numbers on a picture, and its truth stretched to a square, float32 (HEAT, HEAT).

    Raises:
        ValueError: a size or a mask is missing or unusable; the message names the file.
    """
    truth, others = by_role(entry)
    try:
        height, width = entry.image["height"], entry.image["width"]
        rles = [to_rle(a["segmentation"], height, width) for a in truth]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{entry.file}: {error}; `cosal data check` tells more") from error
    singles = [r for a, r in zip(truth, rles, strict=True) if not a.get("iscrowd", 0)]
    boxes = [coco_mask.toBbox(r) for r in singles]
    mask = coco_mask.decode(coco_mask.merge(rles)) if rles else np.zeros((height, width), np.uint8)
    numbers = PictureNumbers(
        group=class_of(entry) if truth else "",
        instances=len(singles),
        distractors=sum(not a.get("iscrowd", 0) for a in others),
        crowds=len(rles) - len(singles),
        areas=[int(coco_mask.area(r)) / (height * width) for r in singles],
        aspects=[float(b[2] / b[3]) for b in boxes if b[3] > 0],
        aspect=width / height,
        union=float(mask.mean()),
    )
    size = (HEAT, HEAT)
    return numbers, cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def statistics(
    entries: list[Entry], workers: int | None = None, progress: bool = False
) -> tuple[list[PictureNumbers], np.ndarray]:
    """The numbers on each picture, and how often the truth covers a place, float32 (HEAT, HEAT).

    Args:
        entries: the pictures.
        workers: processes; None takes one a core.
        progress: show a progress bar.

    Raises:
        ValueError: a mask is unusable.
    """
    found, heat = [], np.zeros((HEAT, HEAT), np.float32)
    for numbers, covered in each_picture(picture_numbers, entries, workers, progress):
        found.append(numbers)
        heat += covered
    return found, heat / max(len(entries), 1)
