"""Numbers on a dataset: counted picture by picture, in parallel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from cosal_d2.prepare.check.parts import Item
from cosal_d2.prepare.check.split import class_of
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.masks import to_rle
from cosal_d2.utils.parallel import ordered_map, worker_count

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
        heat: float32 (HEAT, HEAT), the truth stretched to a square.
    """

    group: str
    instances: int
    distractors: int
    crowds: int
    areas: list[float]
    aspects: list[float]
    aspect: float
    union: float
    heat: np.ndarray


@dataclass
class Statistics:
    """Numbers on a dataset, `pictures` in the order of its images."""

    pictures: list[PictureNumbers] = field(default_factory=list)
    heat: np.ndarray = field(default_factory=lambda: np.zeros((HEAT, HEAT), np.float32))

    @property
    def classes(self) -> Counter:
        """Number of co-salient instances of each class."""
        found: Counter = Counter()
        for picture in self.pictures:
            if picture.group:
                found[picture.group] += picture.instances
        return found


def split_roles(item: Item) -> tuple[list[dict], list[dict]]:
    """Annotations of the truth, and of distractors, as the loader tells them apart."""
    group = item.image.get("cosalient_category")
    truth, others = [], []
    for entry in item.annotations:
        inside = entry["category"] != DISTRACTOR and group in (None, entry["category"])
        (truth if inside else others).append(entry)
    return truth, others


def picture_numbers(item: Item) -> PictureNumbers:
    """The numbers on a picture.

    Raises:
        ValueError: a mask is unusable; the message names the file.
    """
    height, width = item.image["height"], item.image["width"]
    truth, others = split_roles(item)
    try:
        rles = [to_rle(a["segmentation"], height, width) for a in truth]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{item.file}: {error}; `check` tells more") from error
    singles = [r for a, r in zip(truth, rles, strict=True) if not a.get("iscrowd", 0)]
    heat, union = np.zeros((HEAT, HEAT), np.float32), 0.0
    if rles:
        mask = coco_mask.decode(coco_mask.merge(rles)).astype(np.float32)
        union = float(mask.mean())
        heat = cv2.resize(mask, (HEAT, HEAT), interpolation=cv2.INTER_AREA)
    boxes = [coco_mask.toBbox(r) for r in singles]
    return PictureNumbers(
        class_of(item) if truth else "",
        len(singles),
        sum(not a.get("iscrowd", 0) for a in others),
        len(rles) - len(singles),
        [int(coco_mask.area(r)) / (height * width) for r in singles],
        [float(b[2] / b[3]) for b in boxes if b[3] > 0],
        width / height,
        union,
        heat,
    )


def statistics(items: list[Item], workers: int | None = None, progress: bool = False) -> Statistics:
    """The numbers on a dataset.

    Args:
        items: its pictures.
        workers: processes; None takes one a core.
        progress: show a progress bar.

    Raises:
        ValueError: a mask is unusable, or there are no pictures.
    """
    if not items:
        raise ValueError("the dataset has no pictures; there is nothing to describe")
    count = min(worker_count(workers), len(items))
    found: Iterator[PictureNumbers] = ordered_map(picture_numbers, items, count, chunk=32)
    result = Statistics()
    for picture in tqdm(found, total=len(items), unit="image", disable=not progress):
        result.heat += picture.heat
        result.pictures.append(replace(picture, heat=result.heat[:0]))
    result.heat /= len(items)
    return result
