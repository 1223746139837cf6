"""What a conversion keeps of its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cosal_d2.utils.coco import DISTRACTOR


@dataclass(frozen=True)
class Options:
    """Which pictures are kept, and how.

    Attributes:
        min_instances: least number of objects of one class.
        min_area: least area of each of those, as a share of the picture. Smaller objects of the
            class are part of the truth but do not count; smaller ones of other classes are dropped.
        min_union, max_union: bounds of the share that the class covers.
        classes: the only candidates; empty: every class but `distractor`.
        keep_empty: keep pictures without a group too: their truth is empty.
        max_side: longest side in pixels; larger pictures are made smaller.
        skip_bad: leave faulty pictures out instead of stopping.
        strip_number: numbers at the end of labels are no part of the class.

    Raises:
        ValueError: a value is out of range; the message names the option.
    """

    min_instances: int = 2
    min_area: float = 0.01
    min_union: float = 0.05
    max_union: float = 0.7
    classes: Sequence[str] = ()
    keep_empty: bool = False
    max_side: int | None = None
    skip_bad: bool = False
    strip_number: bool = False

    def __post_init__(self) -> None:
        if self.min_instances < 1:
            raise ValueError(f"min-instances: {self.min_instances} is less than 1")
        for name in ("min_area", "min_union", "max_union"):
            if not 0 <= getattr(self, name) <= 1:
                option = name.replace("_", "-")
                raise ValueError(f"{option}: {getattr(self, name)} is no share; give 0 to 1")
        if self.min_union > self.max_union:
            raise ValueError(f"min-union: {self.min_union} is over --max-union {self.max_union}")
        if DISTRACTOR in self.classes:
            raise ValueError(f"class: {DISTRACTOR!r} is never co-salient; name another class")
        if self.max_side is not None and self.max_side < 1:
            raise ValueError(f"max-side: {self.max_side} pixels; give 1 or more")
