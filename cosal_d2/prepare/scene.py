"""What a drawn scene is: its options, its objects, and where they lie."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from cosal_d2.utils.coco import DISTRACTOR

MAX_GROUPS = 6
MAX_OBJECTS = 200  # of a group
MAX_DISTRACTORS = 12  # there are not many more classes
LEAST_ROOM = 160  # pixels of the picture for each object


@dataclass(frozen=True)
class SceneOptions:
    """How many objects a scene shows, and how large it is.

    Attributes:
        objects: smallest and largest number of objects of each repeated class.
        distractors: smallest and largest number of single objects of other classes.
        groups: number of classes that repeat; 0 draws no group: all objects, `distractors` many,
            differ in class.
        size: (height, width) in pixels; None draws a size like a photograph's.

    Raises:
        ValueError: a range is empty or too large; the message names the attribute.
    """

    objects: tuple[int, int] = (2, 6)
    distractors: tuple[int, int] = (0, 4)
    groups: int = 1
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.groups <= MAX_GROUPS:
            raise ValueError(f"groups: {self.groups} asked for; give 0 to {MAX_GROUPS}")
        bounds = {
            "objects": (2, MAX_OBJECTS),
            "distractors": (0 if self.groups else 1, MAX_DISTRACTORS),
        }
        for name, (low, high) in bounds.items():
            first, last = getattr(self, name)
            if not low <= first <= last <= high:
                raise ValueError(
                    f"{name}: {first} to {last} objects asked for; give MIN and MAX with "
                    f"{low} <= MIN <= MAX <= {high}"
                )
        if self.size is not None and not all(64 <= s <= 4096 for s in self.size):
            raise ValueError(
                f"size: {self.size[0]} x {self.size[1]} pixels asked for; "
                "give H and W between 64 and 4096"
            )
        most = self.groups * self.objects[1] + self.distractors[1]
        if self.size is not None and most * LEAST_ROOM > self.size[0] * self.size[1]:
            raise ValueError(
                f"size: {most} objects do not fit into {self.size[0]} x {self.size[1]} pixels; "
                "give a larger size or fewer objects"
            )


@dataclass
class Instance:
    """One object of a scene.

    Attributes:
        category: class name, or `distractor`.
        class_name: class name.
        mask: bool (H, W), the visible pixels.
        full_area: pixels of the object before occlusion.
        source: where it was cut out: the id of an annotation or the file of a sprite; None where it
            was drawn.
    """

    category: str
    class_name: str
    mask: np.ndarray
    full_area: int
    source: int | str | None = None


@dataclass
class Scene:
    """A drawn scene.

    Attributes:
        image: uint8 (H, W, 3) BGR.
        instances: objects in the order in which they were laid down.
        quality: JPEG quality of the scene's camera, 0 to 100.
    """

    image: np.ndarray
    instances: list[Instance]
    quality: int

    @property
    def cosalient_category(self) -> str | None:
        """The repeated class; None where none repeats, or where several do, and all objects but
        distractors are co-salient."""
        repeated = {i.category for i in self.instances} - {DISTRACTOR}
        return repeated.pop() if len(repeated) == 1 else None


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
    """Random positions (x, y) of objects, later ones on top, or None when they do not fit.

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


def placed_instances(
    class_names: Sequence[str],
    repeated: Collection[str],
    solids: Sequence[np.ndarray],
    places: Sequence[tuple[int, int]],
    height: int,
    width: int,
) -> list[Instance]:
    """The objects of a scene with their visible pixels.

    Args:
        class_names: of each object.
        repeated: the classes of the groups; objects of all others are distractors.
        solids: bool (h, w), the pixels of each object.
        places: position (x, y) of each one's upper left corner; later ones lie on top.
        height, width: of the picture.
    """
    top = np.full((height, width), -1, np.int16)
    for k, (solid, (x, y)) in enumerate(zip(solids, places, strict=True)):
        h, w = solid.shape
        top[y : y + h, x : x + w][solid] = k
    return [
        Instance(name if name in repeated else DISTRACTOR, name, top == k, int(solid.sum()))
        for k, (name, solid) in enumerate(zip(class_names, solids, strict=True))
    ]
