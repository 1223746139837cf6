"""Leaves, flowers and animals."""

from __future__ import annotations

import numpy as np

from cosal_d2.prepare.synthetic.canvas import (
    Canvas,
    Colour,
    ObjectClass,
    ellipse,
    object_class,
    spline,
)


def _leaf(c: Canvas, blade: Colour, vein: Colour) -> None:
    c.part(c.stroke(np.array([[0, 0.6], [c.rng.uniform(-0.1, 0.1), 1.03]]), 0.07), c.paint(*vein))
    w = c.rng.uniform(0.5, 0.62)
    t = np.linspace(0, 1, 30)
    half = w * np.sin(np.pi * t**0.85) ** 0.9 * (1 + 0.05 * np.sin(t * 60))
    side = np.stack([half, -1 + 1.75 * t], 1)
    body = c.part(c.mask(np.concatenate([side, side[::-1] * [-1, 1]])), c.paint(*blade), 0.35)
    c.mottle(body, 0.13, 0.5, 0.15, 0.05)
    c.blend(c.stroke(np.array([[0, -0.95], [0, 0.75]]), 0.045), c.paint(*vein), 0.9)
    for y in np.arange(-0.6, 0.65, 0.22):
        for s in (-1, 1):
            line = np.array([[0, y + 0.1], [s * w * 0.5, y - 0.05], [s * w * 0.9, y - 0.25]])
            c.blend(c.stroke(line, 0.025), c.paint(*vein), 0.7)


def _flower(c: Canvas, petal: Colour) -> None:
    n = int(c.rng.integers(7, 10))
    for k in c.rng.permutation(n):
        a = 360 / n * k + c.rng.uniform(-4, 4)
        x, y = 0.6 * np.cos(np.deg2rad(a)), 0.6 * np.sin(np.deg2rad(a))
        shade = c.rng.uniform(0.9, 1.05)
        leaf = c.part(
            c.mask(ellipse(x, y, 0.42, 0.25, a)), c.paint(petal[0], petal[1], petal[2] * shade), 0.4
        )
        c.mottle(leaf, 0.05, 0.2, 0.05)
        c.blend(
            c.stroke(np.array([[0.3 * x, 0.3 * y], [1.3 * x, 1.3 * y]]), 0.03),
            c.paint(petal[0], petal[1], petal[2] * 0.7),
            0.4,
        )
    heart = c.part(c.mask(ellipse(0, 0, 0.3, 0.3)), c.paint(28, 0.8, 0.5), 0.6, on_top=True)
    c.mottle(heart, 0.25, 0.06, 0.04)


def _fish(c: Canvas, scales: Colour) -> None:
    fin = c.paint(scales[0] - 8, scales[1], scales[2] * 0.8)
    c.part(c.mask(spline([[0.5, 0], [0.98, -0.45], [0.86, 0], [0.98, 0.45]])), fin, 0.3)
    c.part(c.mask(spline([[-0.3, -0.3], [0.1, -0.72], [0.4, -0.5], [0.35, -0.2]])), fin, 0.3)
    belly = c.rng.uniform(0.42, 0.5)
    body = c.part(
        c.mask(
            spline(
                [
                    [-0.95, 0.02],
                    [-0.5, -belly],
                    [0.1, -belly],
                    [0.65, -0.1],
                    [0.65, 0.1],
                    [0.1, belly],
                    [-0.5, belly],
                ]
            )
        ),
        c.paint(*scales),
        0.7,
    )
    c.blend(body, c.paint(scales[0] + 15, 0.25, 0.95), np.clip(c.y * 1.6, 0, 0.8))
    arcs = np.abs(np.sin((c.x + 0.12 * np.sin(c.y * 24)) * 16))
    c.blend(body, fin, 0.5 * np.clip(1 - arcs * 2.2, 0, 1) * (c.x > -0.45))
    c.part(c.mask(spline([[-0.2, 0.08], [0.22, 0.1], [0.12, 0.32]])), fin, 0.3, on_top=True)
    c.blend(c.stroke(spline([[-0.5, -0.32], [-0.42, 0], [-0.5, 0.32]], False), 0.04), fin, 0.8)
    c.blend(c.mask(ellipse(-0.66, -0.1, 0.1, 0.1)), c.paint(50, 0.1, 0.97))
    c.blend(c.mask(ellipse(-0.67, -0.1, 0.055, 0.055)), c.paint(220, 0.3, 0.08))


def _butterfly(c: Canvas) -> None:
    colour, dark = c.paint(276, 0.55, 0.72), c.paint(270, 0.5, 0.18)
    w = c.rng.uniform(0.92, 1.0)
    for s in (-1, 1):
        for points in (
            [[0.04, 0.1], [0.5, 0.1], [0.72 * w, 0.5], [0.45, 0.88], [0.12, 0.5]],
            [[0.04, -0.1], [0.35, -0.7], [0.9 * w, -0.85], [w, -0.4], [0.6, 0.1], [0.05, 0.15]],
        ):
            outline = spline(points) * [s, 1]
            wing = c.part(c.mask(outline), dark, 0.2, 0.2)
            centre = outline.mean(0)
            c.blend(c.mask((outline - centre) * 0.8 + centre), colour)
            c.blend(c.mask(ellipse(*(centre + [s * 0.12, 0]), 0.12, 0.12)), c.paint(40, 0.6, 0.95))
            c.mottle(wing, 0.06, 0.2, 0.05)
    c.part(c.mask(ellipse(0, 0.02, 0.08, 0.56)), dark, on_top=True)


NATURE: tuple[ObjectClass, ...] = (
    object_class(
        "green_leaf", _leaf, "leaf", span=1.1, blade=(112, 0.66, 0.52), vein=(85, 0.4, 0.75)
    ),
    object_class(
        "autumn_leaf", _leaf, "leaf", span=1.1, blade=(22, 0.8, 0.75), vein=(14, 0.7, 0.45)
    ),
    object_class("red_flower", _flower, "flower", gloss=0.05, petal=(352, 0.76, 0.86)),
    object_class("yellow_flower", _flower, "flower", gloss=0.05, petal=(52, 0.78, 0.96)),
    object_class("orange_fish", _fish, "fish", span=1.1, gloss=0.35, scales=(24, 0.82, 0.93)),
    object_class("blue_fish", _fish, "fish", span=1.1, gloss=0.35, scales=(206, 0.68, 0.78)),
    object_class("butterfly", _butterfly, gloss=0.05),
)
