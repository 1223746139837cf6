"""Pictures to try the page with: scenes that are drawn, so that none has to be shipped."""

from __future__ import annotations

import numpy as np

from cosal_d2.prepare.synthetic import SceneOptions, render_scene

SEED = 17
SIZE = (360, 480)
OPTIONS = (
    SceneOptions(objects=(4, 4), distractors=(2, 2), size=SIZE),
    SceneOptions(objects=(6, 6), distractors=(1, 1), size=SIZE),
    SceneOptions(objects=(3, 3), distractors=(1, 1), groups=2, size=SIZE),
    SceneOptions(distractors=(4, 4), groups=0, size=SIZE),
)


def draw_examples() -> list[np.ndarray]:
    """One scene with a group, a larger group, two groups and none: uint8 BGR (360, 480, 3)."""
    return [render_scene(SEED, i, options).image for i, options in enumerate(OPTIONS)]
