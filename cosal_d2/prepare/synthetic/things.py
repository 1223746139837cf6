"""Toys, tools, textiles and tableware."""

from __future__ import annotations

import numpy as np

from cosal_d2.prepare.synthetic.canvas import (
    Canvas,
    Colour,
    ObjectClass,
    ellipse,
    object_class,
    polar,
    rectangle,
    spline,
)


def _soft_step(field: np.ndarray, c: Canvas) -> np.ndarray:
    """0 to 1 where `field` (canonical length) changes sign, one pixel wide."""
    return np.clip(field * c.unit + 0.5, 0, 1)


def _ball(c: Canvas, pattern: str = "") -> None:
    body = c.part(c.mask(ellipse(0, 0, 0.95, 0.95)), c.paint(212, 0.75, 0.72))
    white = c.paint(45, 0.06, 0.96)
    if pattern == "stripes":
        curve = c.x * c.rng.uniform(0.25, 0.4) * c.x + c.y
        period = c.rng.uniform(0.42, 0.5)
        phase = (curve + c.rng.uniform(0, period)) % period
        c.blend(body, white, _soft_step(period / 4 - np.abs(phase - period / 2), c))
    elif pattern == "dots":
        step = c.rng.uniform(0.42, 0.48)
        for row in range(-2, 3):
            for column in range(-2, 3):
                x, y = (column + (row % 2) / 2) * step, row * step * 0.87
                c.blend(c.mask(ellipse(x, y, 0.12, 0.12, n=24)), white)
    c.mottle(body, 0.025, 0.4, 0.1)


def _cushion(
    c: Canvas, outline: np.ndarray, colour: Colour = (46, 0.72, 0.92), pattern: str = ""
) -> None:
    shape = outline * c.rng.uniform(0.93, 1.0, (1, 2))
    body = c.part(c.mask(shape), c.paint(*colour), 0.55)
    light = c.paint(colour[0], colour[1] * 0.25, 0.95)
    if pattern == "checks":
        step = c.rng.uniform(0.34, 0.42)
        for axis in (c.x, c.y):
            phase = axis % step
            c.blend(body, light, 0.62 * _soft_step(step / 4 - np.abs(phase - step / 2), c))
    elif pattern == "stripes":
        step = c.rng.uniform(0.34, 0.42)
        c.blend(body, light, 0.85 * _soft_step(step / 4 - np.abs(c.x % step - step / 2), c))
    c.mottle(body, 0.06, 0.3, 0.03)
    c.blend(c.stroke(shape * 0.86, 0.03, closed=True), c.paint(colour[0], colour[1], 0.5), 0.45)


def _pillow(c: Canvas, pattern: str = "") -> None:
    _cushion(c, _SQUARE, (352, 0.68, 0.74), pattern)


def _mug(c: Canvas, glaze: Colour) -> None:
    handle = c.mask(ellipse(0.55, 0.08, 0.44, 0.46), ellipse(0.55, 0.08, 0.27, 0.29))
    c.part(handle, c.paint(*glaze))
    taper = c.rng.uniform(0.0, 0.1)
    wall = spline(
        [[-0.82, -0.62], [-0.8 + taper, 0.6], [-0.42, 0.9], [0.22, 0.9], [0.56 - taper, 0.6]]
        + [[0.58, -0.62], [-0.12, -0.52]]
    )
    body = c.part(c.mask(wall), c.paint(*glaze), 0.9)
    c.mottle(body, 0.03, 0.4)
    rim = ellipse(-0.12, -0.66, 0.71, 0.25)
    c.part(c.mask(rim), c.paint(glaze[0], glaze[1] * 0.6, min(1, glaze[2] * 1.25)), 0.2, 0.06)
    c.blend(c.mask(ellipse(-0.12, -0.65, 0.61, 0.19)), c.paint(28, 0.65, 0.22))
    c.blend(c.mask(ellipse(-0.12, -0.6, 0.5, 0.13)), c.paint(28, 0.6, 0.34))


def _bottle(c: Canvas, glass: Colour) -> None:
    w, shoulder = c.rng.uniform(0.34, 0.4), c.rng.uniform(-0.25, -0.1)
    right = [[0.13, -0.92], [0.13, -0.5], [w, shoulder], [w, 0.4], [w, 0.88], [w * 0.8, 0.98]]
    outline = spline([*right, *[[-x, y] for x, y in right[::-1]]])
    body = c.part(c.mask(outline), c.paint(*glass), 0.9)
    c.mottle(body, 0.04, 0.4)
    label = c.mask(rectangle(-w - 0.1, shoulder + 0.22, w + 0.1, 0.72))
    c.blend(label, c.paint(44, 0.2, 0.92))
    c.blend(c.mask(rectangle(-w - 0.1, 0.32, w + 0.1, 0.42)), c.paint(glass[0], 0.7, 0.5))
    c.blend(c.mask(ellipse(0, 0.1 + shoulder / 2, 0.14, 0.12)), c.paint(glass[0], 0.7, 0.5))
    c.part(c.mask(rectangle(-0.16, -1.03, 0.16, -0.78, 0.05)), c.paint(45, 0.65, 0.75), on_top=True)


def _slab(c: Canvas, material: str) -> None:
    h = c.rng.uniform(0.47, 0.54)
    shape = c.mask(rectangle(-0.97, -h, 0.97, h, 0.05))
    body = c.part(shape, c.paint(16, 0.6, 0.66), 0.6, 0.07)
    if material == "wood":
        drift = 0.06 * np.sin(c.x * c.rng.uniform(1.5, 3) + c.rng.uniform(0, 6))
        rings = 0.5 + 0.5 * np.sin((c.y + drift) * c.rng.uniform(26, 36))
        c.blend(body, c.paint(20, 0.7, 0.42), 0.65 * rings)
        c.mottle(body, 0.06, 0.6, 0.1)
        knot = ellipse(c.rng.uniform(-0.6, 0.6), c.rng.uniform(-0.2, 0.2), 0.12, 0.07)
        c.blend(c.mask(knot), c.paint(18, 0.7, 0.3), 0.8)
    else:
        c.mottle(body, 0.14, 0.3, 0.06, 0.03)
        for x in (-0.55, 0.0, 0.55):
            hole = c.mask(ellipse(x, 0, 0.16, 0.16, n=32))
            c.blend(hole, c.paint(16, 0.6, 0.22), 0.9)


def _die(c: Canvas) -> None:
    c.part(c.mask(rectangle(-0.86, -0.86, 0.86, 0.86, 0.24)), c.paint(48, 0.07, 0.93), 0.5, 0.2)
    n = int(c.rng.integers(1, 7))
    spots = [(0, 0)] if n % 2 else []
    if n > 1:
        spots += [(-1, -1), (1, 1)]
    if n > 3:
        spots += [(-1, 1), (1, -1)]
    if n == 6:
        spots += [(-1, 0), (1, 0)]
    for x, y in spots:
        c.blend(c.mask(ellipse(x * 0.46, y * 0.46, 0.16, 0.16, n=32)), c.paint(220, 0.2, 0.12))


def _key(c: Canvas) -> None:
    brass = c.paint(42, 0.55, 0.78)
    r = c.rng.uniform(0.36, 0.42)
    bow = c.mask(ellipse(0, -0.6, r, r), ellipse(0, -0.66, r * 0.5, r * 0.45))
    shaft = c.mask(rectangle(-0.11, -0.28, 0.11, 0.98, 0.06))
    for k in range(int(c.rng.integers(2, 4))):
        y = 0.9 - 0.24 * k
        reach = c.rng.uniform(0.3, 0.46)
        shaft = np.maximum(shaft, c.mask(rectangle(0, y - 0.15, reach, y, 0.02)))
    body = c.part(np.maximum(bow, shaft), brass, 0.8, 0.07)
    c.mottle(body, 0.08, 0.4, 0.08)


def _nut(c: Canvas, kind: str) -> None:
    if kind == "gear":
        teeth = int(c.rng.integers(9, 12))
        t = np.linspace(0, 2 * np.pi, teeth * 16, endpoint=False)
        outline = polar(0.83 + 0.13 * np.clip(2.6 * np.sin(t * teeth), -1, 1))
    else:
        outline = polar(np.full(6, 0.98))
    hole = c.rng.uniform(0.36, 0.42)
    body = c.part(c.mask(outline, ellipse(0, 0, hole, hole)), c.paint(214, 0.1, 0.66), 0.7, 0.1)
    c.blend(c.stroke(ellipse(0, 0, 0.56, 0.56), 0.04, closed=True), c.paint(214, 0.1, 0.4), 0.7)
    c.mottle(body, 0.08, 0.6, 0.1)


def _coin(c: Canvas) -> None:
    gold = c.paint(43, 0.58, 0.82)
    body = c.part(c.mask(ellipse(0, 0, 0.95, 0.95)), gold, 0.5, 0.06)
    c.part(c.mask(ellipse(0, 0, 0.95, 0.95), ellipse(0, 0, 0.8, 0.8)), gold, 0.5, 0.07, on_top=True)
    star = polar(np.tile([0.55, 0.24], 5)) * c.rng.uniform(0.9, 1.05)
    c.part(c.mask(star), c.paint(43, 0.5, 0.9), 0.6, 0.1, on_top=True)
    c.mottle(body, 0.07, 0.3, 0.06)


def _pencil(c: Canvas) -> None:
    c.part(c.mask(np.array([[-0.17, 0.6], [0.17, 0.6], [0.0, 1.05]])), c.paint(34, 0.4, 0.88))
    body = c.part(c.mask(rectangle(-0.17, -0.78, 0.17, 0.62)), c.paint(46, 0.85, 0.9))
    c.blend(c.mask(rectangle(-0.06, -0.8, 0.06, 0.62)), c.paint(48, 0.7, 1.0), 0.6)
    c.part(c.mask(rectangle(-0.18, -0.88, 0.18, -0.7)), c.paint(210, 0.06, 0.75))
    c.part(c.mask(rectangle(-0.17, -1.05, 0.17, -0.86, 0.08)), c.paint(350, 0.5, 0.85))
    c.blend(c.mask(np.array([[-0.06, 0.9], [0.06, 0.9], [0, 1.05]])), c.paint(220, 0.2, 0.12))
    c.mottle(body, 0.04, 0.3)


_T = np.linspace(0, 2 * np.pi, 80, endpoint=False)
_HEART = np.stack(
    [
        0.94 * np.sin(_T) ** 3,
        -(13 * np.cos(_T) - 5 * np.cos(2 * _T) - 2 * np.cos(3 * _T) - np.cos(4 * _T)) / 16.5 - 0.08,
    ],
    1,
)
_STAR = spline(polar(np.tile([0.98, 0.52], 5)), steps=5)
_MOON_IN = np.deg2rad(np.linspace(128, -128, 50))
_MOON = np.concatenate(
    [
        0.95 * np.stack([-np.cos(_MOON_IN * 140 / 128), np.sin(_MOON_IN * 140 / 128)], 1),
        np.stack([0.36 - 0.6 * np.cos(-_MOON_IN), -0.76 * np.sin(_MOON_IN)], 1),
    ]
)
_SQUARE = spline(
    [[-0.92, -0.92], [0, -0.84], [0.92, -0.92], [0.84, 0]]
    + [[0.92, 0.92], [0, 0.84], [-0.92, 0.92], [-0.84, 0]]
)
_FELT = ("felt", "yellow_thing")

THINGS: tuple[ObjectClass, ...] = (
    object_class("plain_ball", _ball, "ball", gloss=0.5),
    object_class("striped_ball", _ball, "ball", gloss=0.5, pattern="stripes"),
    object_class("dotted_ball", _ball, "ball", gloss=0.5, pattern="dots"),
    object_class("star_cushion", _cushion, *_FELT, gloss=0.03, outline=_STAR),
    object_class("heart_cushion", _cushion, *_FELT, gloss=0.03, outline=_HEART),
    object_class("moon_cushion", _cushion, *_FELT, gloss=0.03, outline=_MOON),
    object_class("plain_pillow", _pillow, "pillow", gloss=0.03),
    object_class("checked_pillow", _pillow, "pillow", gloss=0.03, pattern="checks"),
    object_class("striped_pillow", _pillow, "pillow", gloss=0.03, pattern="stripes"),
    object_class("red_mug", _mug, "mug", gloss=0.5, turn=35, glaze=(2, 0.78, 0.72)),
    object_class("blue_mug", _mug, "mug", gloss=0.5, turn=35, glaze=(216, 0.7, 0.66)),
    object_class("green_bottle", _bottle, "bottle", span=1.25, gloss=0.6, glass=(130, 0.65, 0.42)),
    object_class("brown_bottle", _bottle, "bottle", span=1.25, gloss=0.6, glass=(24, 0.72, 0.4)),
    object_class("brick", _slab, "slab", span=1.1, gloss=0.02, material="clay"),
    object_class("wooden_block", _slab, "slab", span=1.1, gloss=0.1, material="wood"),
    object_class("die", _die, gloss=0.3),
    object_class("key", _key, "brass", span=1.3, gloss=0.6),
    object_class("coin", _coin, "brass", gloss=0.5),
    object_class("gear", _nut, "steel", gloss=0.5, kind="gear"),
    object_class("hex_nut", _nut, "steel", gloss=0.5, kind="hexagon"),
    object_class("pencil", _pencil, "yellow_thing", span=1.45, gloss=0.3),
)
