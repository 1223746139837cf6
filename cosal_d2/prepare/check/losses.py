"""What pictures lose where annotations are left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from cosal_d2.prepare.check.dataset import Dataset, id_key
from cosal_d2.utils.coco import DISTRACTOR, is_large


def losses(
    dataset: Dataset,
    images: Collection[int],
    annotations: Collection[int],
    doubles: Collection[int],
) -> tuple[list[int], list[int]]:
    """Pictures that are no longer what they were.

    Args:
        dataset: with all of its entries.
        images, annotations: positions of those that are left out.
        doubles: of these annotations, those that are there once more.

    Returns:
        positions of images that lose all of their co-salient annotations, and of others that lose
        a large object, or all but one of the co-salient ones.
    """
    names = dataset.category_names()
    own: dict[object, list[tuple[bool, dict]]] = defaultdict(list)
    for i, entry in dataset.entries("annotations"):
        if i not in doubles:
            own[id_key(entry.get("image_id"))].append((i in annotations, entry))
    emptied, unclean = [], []
    for position, image in dataset.entries("images"):
        every = own[id_key(image.get("id"))]
        lost = [entry for is_lost, entry in every if is_lost]
        if position in images or not lost:
            continue
        group = image.get("cosalient_category")
        members = []  # of the co-salient ones, whether each is lost
        for is_lost, entry in every:
            name = names.get(id_key(entry.get("category_id")))
            if name is None or (name != DISTRACTOR and group in (None, name)):
                members.append(is_lost)
        one_is_left = any(members) and members.count(False) == 1
        if members and all(members):
            emptied.append(position)
        elif one_is_left or any(is_large(entry, image) for entry in lost):
            unclean.append(position)
    return emptied, unclean
