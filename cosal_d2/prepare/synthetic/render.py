"""One synthetic scene: which objects, how large and where; and a series of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cosal_d2.prepare.scene import Scene, SceneOptions, place, placed_instances
from cosal_d2.prepare.series import DatasetSpec, write_series
from cosal_d2.prepare.synthetic.camera import background, expose, paste
from cosal_d2.prepare.synthetic.canvas import Tint
from cosal_d2.prepare.synthetic.catalogue import CLASSES, draw_class
from cosal_d2.prepare.synthetic.sprite import Light, render_sprite
from cosal_d2.utils.coco import DISTRACTOR

SIZES = ((450, 256), (808, 1078))  # smallest and largest (width, height) of the paper's set
SCALE_SPREAD = np.sqrt(2.0)  # an object's scale is within this factor of the scene's
MAX_OVERLAP = 0.30  # of the smaller of two objects
PLACING = {"max_hidden": 0.38, "margin": 2, "tries": 50, "step": 2}


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """(height, width) within `SIZES`, of a usual aspect ratio, upright or lying."""
    (w0, h0), (w1, h1) = SIZES
    while True:
        ratio = rng.choice([4 / 3, 3 / 2, 16 / 9, 1.0], p=[0.4, 0.3, 0.2, 0.1])
        width = float(rng.uniform(w0, w1))
        height = width / ratio if rng.random() < 0.6 else width * ratio
        if h0 <= height <= h1:
            return round(height), round(width)


def _choose(rng: np.random.Generator, options: SceneOptions) -> tuple[list[str], list[str]]:
    """The repeated classes, and the classes of all objects in random order."""
    singles = int(rng.integers(options.distractors[0], options.distractors[1] + 1))
    repeated: list[str] = []
    names: list[str] = []
    for _ in range(options.groups):
        repeated.append(draw_class(rng, repeated, None))
        names += repeated[-1:] * int(rng.integers(options.objects[0], options.objects[1] + 1))
    for _ in range(singles):
        others = repeated or names
        like = others[int(rng.integers(len(others)))] if others else None
        names.append(draw_class(rng, names, like))
    return repeated, [names[i] for i in rng.permutation(len(names))]


def render_scene(seed: int, index: int, options: SceneOptions | None = None) -> Scene:
    """Draw scene number `index` of the series `seed`, a pure function of its arguments.

    Args:
        seed, index: non-negative integers.
        options: counts and size.

    Returns:
        A `Scene`. Groups and distractors come from the same distributions of scale, light, position
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
    for sprite, (x, y) in zip(sprites, places, strict=True):
        h, w = sprite.alpha.shape
        paste(canvas, sprite, x, y, light, lift * float(np.sqrt(h * w)))
    instances = placed_instances(names, repeated, solids, places, height, width)
    return Scene(expose(rng, canvas, light), instances, int(rng.integers(80, 96)))


def write_dataset(
    spec: DatasetSpec, workers: int | None = None, overwrite: bool = False, progress: bool = False
) -> Path:
    """Draw and write a series of scenes; arguments, result and errors are `write_series`'s."""
    draw = partial(render_scene, spec.seed, options=spec.options)
    description = f"Synthetic co-saliency scenes, seed {spec.seed}"
    return write_series(
        spec, draw, [*CLASSES, DISTRACTOR], description, workers, overwrite, progress
    )
