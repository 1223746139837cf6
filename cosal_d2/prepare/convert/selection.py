"""Which class of a picture is co-salient, and which objects stay: pure functions on masks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from pycocotools import mask as coco_mask

from cosal_d2.utils.coco import DISTRACTOR


@dataclass(frozen=True)
class SourceObject:
    """An annotated object.

    Attributes:
        class_name: its class; `distractor` marks a salient object outside any group.
        rle: COCO's compressed run-length mask, of the whole picture.
        crowd: a region of an unknown number of objects.
        fields: further fields for its annotation entry.
        area: pixels of the mask.
    """

    class_name: str
    rle: dict
    crowd: bool = False
    fields: dict = field(default_factory=dict)
    area: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "area", int(coco_mask.area(self.rle)))


@dataclass(frozen=True)
class Selection:
    """Which pictures are kept.

    Attributes:
        min_instances: least number of objects of one class.
        min_area: least area of each of those, as a share of the picture. Smaller objects of the
            class are part of the truth but do not count; smaller ones of other classes are dropped.
        min_union, max_union: bounds of the share that the class covers.
        classes: the only candidates; empty: every class but `distractor`.
        duplicate_iou: of two objects that overlap by more, the larger is kept.
        keep_empty: keep pictures without a group too: their truth is empty.

    Raises:
        ValueError: a value is out of range; the message names the attribute.
    """

    min_instances: int = 2
    min_area: float = 0.01
    min_union: float = 0.05
    max_union: float = 0.7
    classes: tuple[str, ...] = ()
    duplicate_iou: float = 0.7
    keep_empty: bool = False

    def __post_init__(self) -> None:
        if self.min_instances < 1:
            raise ValueError(f"min-instances: {self.min_instances} is less than 1")
        for name in ("min_area", "min_union", "max_union", "duplicate_iou"):
            if not 0 <= getattr(self, name) <= 1:
                option = name.replace("_", "-")
                raise ValueError(f"{option}: {getattr(self, name)} is no share; give 0 to 1")
        if self.min_union > self.max_union:
            raise ValueError(f"min-union: {self.min_union} is over --max-union {self.max_union}")
        if DISTRACTOR in self.classes:
            raise ValueError(f"class: {DISTRACTOR!r} is never co-salient; name another class")


@dataclass(frozen=True)
class Selected:
    """The co-salient class, or None, its objects (crowds too), and the distractors."""

    group: str | None
    objects: list[SourceObject]
    distractors: list[SourceObject]


class _Overlaps:
    """IoU of the single objects of a picture, each with each."""

    def __init__(self, items: list[SourceObject]) -> None:
        rles = [i.rle for i in items]
        self.place = {id(item): number for number, item in enumerate(items)}
        self.iou = np.array(coco_mask.iou(rles, rles, [0] * len(rles))) if rles else None

    def clear_of(self, item: SourceObject, others: list[SourceObject], limit: float) -> bool:
        """Whether the object overlaps none of the others by more than `limit`."""
        row = self.iou[self.place[id(item)]]
        return all(row[self.place[id(o)]] <= limit for o in others)

    def without_duplicates(self, items: list[SourceObject], limit: float) -> list[SourceObject]:
        """The objects in their order, less each that overlaps a larger one by more than `limit`."""
        kept: list[SourceObject] = []
        for item in sorted(items, key=lambda o: -o.area):
            if self.clear_of(item, kept, limit):
                kept.append(item)
        return [o for o in items if any(o is k for k in kept)]


def _candidates(
    classes: dict[str, list[SourceObject]], pixels: int, options: Selection
) -> dict[str, float]:
    """Classes that can be co-salient, with the share of the picture that each covers."""
    found = {}
    for name, items in classes.items():
        large = [i for i in items if not i.crowd and i.area >= options.min_area * pixels]
        if name == DISTRACTOR or (options.classes and name not in options.classes):
            continue
        if len(large) < options.min_instances:
            continue
        union = int(coco_mask.area(coco_mask.merge([i.rle for i in items]))) / pixels
        if options.min_union <= union <= options.max_union:
            found[name] = union
    return found


def _distractors(
    others: list[SourceObject],
    group: list[SourceObject],
    overlaps: _Overlaps,
    least: float,
    limit: float,
) -> list[SourceObject]:
    """Salient objects outside the group: no crowds, nothing small, nothing that is of the group."""
    members = [o for o in group if not o.crowd]
    salient = [
        o
        for o in others
        if not o.crowd
        and (o.class_name == DISTRACTOR or o.area >= least)
        and overlaps.clear_of(o, members, limit)
    ]
    return overlaps.without_duplicates(salient, limit)


def select(
    objects: list[SourceObject], height: int, width: int, options: Selection
) -> Selected | str:
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
        The selection, or the reason why the picture is left out.
    """
    pixels = height * width
    classes: dict[str, list[SourceObject]] = defaultdict(list)
    for item in objects:
        if item.area:
            classes[item.class_name].append(item)
    if not options.keep_empty and not any(
        sum(not i.crowd for i in items) >= options.min_instances for items in classes.values()
    ):
        return "without a group"
    overlaps = _Overlaps([i for items in classes.values() for i in items if not i.crowd])
    limit = options.duplicate_iou
    for name, items in classes.items():
        singles = overlaps.without_duplicates([i for i in items if not i.crowd], limit)
        classes[name] = singles + [i for i in items if i.crowd]
    found = _candidates(classes, pixels, options)
    if not found and not options.keep_empty:
        return "without a group"
    group = max(sorted(found), key=lambda n: found[n]) if found else None
    members = classes[group] if group is not None else []
    others = [o for name, items in classes.items() if name != group for o in items]
    least = options.min_area * pixels
    return Selected(group, members, _distractors(others, members, overlaps, least, limit))
