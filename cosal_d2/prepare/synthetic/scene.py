"""One synthetic scene: which objects, how large, where, and the image with its visible masks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cosal_d2.prepare.placement import place
from cosal_d2.prepare.synthetic.camera import background, expose, paste
from cosal_d2.prepare.synthetic.canvas import Tint
from cosal_d2.prepare.synthetic.catalogue import CLASSES, draw_class
from cosal_d2.prepare.synthetic.sprite import Light, render_sprite
from cosal_d2.utils.coco import DISTRACTOR

SIZES = ((450, 256), (808, 1078))  # smallest and largest (width, height) of the paper's set
SCALE_SPREAD = np.sqrt(2.0)  # an object's scale is within this factor of the scene's
MAX_OVERLAP = 0.30  # of the smaller of two objects
PLACING = {"max_hidden": 0.38, "margin": 2, "tries": 50, "step": 2}


@dataclass(frozen=True)
class SceneOptions:
    """What `render_scene` draws.

    Attributes:
        group: smallest and largest number of objects of the repeated class.
        distractors: smallest and largest number of single objects of other classes.
        repeat: False draws no group: all objects, `distractors` many, differ in class.
        size: (height, width) in pixels; None draws a size between the paper's extremes.

    Raises:
        ValueError: a range is empty or too large; the message names the attribute.
    """

    group: tuple[int, int] = (2, 6)
    distractors: tuple[int, int] = (0, 4)
    repeat: bool = True
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        least = {"group": 2, "distractors": 0 if self.repeat else 1}
        for name, low in least.items():
            first, last = getattr(self, name)
            if not low <= first <= last <= 12:
                raise ValueError(
                    f"{name}: {first} to {last} objects asked for; give MIN and MAX with "
                    f"{low} <= MIN <= MAX <= 12"
                )
        if self.size is not None and not all(64 <= s <= 4096 for s in self.size):
            raise ValueError(
                f"size: {self.size[0]} x {self.size[1]} pixels asked for; "
                "give H and W between 64 and 4096"
            )


@dataclass
class Instance:
    """One object of a scene.

    Attributes:
        category: class name, or `distractor`.
        class_name: class name.
        mask: bool (H, W), the visible pixels.
        full_area: pixels of the object before occlusion.
    """

    category: str
    class_name: str
    mask: np.ndarray
    full_area: int


@dataclass
class Scene:
    """A drawn scene.

    Attributes:
        image: uint8 (H, W, 3) BGR.
        cosalient_category: the repeated class, or None.
        instances: objects in the order in which they were laid down.
        quality: JPEG quality of the scene's camera.
    """

    image: np.ndarray
    cosalient_category: str | None
    instances: list[Instance] = field(default_factory=list)
    quality: int = 90


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """(height, width) within `SIZES`, of a usual aspect ratio, upright or lying."""
    (w0, h0), (w1, h1) = SIZES
    while True:
        ratio = rng.choice([4 / 3, 3 / 2, 16 / 9, 1.0], p=[0.4, 0.3, 0.2, 0.1])
        width = float(rng.uniform(w0, w1))
        height = width / ratio if rng.random() < 0.6 else width * ratio
        if h0 <= height <= h1:
            return round(height), round(width)


def _choose(rng: np.random.Generator, options: SceneOptions) -> tuple[str | None, list[str]]:
    """Repeated class and the classes of all objects, in random order."""
    singles = int(rng.integers(options.distractors[0], options.distractors[1] + 1))
    if options.repeat:
        repeated: str | None = draw_class(rng, [], None)
        names = [repeated] * int(rng.integers(options.group[0], options.group[1] + 1))
    else:
        repeated, names = None, []
    for _ in range(singles):
        like = repeated or (names[int(rng.integers(len(names)))] if names else None)
        names.append(draw_class(rng, names, like))
    return repeated, [names[i] for i in rng.permutation(len(names))]


def render_scene(seed: int, index: int, options: SceneOptions | None = None) -> Scene:
    """Draw scene number `index` of the series `seed`, a pure function of its arguments.

    Args:
        seed, index: non-negative integers.
        options: counts and size.

    Returns:
        A `Scene`. Group and distractors come from the same distributions of scale, light, position
        and order; only the class differs.
    """
    options = options or SceneOptions()
    rng = np.random.default_rng([seed, index])
    height, width = options.size or _size(rng)
    repeated, names = _choose(rng, options)
    light = Light.sample(rng)
    # A class keeps its colour within a scene, so that a group looks alike.
    tints = {
        n: Tint(
            float(rng.normal(0, 3)), float(rng.uniform(0.88, 1.08)), float(rng.uniform(0.9, 1.08))
        )
        for n in sorted(set(names))
    }
    share = rng.uniform(0.24, 0.5) / max(len(names), 2.5)
    diameter = min(np.sqrt(share * height * width / 0.62), 0.6 * min(height, width))
    spread = np.log(SCALE_SPREAD)
    sprites = [
        render_sprite(
            rng, CLASSES[n], diameter * np.exp(rng.uniform(-spread, spread)), tints[n], light
        )
        for n in names
    ]
    overlap = float(rng.choice([0.0, 0.12, MAX_OVERLAP]))
    while True:
        solids = [s.solid for s in sprites]
        places = place(rng, solids, height, width, overlap=overlap, **PLACING)
        if places is not None:
            break
        sprites = [s.shrink(0.9) for s in sprites]

    canvas = background(rng, height, width, sprites)
    lift = float(rng.uniform(0.08, 0.26))
    top = np.full((height, width), -1, np.int16)
    for k, (sprite, (x, y)) in enumerate(zip(sprites, places, strict=True)):
        h, w = sprite.alpha.shape
        paste(canvas, sprite, x, y, light, lift * float(np.sqrt(h * w)))
        top[y : y + h, x : x + w][sprite.solid] = k
    instances = [
        Instance(n if n == repeated else DISTRACTOR, n, top == k, int(s.solid.sum()))
        for k, (n, s) in enumerate(zip(names, sprites, strict=True))
    ]
    return Scene(expose(rng, canvas, light), repeated, instances, int(rng.integers(80, 96)))
