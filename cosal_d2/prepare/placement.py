"""Random positions for the objects of a drawn picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def place(
    rng: np.random.Generator,
    solids: Sequence[np.ndarray],
    height: int,
    width: int,
    *,
    overlap: float,
    max_hidden: float,
    margin: int,
    tries: int,
    step: int = 1,
) -> list[tuple[int, int]] | None:
    """Positions (x, y) of objects, later ones on top, or None when they do not fit.

    Args:
        rng: the positions are drawn from it.
        solids: bool (h, w), the pixels of each object.
        height, width: of the picture.
        overlap: no two objects overlap by more than this share of the smaller.
        max_hidden: no object is hidden by more than this share.
        margin: pixels between objects and the frame, at least.
        tries: positions that are tried for an object.
        step: overlaps are counted on every so many pixels of every so many rows.
    """
    top = np.full((height, width), -1, np.int16)
    areas: list[int] = []
    hidden: list[int] = []
    places: list[tuple[int, int]] = []
    for index, solid in enumerate(solids):
        h, w = solid.shape
        room_x, room_y = width - w - 2 * margin, height - h - 2 * margin
        counted = solid[::step, ::step]
        area = int(counted.sum())
        if room_x < 0 or room_y < 0 or not area:
            return None
        for _ in range(tries):
            x = margin + int(rng.integers(room_x + 1))
            y = margin + int(rng.integers(room_y + 1))
            below = top[y : y + h : step, x : x + w : step][counted]
            covered = np.bincount(below + 1, minlength=index + 1)[1:]
            if all(
                c <= overlap * min(area, areas[k]) and hidden[k] + c <= max_hidden * areas[k]
                for k, c in enumerate(covered)
                if c
            ):
                break
        else:
            return None
        top[y : y + h, x : x + w][solid] = index
        hidden = [k + int(c) for k, c in zip(hidden, covered, strict=True)] + [0]
        areas.append(area)
        places.append((x, y))
    return places
