"""Splitting a dataset so that near-duplicates, or whole classes, stay on one side."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from cosal_d2.prepare.check.parts import Item
from cosal_d2.utils.coco import DISTRACTOR


def class_of(item: Item) -> str:
    """The co-salient class of a picture: the field's, else the one that is annotated most; empty
    where nothing is co-salient."""
    group = item.image.get("cosalient_category")
    if group is not None:
        return group
    found = Counter(a["category"] for a in item.annotations if a["category"] != DISTRACTOR)
    return min(found, key=lambda n: (-found[n], n)) if found else ""


def join_classes(groups: list[int], classes: list[str]) -> list[int]:
    """Group numbers in which each class is in one group as well; near-duplicates join classes.

    Pictures of the empty class are joined by `groups` alone.
    """
    parent = {g: g for g in groups}

    def root(g: int) -> int:
        while parent[g] != g:
            g = parent[g]
        return g

    first: dict[str, int] = {}
    for group, name in zip(groups, classes, strict=True):
        if name:
            low, high = sorted((root(group), root(first.setdefault(name, group))))
            parent[high] = low
    return [root(g) for g in groups]


def assign(groups: list[int], shares: list[float], seed: int) -> list[int]:
    """A side for each picture, the same for all of a group; a pure function of its arguments.

    Large groups go first, equally large ones in random order, each to the side that lacks most.

    Args:
        groups: group number of each picture.
        shares: wanted size of each side, relative to one another.
        seed: of the order.

    Raises:
        ValueError: shares are not positive, or a side stays empty.
    """
    if len(shares) < 2 or min(shares) <= 0:
        raise ValueError(f"shares: {shares} are not two or more positive numbers")
    members: dict[int, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    rng = np.random.default_rng(seed)
    order = [list(members)[i] for i in rng.permutation(len(members))]
    order.sort(key=lambda g: -len(members[g]))
    wanted = np.array(shares) / sum(shares) * len(groups)
    sides = [-1] * len(groups)
    for group in order:
        side = int(np.argmax(np.round(wanted, 6)))
        wanted[side] -= len(members[group])
        for position in members[group]:
            sides[position] = side
    empty = set(range(len(shares))) - set(sides)
    if empty:
        raise ValueError(
            f"shares: side {min(empty) + 1} stays empty: there are only {len(members)} groups of "
            "pictures that belong together; ask for fewer sides, or split at random"
        )
    return sides
