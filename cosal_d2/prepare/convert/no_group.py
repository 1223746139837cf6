"""Why no picture of a source has a group, and which options would keep some."""

from __future__ import annotations

import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cosal_d2.prepare.convert.class_names import Spelling
from cosal_d2.prepare.convert.options import Options
from cosal_d2.prepare.convert.selection import SourceObject, select, spelled, union_area

if TYPE_CHECKING:
    from cosal_d2.prepare.convert.conversion import Scene

LOOKED_AT = 200  # pictures
SHOWN = 12  # labels
Changes = tuple[tuple[str, object], ...]


@dataclass
class _Findings:
    """What was seen in the pictures."""

    pictures: int = 0
    empty: int = 0  # that may be kept as such
    labels: Counter = field(default_factory=Counter)
    most: Counter = field(default_factory=Counter)
    crowds: int = 0
    messages: list[str] = field(default_factory=list)
    remedies: dict[tuple[str, ...], list[Changes]] = field(
        default_factory=lambda: defaultdict(list)
    )


def why_no_group(
    read: Callable[[Any], Scene], tasks: Sequence, spelling: Spelling, options: Options
) -> str:
    """The labels met and how often, the shapes left out, and the options that would keep pictures;
    of a large source by its first pictures.

    Args:
        read, tasks: of the source.
        spelling: of the classes.
        options: with which no picture was kept.
    """
    seen = _Findings()
    for task in tasks[:LOOKED_AT]:
        try:
            scene = read(task)
        except (OSError, ValueError):
            continue  # named as faulty
        seen.pictures += 1
        seen.empty += not scene.lacks_large(options.min_area * scene.height * scene.width)
        seen.messages += [shape.message for shape in scene.left_out]
        seen.crowds += sum(o.crowd for o in scene.objects)
        names = [o.class_name for o in spelled(scene.objects, spelling) if o.area and not o.crowd]
        seen.labels.update(names)
        for name, count in Counter(names).items():
            seen.most[name] = max(seen.most[name], count)
        changes = _remedy(scene, spelling, options)
        if changes:
            seen.remedies[tuple(name for name, _ in changes)].append(changes)
    return _told(seen, options.keep_empty)


def _remedy(scene: Scene, spelling: Spelling, options: Options) -> Changes:
    """The fewest options found that would keep a picture, with their values."""
    free = {"min_area": 0.0, "min_union": 0.0, "max_union": 1.0}
    for loose in ({}, {"classes": ()}, {"min_instances": 1}):
        for numbers in dict.fromkeys((spelling.strip_number, True)):
            objects = spelled(scene.objects, spelling.stripping(numbers))
            chosen = select(objects, *scene.size, replace(options, **free, **loose))
            if chosen is None or chosen.group is None:
                continue
            changes = _needed(chosen.objects, scene.size, options)
            if loose.get("classes") is not None:
                changes["classes"] = chosen.group
            if numbers and not spelling.strip_number:
                changes["strip_number"] = None
            return tuple(sorted(changes.items()))
    return ()


def _needed(group: list[SourceObject], size: tuple[int, int], options: Options) -> dict:
    """The bounds that a group needs where those given leave it out."""
    pixels = size[0] * size[1]
    areas = sorted((o.area for o in group if not o.crowd), reverse=True)
    count = min(options.min_instances, len(areas))
    least, union = areas[count - 1] / pixels, union_area(group) / pixels
    needed: dict[str, object] = {}
    if count < options.min_instances:
        needed["min_instances"] = count
    if least < options.min_area:
        needed["min_area"] = _rounded(least, math.floor)
    if union < options.min_union:
        needed["min_union"] = _rounded(union, math.floor)
    if union > options.max_union:
        needed["max_union"] = _rounded(union, math.ceil)
    return needed


def _rounded(share: float, way: Callable[[float], int]) -> float:
    """A share with two digits that count; `way` is `math.floor` or `math.ceil`."""
    share *= 1 - 1e-9 if way is math.floor else 1 + 1e-9
    unit = 10.0 ** (math.floor(math.log10(share)) - 1)
    return min(float(f"{way(share / unit) * unit:.3g}"), 1.0)


def _told(seen: _Findings, keep_empty: bool) -> str:
    """The findings as a sentence of a few parts."""
    labels = ", ".join(
        f"{name} ({count}, at most {seen.most[name]} in a picture)"
        for name, count in seen.labels.most_common(SHOWN)
    )
    more = len(seen.labels) - SHOWN
    parts = [f"labels met: {labels or 'none'}" + (f" and {more} more" if more > 0 else "")]
    if seen.crowds:
        parts.append(f"{seen.crowds} regions are crowds (iscrowd 1), which do not count")
    for changes in sorted(seen.remedies.values(), key=len, reverse=True):
        parts.append(f"{_command(changes)} would keep {len(changes)} of {seen.pictures}")
    if seen.empty and not keep_empty:
        parts.append(f"--keep-empty would keep {seen.empty} with an empty truth")
    return "; ".join(parts) + "".join(
        f"\n{message}" for message in list(dict.fromkeys(seen.messages))[:5]
    )


def _command(found: list[Changes]) -> str:
    """Options that keep all pictures of which each needs the same ones."""
    values = defaultdict(list)
    for changes in found:
        for name, value in changes:
            values[name].append(value)
    words = []
    for name, given in values.items():
        option = "class" if name == "classes" else name.replace("_", "-")
        if name == "strip_number":
            words.append(f"--{option}")
        elif name == "classes":
            words.append(f"--{option} {shlex.join(sorted(set(given)))}")
        else:
            words.append(f"--{option} {max(given) if name == 'max_union' else min(given)}")
    return " ".join(words)
