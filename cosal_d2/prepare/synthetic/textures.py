"""Backgrounds: textured grounds of low contrast with blurred clutter."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from cosal_d2.prepare.synthetic.noise import octave_noise, spread, value_noise

Ground = Callable[[np.random.Generator, int, int, np.ndarray], np.ndarray]


def _modulate(base: np.ndarray, *fields: np.ndarray) -> np.ndarray:
    """Base colour times 1 + the sum of the fields; float32 (H, W, 3)."""
    factor = np.clip(1 + sum(fields), 0.2, 1.8)
    return spread(factor, base) if base.ndim == 1 else spread(factor) * base


def _two_tone(base: np.ndarray, rng: np.random.Generator, field: np.ndarray) -> np.ndarray:
    """Base colour drifting to a neighbouring one with `field` (about -1 to 1)."""
    other = np.clip(base * rng.uniform(0.75, 1.25, 3), 0, 255)
    return spread(np.clip(0.5 + 0.35 * field, 0, 1), other - base) + base


def _plaster(rng: np.random.Generator, h: int, w: int, base: np.ndarray) -> np.ndarray:
    size = max(h, w)
    broad = octave_noise(rng, h, w, [size / 3, size / 8, size / 20])
    fine = octave_noise(rng, h, w, [size / 60, 4, 1.5], 0.8)
    return _modulate(_two_tone(base, rng, broad), 0.07 * broad, rng.uniform(0.03, 0.08) * fine)


def _wood(rng: np.random.Generator, h: int, w: int, base: np.ndarray) -> np.ndarray:
    upright = rng.random() < 0.5
    if upright:
        h, w = w, h
    plank = max(h, w) / rng.uniform(4, 9)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    row = (y / plank).astype(np.int32)
    planks = int(row.max()) + 1
    drift = value_noise(rng, h, w, (plank / 2, w / 3)) * plank * 0.12
    rings = np.sin((y + drift) * np.float32(rng.uniform(14, 26) / plank) + row * 7)
    fibre = value_noise(rng, h, w, (1.6, w / rng.uniform(6, 20)))
    tone = rng.normal(0, 0.09, planks).astype(np.float32)[row]
    gap = np.minimum(y % plank, plank - y % plank)
    ends = rng.uniform(0, w, planks).astype(np.float32)[row]
    gap = np.minimum(gap, np.abs(x - ends))
    seam = -0.5 * np.exp(-((gap / max(1.2, plank * 0.012)) ** 2))
    ground = _modulate(base, tone, 0.05 * rings, 0.07 * fibre, seam)
    return ground.transpose(1, 0, 2).copy() if upright else ground


def _fabric(rng: np.random.Generator, h: int, w: int, base: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    thread = rng.uniform(3.5, 7)
    warp = np.sin(x * np.float32(2 * np.pi / thread)) * np.sin(y * np.float32(2 * np.pi / thread))
    size = max(h, w)
    folds = octave_noise(rng, h, w, [size / 2, size / 5])
    fields = [0.07 * warp, 0.11 * folds, 0.04 * value_noise(rng, h, w, 2)]
    if rng.random() < 0.4:
        step = size / rng.uniform(6, 14)
        bend = folds * step * 0.06
        for axis in (x, y):
            band = np.clip((np.abs((axis + bend) % step / step - 0.5) - 0.25) * step + 0.5, 0, 1)
            fields.append(rng.uniform(-0.1, 0.1) * band)
    return _modulate(base, *fields)


def _grass(rng: np.random.Generator, h: int, w: int, base: np.ndarray) -> np.ndarray:
    size = max(h, w)
    broad = octave_noise(rng, h, w, [size / 4, size / 12, size / 40, 3], 0.75)
    ground = np.clip(_modulate(base * 0.7, 0.22 * broad), 0, 255).astype(np.uint8)
    blades = int(min(2600, h * w / 160))
    foot = rng.uniform(0, [w, h], (blades, 2))
    foot = foot[np.argsort(foot[:, 1])]
    length = size * rng.uniform(0.015, 0.05, (blades, 1))
    tip = foot + length * np.stack([rng.normal(0, 0.5, blades), -np.ones(blades)], 1)
    tone = base * rng.uniform(0.62, 1.22, (blades, 1)) * rng.uniform(0.9, 1.1, (blades, 3))
    ends = np.round(np.stack([foot, tip], 1) * 16).astype(np.int32)
    for (a, b), colour in zip(ends.tolist(), np.clip(tone, 0, 255).tolist(), strict=True):
        cv2.line(ground, a, b, colour, 1, cv2.LINE_AA, 4)
    return ground.astype(np.float32)


def _tiles(rng: np.random.Generator, h: int, w: int, base: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    turn = rng.choice([0.0, np.pi / 4, rng.uniform(-0.2, 0.2)])
    step = max(h, w) / rng.uniform(3.5, 9)
    u = (x * np.cos(turn) + y * np.sin(turn)).astype(np.float32) / np.float32(step) + 40
    v = (y * np.cos(turn) - x * np.sin(turn)).astype(np.float32) / np.float32(step) + 40
    if rng.random() < 0.4:  # a bond like a wall's
        v *= 2
        u = u + 0.5 * (np.floor(v) % 2)
    column, row = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    tone = rng.normal(0, 0.05, 4096).astype(np.float32)[(column * 61 + row * 17) & 4095]
    edge = np.minimum(np.abs(u - column - 0.5), 9)
    edge = np.maximum(edge, np.abs(v - row - 0.5))
    grout = np.clip((edge - 0.475) / 0.02, 0, 1) * rng.uniform(-0.3, 0.2)
    size = max(h, w)
    stain = octave_noise(rng, h, w, [size / 4, size / 15, size / 50, 2])
    return _modulate(base, tone, grout, 0.06 * stain)


def _pebbles(rng: np.random.Generator, h: int, w: int, base: np.ndarray) -> np.ndarray:
    size = max(h, w)
    ground = np.clip(_modulate(base * 0.55, 0.1 * value_noise(rng, h, w, 3)), 0, 255)
    ground = ground.astype(np.uint8)
    mean = size * rng.uniform(0.016, 0.03)
    count = int(min(1300, 0.9 * h * w / mean**2))
    places = rng.uniform(0, [w, h], (count, 2))
    radii = mean * rng.uniform(0.45, 1.2, (count, 2))
    turns = rng.uniform(0, 180, count)
    tones = base * rng.normal(1, 0.13, (count, 1)) * rng.normal(1, 0.03, (count, 3))
    centres = np.round(places * 16).astype(int)
    layers = [
        (
            (centres + shift).tolist(),
            np.maximum(1, radii * (16 * shrink)).astype(int).tolist(),
            np.clip(tones * light, 0, 255).tolist(),
        )
        for shrink, shift, light in ((1.0, 0, 0.72), (0.84, -4, 1.0), (0.45, -14, 1.09))
    ]
    for k, turn in enumerate(turns.tolist()):
        for centre, axes, colour in layers:
            spot = centre[k], axes[k], turn, 0, 360, colour[k]
            cv2.ellipse(ground, *spot, -1, cv2.LINE_AA, 4)
    grain = value_noise(rng, h, w, 1.5)
    return _modulate(ground.astype(np.float32), 0.04 * grain)


def _table(rng: np.random.Generator, h: int, w: int, base: np.ndarray) -> np.ndarray:
    """A table before a wall: a soft horizon between two gradients."""
    y = np.arange(h, dtype=np.float32)[:, None]
    x = np.arange(w, dtype=np.float32)[None]
    tilt = rng.uniform(-0.05, 0.05) * (x - w / 2)
    horizon = rng.uniform(0.12, 0.4) * h
    share = np.clip((y + tilt - horizon) / (h * rng.uniform(0.01, 0.08)) + 0.5, 0, 1)
    wall = base * rng.uniform(0.7, 1.15) * rng.uniform(0.85, 1.15, 3)
    size = max(h, w)
    noise = octave_noise(rng, h, w, [size / 3, size / 10, 3, 1.5], 0.7)
    slope = 0.16 * rng.choice([-1, 1]) * (y / h - 0.5) + 0 * x
    return _modulate(spread(share, base - wall) + wall.astype(np.float32), 0.05 * noise, slope)


# Ground, weight, ranges of hue (degrees), saturation and value.
GROUNDS: dict[str, tuple[Ground, float, tuple, tuple, tuple]] = {
    "plaster": (_plaster, 1.5, (0, 360), (0.03, 0.3), (0.35, 0.85)),
    "wood": (_wood, 2.0, (15, 38), (0.25, 0.6), (0.3, 0.8)),
    "fabric": (_fabric, 1.5, (0, 360), (0.05, 0.5), (0.25, 0.85)),
    "grass": (_grass, 1.2, (65, 115), (0.35, 0.65), (0.35, 0.65)),
    "tiles": (_tiles, 1.3, (0, 360), (0.03, 0.3), (0.45, 0.88)),
    "pebbles": (_pebbles, 1.2, (15, 50), (0.05, 0.3), (0.45, 0.75)),
    "table": (_table, 1.3, (0, 360), (0.05, 0.4), (0.3, 0.8)),
}


def clutter(rng: np.random.Generator, ground: np.ndarray) -> np.ndarray:
    """Add out-of-focus blobs, strokes and shadows of low contrast.

    Args:
        ground: float32 (H, W, 3) BGR, 0 to 255.

    Returns:
        float32 (H, W, 3), not clipped.
    """
    h, w = ground.shape[:2]
    small_h, small_w = max(2, -(-h // 4)), max(2, -(-w // 4))
    layer = np.full((small_h, small_w, 3), 128, np.uint8)
    size = max(small_h, small_w)
    for _ in range(int(rng.integers(6, 22))):
        tone = 128 + rng.uniform(-26, 26) + rng.uniform(-9, 9, 3)
        x, y = int(rng.uniform(0, small_w)), int(rng.uniform(0, small_h))
        reach = rng.uniform(0.03, 0.14) * size
        if rng.random() < 0.55:
            axes = (int(reach) + 1, int(reach * rng.uniform(0.4, 1)) + 1)
            turn = float(rng.uniform(0, 180))
            cv2.ellipse(layer, (x, y), axes, turn, 0, 360, tone.tolist(), -1, cv2.LINE_AA)
        else:
            steps = rng.normal(0, reach, (5, 2)).cumsum(0) + [x, y]
            thick = int(rng.integers(1, max(2, round(0.02 * size)) + 1))
            points = [np.round(steps).astype(np.int32)]
            cv2.polylines(layer, points, False, tone.tolist(), thick, cv2.LINE_AA)
    layer = cv2.GaussianBlur(layer, (0, 0), size * rng.uniform(0.006, 0.022))
    soft = np.full((small_h, small_w), 255, np.uint8)
    for _ in range(int(rng.integers(0, 3))):
        corner = rng.uniform(-0.3, 1.3, (4, 2)) * [small_w, small_h]
        cv2.fillPoly(soft, [cv2.convexHull(np.round(corner).astype(np.int32))], 205, cv2.LINE_AA)
    soft = cv2.GaussianBlur(soft, (0, 0), size * rng.uniform(0.02, 0.05))
    factor = layer.astype(np.float32) * spread(soft.astype(np.float32) / (128 * 255))
    return ground * cv2.resize(factor, (w, h), interpolation=cv2.INTER_LINEAR)
