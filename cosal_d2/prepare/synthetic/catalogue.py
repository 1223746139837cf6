"""The object classes by name, and the choice of classes for a scene."""

from __future__ import annotations

import numpy as np

from cosal_d2.prepare.synthetic.canvas import ObjectClass
from cosal_d2.prepare.synthetic.food import FOOD
from cosal_d2.prepare.synthetic.nature import NATURE
from cosal_d2.prepare.synthetic.things import THINGS

SIBLING_SHARE = 0.5  # chance that a distractor is drawn from the siblings of a class in the scene

CLASSES: dict[str, ObjectClass] = {c.name: c for c in (*FOOD, *NATURE, *THINGS)}


def siblings(name: str) -> list[str]:
    """Names of the other classes that share a family with class `name`."""
    families = set(CLASSES[name].families)
    return [c.name for c in CLASSES.values() if c.name != name and families & set(c.families)]


def draw_class(rng: np.random.Generator, taken: list[str], like: str | None) -> str:
    """Choose one class that is not in `taken`.

    Args:
        taken: names that are used already.
        like: with probability `SIBLING_SHARE` the choice is among this class's siblings, if any is
            left.

    Returns:
        A class name.
    """
    free = [name for name in CLASSES if name not in taken]
    near = [name for name in siblings(like) if name not in taken] if like else []
    if near and rng.random() < SIBLING_SHARE:
        free = near
    return free[int(rng.integers(len(free)))]
