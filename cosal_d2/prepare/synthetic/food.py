"""Fruit, vegetables and pastries."""

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


def _stem(c: Canvas, base: float, top: float, width: float = 0.09) -> None:
    lean = c.rng.uniform(-0.16, 0.16)
    curve = spline([[0, base], [lean * 0.3, (base + top) / 2], [lean, top]], closed=False)
    c.part(c.stroke(curve, width), c.paint(30, 0.55, 0.33), on_top=True)


def _blade(c: Canvas, x: float, y: float, length: float, turn: float, width: float = 0.36) -> None:
    """A small pointed leaf with its base at (x, y), `turn` degrees clockwise from right."""
    t = np.linspace(0, 1, 12)
    half = width * length * np.sin(np.pi * t) ** 0.8 * (1 - 0.3 * t)
    outline = np.concatenate(
        [np.stack([t * length, -half], 1), np.stack([t * length, half], 1)[::-1]]
    )
    a = np.deg2rad(turn)
    spin = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    c.part(c.mask(outline @ spin + [x, y]), c.paint(105, 0.65, 0.5), 0.5, on_top=True)
    c.blend(
        c.stroke(np.array([[0.05 * length, 0], [length * 0.9, 0]]) @ spin + [x, y], 0.025),
        c.paint(90, 0.4, 0.75),
        0.7,
    )


def _apple(c: Canvas, skin: Colour, blush: Colour) -> None:
    t = np.linspace(-np.pi, np.pi, 96, endpoint=False)
    t = np.roll(t, 48)
    dip = c.rng.uniform(0.12, 0.2)
    radius = 0.86 - dip * np.exp(-((t / 0.38) ** 2))
    radius -= 0.09 * np.exp(-(((np.abs(t) - np.pi) / 0.3) ** 2))
    radius += 0.04 * np.cos(2 * t + np.pi) + 0.02 * np.sin(t) * c.rng.uniform(-1, 1)
    body = c.part(c.mask(polar(radius, 0, 0.08)), c.paint(*skin))
    side = c.rng.uniform(-0.6, 0.6)
    warm = np.clip(1 - ((c.x - side) ** 2 + (c.y - 0.2) ** 2) / 0.7, 0, 1) * 0.75
    c.blend(body, c.paint(*blush), warm)
    c.mottle(body, 0.09, 0.5, 0.16, 0.05)
    c.blend(c.mask(ellipse(0, -0.55, 0.26, 0.12)), c.paint(skin[0], 0.8, skin[2] * 0.4), 0.55)
    _stem(c, -0.55, -0.98)
    if c.rng.random() < 0.75:
        _blade(c, 0.03, -0.75, c.rng.uniform(0.42, 0.6), c.rng.uniform(-35, 5))


def _pear(c: Canvas) -> None:
    w = c.rng.uniform(0.6, 0.68)
    right = [[0.16, -0.72], [0.29, -0.42], [0.4, -0.08], [w, 0.35], [0.5, 0.82], [0.15, 0.95]]
    outline = spline([*right, *[[-x, y] for x, y in right[::-1]]])
    body = c.part(c.mask(outline), c.paint(82, 0.6, 0.78))
    c.mottle(body, 0.08, 0.4, 0.05)
    _stem(c, -0.7, -1.0, 0.08)


def _citrus(c: Canvas, skin: Colour) -> None:
    t = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    nose = c.rng.uniform(0.13, 0.22)
    radius = 1 / np.sqrt((np.cos(t) / 0.8) ** 2 + (np.sin(t) / 0.62) ** 2)
    for centre in (0.0, np.pi):
        gap = np.abs((t - centre + np.pi) % (2 * np.pi) - np.pi)
        radius = radius + nose * np.exp(-((gap / 0.2) ** 2))
    body = c.part(c.mask(polar(radius, start=0)), c.paint(*skin))
    c.mottle(body, 0.09, 0.3, 0.035)
    c.blend(c.mask(ellipse(0.9, 0, 0.06, 0.07)), c.paint(60, 0.5, 0.45), 0.7)


def _orange(c: Canvas) -> None:
    body = c.part(c.mask(ellipse(0, 0, 0.95, 0.92)), c.paint(28, 0.88, 0.95))
    c.mottle(body, 0.1, 0.35, 0.04, 0.03)
    x, y = c.rng.uniform(-0.35, 0.35, 2)
    c.blend(c.mask(polar(np.tile([0.13, 0.05], 5), x, y)), c.paint(80, 0.6, 0.35), 0.9)


def _tomato(c: Canvas) -> None:
    t = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radius = 0.92 + 0.02 * np.cos(5 * t + c.rng.uniform(0, 6))
    body = c.part(c.mask(polar(radius) * [1, 0.92]), c.paint(7, 0.87, 0.83))
    c.mottle(body, 0.06, 0.6, 0.2)
    arms = int(c.rng.integers(5, 7))
    for k in range(arms):
        _blade(c, 0, -0.3, c.rng.uniform(0.36, 0.5), 360 / arms * k + c.rng.uniform(-12, 12), 0.17)


def _banana(c: Canvas) -> None:
    bend = c.rng.uniform(0.5, 0.66)
    t = np.linspace(-1, 1, 24)
    middle = np.stack([t * 0.93, bend * (0.9 - t**2 * 1.25)], 1)
    half = 0.24 * (1 - np.abs(t) ** 3.5) + 0.05
    outline = np.concatenate([middle - np.stack([0 * t, half], 1), (middle + [0, 0.02])[::-1]])
    outline[24:, 1] += half[::-1]
    body = c.part(c.mask(outline), c.paint(49, 0.78, 0.93), 0.9)
    c.blend(c.stroke(middle + [0, 0.03], 0.03), c.paint(42, 0.75, 0.72), 0.6)
    c.mottle(body, 0.06, 0.5, 0.1)
    ends = np.clip((np.abs(c.x) - 0.8) / 0.1, 0, 1)
    c.blend(body, c.paint(35, 0.6, 0.28), ends)
    for x in c.rng.uniform(-0.7, 0.7, int(c.rng.integers(0, 7))):
        y = bend * (0.9 - x * x * 1.25) + c.rng.uniform(-0.1, 0.1)
        c.blend(c.mask(ellipse(x, y, 0.04, 0.02)), c.paint(30, 0.6, 0.35), 0.7)


def _carrot(c: Canvas) -> None:
    for _ in range(5):
        curve = spline(
            [[0, -0.5], [c.rng.uniform(-0.15, 0.15), -0.75], [c.rng.uniform(-0.3, 0.3), -1.03]],
            closed=False,
        )
        c.part(c.stroke(curve, 0.1), c.paint(110, 0.7, c.rng.uniform(0.4, 0.6)))
    tip = c.rng.uniform(-0.12, 0.12)
    right = [[0.2, -0.58], [0.31, -0.4], [0.25, 0.1], [0.13 + tip * 0.5, 0.62]]
    left = [[-0.13 + tip * 0.5, 0.62], [-0.25, 0.1], [-0.31, -0.4], [-0.2, -0.58]]
    body = c.part(c.mask(spline([*right, [tip, 1.02], *left])), c.paint(22, 0.88, 0.92))
    c.mottle(body, 0.05, 0.3, 0.08)
    for y in np.arange(-0.4, 0.75, 0.15) + c.rng.uniform(-0.04, 0.04, 8):
        x = c.rng.uniform(-0.2, 0.1)
        line = np.array([[x, y], [x + 0.09, y + 0.02], [x + 0.18, y]])
        c.blend(c.stroke(line, 0.03), c.paint(18, 0.9, 0.6), 0.7)


def _strawberry(c: Canvas) -> None:
    right = [[0.42, -0.68], [0.76, -0.35], [0.66, 0.15], [0.34, 0.68]]
    outline = spline([[0, -0.62], *right, [0, 0.96], *[[-x, y] for x, y in right[::-1]]])
    body = c.part(c.mask(outline), c.paint(354, 0.85, 0.8))
    c.mottle(body, 0.06, 0.4, 0.1)
    for row, y in enumerate(np.arange(-0.4, 0.85, 0.2)):
        for x in np.arange(-0.75, 0.8, 0.25) + (row % 2) * 0.125:
            seed = ellipse(x + c.rng.uniform(-0.03, 0.03), y, 0.03, 0.05, n=12)
            c.blend(c.mask(seed), c.paint(47, 0.6, 0.92))
    for k in range(7):
        _blade(c, 0, -0.62, c.rng.uniform(0.36, 0.5), 180 / 6 * k + c.rng.uniform(-8, 8), 0.2)
    _stem(c, -0.62, -1.0, 0.08)


def _mushroom(c: Canvas, cap: Colour, spots: int) -> None:
    w = c.rng.uniform(0.2, 0.27)
    leg = [[w * 0.8, -0.1], [w * 0.85, 0.4], [w * 1.35, 0.85], [0.1, 0.97]]
    stalk = c.part(c.mask(spline([*leg, *[[-x, y] for x, y in leg[::-1]]])), c.paint(42, 0.16, 0.9))
    c.mottle(stalk, 0.06, 0.3, 0.06)
    right = [[0.45, -0.72], [0.86, -0.2], [0.84, 0.08], [0.4, 0.13]]
    outline = spline([[0, -0.88], *right, [0, 0.15], *[[-x, y] for x, y in right[::-1]]])
    head = c.part(c.mask(outline), c.paint(*cap))
    c.mottle(head, 0.06, 0.4, 0.1)
    for k in range(spots):
        x = -0.7 + 1.4 * (k + c.rng.uniform(0.2, 0.8)) / spots
        y = c.rng.uniform(-0.6 + 0.6 * x * x, -0.08)
        r = c.rng.uniform(0.07, 0.13)
        c.part(c.mask(ellipse(x, y, r, r * 0.8)), c.paint(45, 0.08, 0.95), 0.4, on_top=True)


def _donut(c: Canvas, icing: Colour) -> None:
    hole = c.rng.uniform(0.27, 0.34)
    c.part(c.mask(ellipse(0, 0, 0.96, 0.96), ellipse(0, 0, hole, hole)), c.paint(32, 0.62, 0.78))
    wave = 0.86 + 0.035 * np.sin(
        np.linspace(0, 2 * np.pi, 90) * c.rng.integers(6, 10) + c.rng.uniform(0, 6)
    )
    glaze = c.mask(polar(wave), ellipse(0, 0, hole + 0.05, hole + 0.05))
    c.part(glaze, c.paint(*icing), 0.35, 0.2, on_top=True)
    for _ in range(int(c.rng.integers(22, 36))):
        r, a, b = c.rng.uniform(hole + 0.16, 0.74), *c.rng.uniform(0, 2 * np.pi, 2)
        x, y = r * np.cos(a), r * np.sin(a)
        line = np.array([[x, y], [x + 0.1 * np.cos(b), y + 0.1 * np.sin(b)]])
        c.blend(c.stroke(line, 0.05), c.paint(c.rng.uniform(0, 360), 0.55, 0.97))


def _cookie(c: Canvas) -> None:
    t = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    radius = 0.93 + sum(
        c.rng.uniform(0.005, 0.015) * np.cos(k * t + c.rng.uniform(0, 6)) for k in (2, 3, 5, 7)
    )
    body = c.part(c.mask(polar(radius)), c.paint(31, 0.58, 0.76), 0.6, 0.3)
    c.mottle(body, 0.12, 0.3, 0.08, 0.04)
    for k in range(int(c.rng.integers(9, 14))):
        r, a = 0.78 * np.sqrt((k + 0.5) / 13), k * 2.4 + c.rng.uniform(-0.3, 0.3)
        chip = polar(c.rng.uniform(0.08, 0.14, 7), r * np.cos(a), r * np.sin(a))
        c.part(c.mask(spline(chip, steps=4)), c.paint(20, 0.6, 0.26), 0.6, on_top=True)


def _toast(c: Canvas) -> None:
    outline = rectangle(-0.74, -0.2, 0.74, 0.88, 0.12)
    slab = np.maximum(c.mask(outline), c.mask(ellipse(0, -0.32, 0.92, 0.52)))
    body = c.part(slab, c.paint(27, 0.66, 0.6), 0.6, 0.12)
    inner = np.maximum(
        c.mask(rectangle(-0.64, -0.2, 0.64, 0.78, 0.1)), c.mask(ellipse(0, -0.32, 0.8, 0.41))
    )
    c.blend(inner, c.paint(40, 0.32, 0.93))
    c.mottle(body, 0.09, 0.2, 0.05, 0.03)


FOOD: tuple[ObjectClass, ...] = (
    object_class(
        "red_apple",
        _apple,
        "apple",
        "red_fruit",
        gloss=0.4,
        skin=(356, 0.82, 0.72),
        blush=(8, 0.7, 0.86),
    ),
    object_class(
        "green_apple",
        _apple,
        "apple",
        "green_fruit",
        gloss=0.4,
        skin=(84, 0.7, 0.7),
        blush=(66, 0.6, 0.86),
    ),
    object_class("pear", _pear, "green_fruit", gloss=0.25),
    object_class("lemon", _citrus, "citrus", gloss=0.25, skin=(52, 0.82, 0.95)),
    object_class("lime", _citrus, "citrus", "green_fruit", gloss=0.25, skin=(94, 0.72, 0.6)),
    object_class("orange", _orange, "orange_thing", gloss=0.25),
    object_class("tomato", _tomato, "red_fruit", gloss=0.5),
    object_class("banana", _banana, "yellow_thing", span=1.15, gloss=0.2),
    object_class("carrot", _carrot, "orange_thing", span=1.3),
    object_class("strawberry", _strawberry, "red_fruit", gloss=0.4),
    object_class("red_mushroom", _mushroom, "mushroom", gloss=0.3, cap=(4, 0.84, 0.75), spots=6),
    object_class("brown_mushroom", _mushroom, "mushroom", cap=(26, 0.52, 0.5), spots=0),
    object_class("chocolate_donut", _donut, "donut", gloss=0.4, icing=(22, 0.62, 0.3)),
    object_class("pink_donut", _donut, "donut", gloss=0.4, icing=(338, 0.42, 0.93)),
    object_class("cookie", _cookie, "baked", gloss=0.05),
    object_class("toast", _toast, "baked", gloss=0.03),
)
