"""Which class of a picture is co-salient, and which objects stay: pure functions on masks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from pycocotools import mask as coco_mask

from cosal_d2.prepare.convert.class_names import Spelling
from cosal_d2.prepare.convert.options import Options
from cosal_d2.utils.coco import DISTRACTOR

MAX_IOU = 0.7  # of two objects that overlap by more, the larger stays


@dataclass(frozen=True)
class SourceObject:
    """An annotated object.

    Attributes:
        class_name: its class; `distractor` marks a salient object outside any group.
        rle: COCO's compressed run-length mask, of the whole picture.
        crowd: a region of an unknown number of objects.
        fields: further fields for its annotation entry.
    """

    class_name: str
    rle: dict
    crowd: bool = False
    fields: dict = field(default_factory=dict)

    @cached_property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(coco_mask.area(self.rle))


@dataclass(frozen=True)
class Selected:
    """The co-salient class, or None, its objects (crowds too), and the distractors."""

    group: str | None
    objects: list[SourceObject]
    distractors: list[SourceObject]


def spelled(objects: list[SourceObject], spelling: Spelling) -> list[SourceObject]:
    """Objects of a picture whose classes have one spelling each."""
    names = spelling(o.class_name for o in objects)
    return [replace(o, class_name=name) for o, name in zip(objects, names, strict=True)]


def union_area(objects: list[SourceObject]) -> int:
    """Pixels that objects cover together."""
    return int(coco_mask.area(coco_mask.merge([o.rle for o in objects])))


def select(
    objects: list[SourceObject], height: int, width: int, options: Options
) -> Selected | None:
    """Choose the co-salient class of a picture: of the candidates, the one that covers most.

    Objects without pixels are dropped. Duplicates are found within a class first, so that they
    make no group; afterwards an object of another class that lies on a member of the group is no
    distractor. Crowd regions count neither as objects nor as distractors; those of the co-salient
    class stay in the truth.

    Args:
        objects: all objects of the picture.
        height, width: pixels.
        options: what is kept.

    Returns:
        The selection, or None where no class is a group and such pictures are left out.
    """
    pixels = height * width
    least = options.min_area * pixels
    singles = [o for o in objects if o.area and not o.crowd]
    by_class: dict[str, list[int]] = defaultdict(list)
    for i, item in enumerate(singles):
        by_class[item.class_name].append(i)
    if not options.keep_empty and all(len(x) < options.min_instances for x in by_class.values()):
        return None
    rles = [o.rle for o in singles]
    duplicate = np.asarray(coco_mask.iou(rles, rles, [0] * len(rles))) > MAX_IOU

    def distinct(items: list[int]) -> list[int]:
        """The objects in their order, without each that duplicates a larger one."""
        found: list[int] = []
        for i in sorted(items, key=lambda i: -singles[i].area):
            if not duplicate[i, found].any():
                found.append(i)
        return sorted(found)

    members = {name: distinct(items) for name, items in by_class.items()}
    crowds = [o for o in objects if o.area and o.crowd]
    shares = {}  # of the picture, by candidate
    for name, items in sorted(members.items()):
        large = sum(singles[i].area >= least for i in items)
        named = name in options.classes or not options.classes
        if named and name != DISTRACTOR and large >= options.min_instances:
            parts = [singles[i] for i in items] + [o for o in crowds if o.class_name == name]
            share = union_area(parts) / pixels
            if options.min_union <= share <= options.max_union:
                shares[name] = share
    if not shares and not options.keep_empty:
        return None
    group = max(shares, key=shares.__getitem__) if shares else None
    chosen = members.pop(group, [])
    others = [
        i
        for items in members.values()
        for i in items
        if (singles[i].class_name == DISTRACTOR or singles[i].area >= least)
        and not duplicate[i, chosen].any()
    ]
    return Selected(
        group,
        [singles[i] for i in chosen] + [o for o in crowds if o.class_name == group],
        [singles[i] for i in distinct(others)],
    )
