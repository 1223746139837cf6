"""Composition of sprites on a background, and the camera."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from cosal_d2.prepare.synthetic.noise import spread
from cosal_d2.prepare.synthetic.sprite import Light, Sprite
from cosal_d2.prepare.synthetic.textures import GROUNDS, clutter

CONTRAST = 32.0  # smallest wanted Lab distance of an object's mean colour from the background's
CANDIDATES = 10  # backgrounds drawn before the best of them is taken


def _lab(bgr: np.ndarray) -> np.ndarray:
    pixel = np.clip(bgr, 0, 255).astype(np.float32).reshape(1, 1, 3) / 255
    return cv2.cvtColor(pixel, cv2.COLOR_BGR2LAB).reshape(3)


def background(
    rng: np.random.Generator, height: int, width: int, sprites: list[Sprite]
) -> np.ndarray:
    """Draw a cluttered ground from which every object stands out by `CONTRAST`, if one is found.

    Returns:
        float32 (height, width, 3) BGR, about 0 to 255.
    """
    colours = [_lab(np.array(cv2.mean(s.colour, s.alpha)[:3])) for s in sprites]
    names = list(GROUNDS)
    weights = np.array([GROUNDS[n][1] for n in names])
    best, choice = -1.0, (names[0], np.full(3, 128.0, np.float32))
    for _ in range(CANDIDATES):
        name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        hue, saturation, value = (float(rng.uniform(*r)) for r in GROUNDS[name][2:])
        r, g, b = colorsys.hsv_to_rgb(hue / 360, saturation, value)
        base = np.array([b, g, r], np.float32) * 255
        lab = _lab(base)
        gap = min((float(np.linalg.norm(c - lab)) for c in colours), default=CONTRAST)
        if gap > best:
            best, choice = gap, (name, base)
        if gap >= CONTRAST:
            break
    draw = GROUNDS[choice[0]][0]
    return clutter(rng, draw(rng, height, width, choice[1]).astype(np.float32))


def _darken(
    image: np.ndarray, alpha: np.ndarray, x: float, y: float, sigma: float, strength: float
) -> None:
    """Multiply `image` in place by a blurred shadow of `alpha` whose corner lies at (x, y)."""
    h, w = alpha.shape
    pad = int(np.ceil(2.5 * sigma)) + 2
    x0, y0 = max(0, int(np.floor(x)) - pad), max(0, int(np.floor(y)) - pad)
    x1 = min(image.shape[1], int(np.ceil(x)) + w + pad)
    y1 = min(image.shape[0], int(np.ceil(y)) + h + pad)
    if x1 <= x0 or y1 <= y0:
        return
    step = max(1.0, sigma / 2)  # a blurred shadow is computed on a reduced coverage
    size = (max(1, round(w / step)), max(1, round(h / step)))
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    rim = int(np.ceil(pad / step)) + 1
    small = cv2.copyMakeBorder(small, *[rim] * 4, cv2.BORDER_CONSTANT, value=0)
    small = cv2.GaussianBlur(small, (0, 0), max(sigma / step, 0.5))
    sx, sy = w / size[0], h / size[1]
    place = np.array(
        [[sx, 0, (0.5 - rim) * sx - 0.5 + x - x0], [0, sy, (0.5 - rim) * sy - 0.5 + y - y0]]
    )
    shade = cv2.warpAffine(small, place, (x1 - x0, y1 - y0)).astype(np.float32)
    image[y0:y1, x0:x1] *= spread(1 - shade * np.float32(strength / 255))


def paste(image: np.ndarray, sprite: Sprite, x: int, y: int, light: Light, lift: float) -> None:
    """Cast the object's shadow and lay the object over `image` in place.

    Args:
        image: float32 (H, W, 3).
        x, y: pixel of the sprite's upper left corner; the sprite lies inside the image.
        lift: length of the cast shadow in pixels.
    """
    h, w = sprite.alpha.shape
    size = float(np.sqrt(h * w))
    reach = np.array(light.direction[:2]) * -lift
    _darken(image, sprite.alpha, x + reach[0], y + reach[1], light.softness * size, light.shadow)
    _darken(image, sprite.alpha, x + 0.15 * reach[0], y + 0.15 * reach[1], 0.015 * size, 0.45)
    cover = spread(sprite.alpha.astype(np.float32) * np.float32(1 / 255))
    area = image[y : y + h, x : x + w]
    area += cover * (sprite.colour - area)


def expose(rng: np.random.Generator, image: np.ndarray, light: Light) -> np.ndarray:
    """Fall-off of the light, white balance, blur and sensor noise.

    Args:
        image: float32 (H, W, 3) BGR, about 0 to 255.

    Returns:
        uint8 (H, W, 3).
    """
    h, w = image.shape[:2]
    y, x = np.linspace(-1, 1, h, dtype=np.float32)[:, None], np.linspace(-1, 1, w, dtype=np.float32)
    tilt = np.float32(rng.uniform(0, 0.16))
    fall = 1 + tilt * (light.direction[0] * x + light.direction[1] * y)
    fall = fall - np.float32(rng.uniform(0, 0.14)) * (x * x + y * y)
    balance = np.float32(rng.uniform(0.95, 1.2)) * rng.uniform(0.95, 1.05, 3).astype(np.float32)
    photo = cv2.convertScaleAbs(np.maximum(image * spread(fall, balance), 0))
    if rng.random() < 0.6:
        photo = cv2.GaussianBlur(photo, (0, 0), float(rng.uniform(0.4, 0.85)))
    # The grain of a quarter of the frame is repeated: a quarter of the time, not visible.
    level = np.float32(rng.uniform(1.0, 5.0))
    rows, columns = -(-h // 2), -(-w // 2)
    chroma = rng.standard_normal((-(-rows // 2), -(-columns // 2), 3), dtype=np.float32)
    grain = spread(rng.standard_normal((rows, columns), dtype=np.float32) * level)
    grain += cv2.resize(chroma * (0.5 * level), (columns, rows), interpolation=cv2.INTER_LINEAR)
    grain = np.tile(grain.round().astype(np.int16), (2, 2, 1))[:h, :w]
    return cv2.add(photo, np.ascontiguousarray(grain), dtype=cv2.CV_8U)
