"""Splitting a dataset so that near-duplicates, or whole classes, stay on one side."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cosal_d2.prepare.check.check import each_picture
from cosal_d2.prepare.check.dataset import Dataset
from cosal_d2.prepare.check.near_duplicates import SCENE_BITS, file_hash, near_pairs
from cosal_d2.prepare.check.parts import sound_entries, write_part
from cosal_d2.prepare.convert.dataset_writer import Entry, Written
from cosal_d2.prepare.target import Target
from cosal_d2.utils.coco import DISTRACTOR


def split(
    dataset: Dataset,
    targets: list[Target],
    shares: list[float],
    by_class: bool = False,
    seed: int = 0,
) -> tuple[list[Written], int]:
    """Split a dataset; pictures of one scene, mirrored ones too, stay on one side.

    Args:
        dataset: a sound one.
        targets: where each side goes.
        shares: wanted size of each side, relative to one another.
        by_class: put each co-salient class on one side alone.
        seed: the same one gives the same sides.

    Returns:
        What was written, and the number of pictures that stay on the side of another that shows
        the same.

    Raises:
        ValueError: the dataset is not sound, or the shares are not positive or leave a side empty.
    """
    for target in targets:
        target.check_apart(dataset.json_file, dataset.folder)
    entries = sound_entries(dataset)
    hashes = list(each_picture(file_hash, [e.file for e in entries], targets[0].workers))
    pairs = [*near_pairs(hashes, hashes, SCENE_BITS), *near_pairs(hashes, hashes, mirrored=True)]
    groups = connected(len(entries), pairs)
    near = len(entries) - len(set(groups))
    if by_class:
        first: dict[str, int] = {}
        for i, name in enumerate(map(class_of, entries)):
            if name:
                pairs.append((first.setdefault(name, i), i))
        groups = connected(len(entries), pairs)
    sides = assign(groups, shares, seed)
    by = "class" if by_class else "random"
    return [
        write_part(
            dataset,
            [entry for entry, side in zip(entries, sides, strict=True) if side == number],
            target,
            f"Part {target.name} of {dataset.name}, by {by}, seed {seed}",
        )
        for number, target in enumerate(targets)
    ], near


def class_of(entry: Entry) -> str:
    """The co-salient class of a picture: the field's, else the one that is annotated most; empty
    where nothing is co-salient."""
    group = entry.image.get("cosalient_category")
    if group is not None:
        return group
    found = Counter(a["category"] for a in entry.annotations if a["category"] != DISTRACTOR)
    return min(found, key=lambda n: (-found[n], n)) if found else ""


def connected(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """A group number for each of `count` pictures: chains of pairs share one."""
    first, second = np.array(pairs, dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1].tolist()


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
