"""One composite: which cut-outs, how large, where, and the picture with its visible masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cosal_d2.prepare.composites.backgrounds import Backgrounds
from cosal_d2.prepare.composites.cutouts import Cutout, usable_classes
from cosal_d2.prepare.composites.paste import MAX_LENGTH, MAX_UPSCALE, Look, lay_down, render
from cosal_d2.prepare.placement import place
from cosal_d2.prepare.synthetic.scene import Instance, Scene
from cosal_d2.utils.coco import DISTRACTOR

SIDES = (400, 480)  # longest side in pixels
RATIOS = (4 / 3, 3 / 2, 1.0, 16 / 9)
SIZES = (0.21, 0.35)  # middle size of a picture's objects, in shorter sides of the picture
SPREAD = 1.32  # an object's size is within this factor of the picture's middle size
LEAST = 0.19  # middle size that is kept even if a cut-out is too small for it
SHRINKS = 30  # times that objects may be made smaller until they fit
PLACING = {"max_hidden": 0.33, "margin": 3, "tries": 60}
COVER = 0.45  # objects' boxes cover no more than about this share of the picture


@dataclass(frozen=True)
class CompositeOptions:
    """What a composite shows.

    Attributes:
        objects: smallest and largest number of objects of the group, or of all if there is none.
        distractors: smallest and largest number of single objects of other classes.
        repeat: False makes no group: all objects differ in class.
        size: (height, width) in pixels; None draws a size like a photograph's.
        sprite_share: share of sprites among group classes and among distractors.

    Raises:
        ValueError: a value is unusable; the message names the attribute.
    """

    objects: tuple[int, int] = (2, 6)
    distractors: tuple[int, int] = (0, 4)
    repeat: bool = True
    size: tuple[int, int] | None = None
    sprite_share: float = 0.5

    def __post_init__(self) -> None:
        for name, low in {"objects": 2 if self.repeat else 1, "distractors": 0}.items():
            first, last = getattr(self, name)
            if not low <= first <= last <= 12:
                raise ValueError(
                    f"{name}: {first} to {last} objects asked for; give MIN and MAX with "
                    f"{low} <= MIN <= MAX <= 12"
                )
        if self.size is not None and not all(96 <= s <= 2048 for s in self.size):
            raise ValueError(
                f"size: {self.size[0]} x {self.size[1]} pixels asked for; "
                "give H and W between 96 and 2048"
            )
        if not 0 <= self.sprite_share <= 1:
            raise ValueError(f"sprite-share: {self.sprite_share} is no share; give 0 to 1")


@dataclass
class PastedInstance(Instance):
    """An object of a composite.

    Attributes:
        source: id of its annotation in the source json, or its sprite's file.
    """

    source: int | str = 0


def _key(name: str) -> str:
    """Equal for names of one thing: `hot dog`, `sprite/hot_dog`."""
    return name.removeprefix("sprite/").lower().replace("_", " ").replace("-", " ")


class Composer:
    """Makes composite number i of a series, a pure function of (seed, i) and what it was given.

    Args:
        photos: cut-outs by class; `distractor` holds objects of unknown class.
        sprites: sprites by class; may be empty.
        backgrounds: where the pictures' backgrounds come from.
        seed: seed of the series.
        options: counts and size.

    Raises:
        ValueError: there are too few classes for `options`.
    """

    def __init__(
        self,
        photos: dict[str, list[Cutout]],
        sprites: dict[str, list[Cutout]],
        backgrounds: Backgrounds,
        seed: int,
        options: CompositeOptions,
    ) -> None:
        self.cutouts = {**photos, **sprites}
        self.names = {False: usable_classes(photos), True: list(sprites)}
        self.unknown = photos.get(DISTRACTOR, [])
        self.backgrounds, self.seed, self.options = backgrounds, seed, options
        usable = len({_key(n) for names in self.names.values() for n in names})
        least = options.distractors[0] + 1 if options.repeat else options.objects[0]
        if usable < least:
            asked = "a group and MIN of --distractors" if options.repeat else "MIN of --objects"
            raise ValueError(
                f"json: {usable} usable classes, but {asked} need {least}; usable cut-outs are "
                "whole, away from the frame and not small: give more pictures or classes, or a "
                "lower MIN"
            )

    def __call__(self, index: int) -> Scene:
        """The composite of an index."""
        rng = np.random.default_rng([self.seed, index])
        height, width = self.options.size or _size(rng)
        repeated, names = self._choose(rng)
        short = min(height, width)
        middle = np.exp(rng.uniform(*np.log(SIZES))) * short
        middle = min(middle, np.sqrt(COVER * height * width / len(names)))
        cutouts = self._pick(rng, names, middle * SPREAD / MAX_UPSCALE)
        middle = min(middle, MAX_UPSCALE / SPREAD * min(c.side for c in cutouts))
        middle = max(middle, LEAST * short)
        sizes = middle * np.exp(rng.uniform(-np.log(SPREAD), np.log(SPREAD), len(names)))
        lying = bool(rng.random() < 0.35)
        looks = [Look.sample(rng, float(s), lying) for s in sizes]
        overlap = float(rng.choice([0.0, 0.1, 0.25]))
        longest = MAX_LENGTH * short
        for _ in range(SHRINKS):
            layers = [render(c, k, longest) for c, k in zip(cutouts, looks, strict=True)]
            solids = [layer.solid for layer in layers]
            places = place(rng, solids, height, width, overlap=overlap, **PLACING)
            if places is not None:
                break
            looks = [Look(**{**vars(k), "size": k.size * 0.92}) for k in looks]
            longest *= 0.92
        else:
            raise ValueError(
                f"size: {len(names)} objects do not fit into {height} x {width} pixels; give a "
                "larger size or fewer objects"
            )
        image = self.backgrounds.draw(rng, height, width, set(names))
        canvas, masks = lay_down(image, layers, places)
        instances = [
            PastedInstance(
                n if n == repeated else DISTRACTOR, n, mask, int(layer.solid.sum()), c.source
            )
            for n, c, mask, layer in zip(names, cutouts, masks, layers, strict=True)
        ]
        return Scene(_expose(rng, canvas), repeated, instances, int(rng.integers(80, 96)))

    def _medium(self, rng: np.random.Generator) -> bool:
        """Whether the next class is a sprite."""
        if not self.names[True] or not self.names[False]:
            return bool(self.names[True])
        return bool(rng.random() < self.options.sprite_share)

    def _choose(self, rng: np.random.Generator) -> tuple[str | None, list[str]]:
        """Repeated class and the classes of all objects, in random order."""
        low, high = self.options.objects
        count = int(rng.integers(low, high + 1))
        names: list[str] = []
        repeated = None
        if self.options.repeat:
            pool = self.names[self._medium(rng)]
            repeated = pool[int(rng.integers(len(pool)))]
            names = [repeated] * count
            low, high = self.options.distractors
            count = int(rng.integers(low, high + 1))
        taken = {_key(n) for n in names}
        for left in range(count, 0, -1):
            first = self._medium(rng)
            for medium in (first, not first):
                pool = [n for n in self.names[medium] if _key(n) not in taken]
                if pool:
                    break
            else:
                break
            # Last, as no later name may be one that it was not compared with.
            if left == 1 and not medium and self._unknown(names) and rng.random() < 0.3:
                pool = [DISTRACTOR]
            names.append(pool[int(rng.integers(len(pool)))])
            taken.add(_key(names[-1]))
        return repeated, [names[i] for i in rng.permutation(len(names))]

    def _unknown(self, names: list[str]) -> list[Cutout]:
        """Objects of unknown class that are of none of the classes `names`.

        An annotated distractor differs from the other classes of its own picture, and from sprites;
        nothing else is known of it.
        """
        if not names or DISTRACTOR in names:
            return []
        photos = {n for n in names if n not in self.names[True]}
        return [c for c in self.unknown if photos <= c.others]

    def _pick(self, rng: np.random.Generator, names: list[str], side: float) -> list[Cutout]:
        """One cut-out for each name, different ones while there are, of `side` pixels or more
        first."""
        queues: dict[str, list[Cutout]] = {}
        for name in sorted(set(names)):
            known = [n for n in names if n != DISTRACTOR]
            pool = self._unknown(known) if name == DISTRACTOR else self.cutouts[name]
            order = [pool[i] for i in rng.permutation(len(pool))]
            queues[name] = sorted(order, key=lambda c: c.side < side)
        used = dict.fromkeys(queues, 0)
        cutouts = []
        for name in names:
            cutouts.append(queues[name][used[name] % len(queues[name])])
            used[name] += 1
        return cutouts


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """(height, width) of a usual aspect ratio, upright or lying."""
    longest = int(rng.integers(SIDES[0], SIDES[1] + 1))
    shorter = round(longest / rng.choice(RATIOS, p=[0.4, 0.25, 0.25, 0.1]))
    return (shorter, longest) if rng.random() < 0.65 else (longest, shorter)


def _expose(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Blur and noise of one camera over the whole picture; uint8 (H, W, 3)."""
    if rng.random() < 0.5:
        canvas = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.35, 0.7)))
    noise = rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(rng.uniform(0.5, 4))
    return np.clip(canvas + noise + 0.5, 0, 255).astype(np.uint8)
