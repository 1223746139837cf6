"""Composing a picture: sprites are sized, turned, lit, placed and pasted over a background.

Everything here is a function of arrays and of a random generator; no file is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from cosal_d2.prepare.composites.cutouts import PAD, Sprite
from cosal_d2.prepare.scene import place

MAX_UPSCALE = 1.6  # of a sprite
MAX_LENGTH = 0.6  # of an object's longest side, in shorter sides of the picture
SIZES = (0.21, 0.35)  # middle size of a picture's objects, in shorter sides of the picture
SPREAD = 1.32  # an object's size is within this factor of the picture's middle size
LEAST = 0.19  # middle size that is kept even if a sprite is too small for it
COVER = 0.45  # objects' boxes cover no more than about this share of the picture
SHRINKS = 30  # times that objects may be made smaller until they fit
PASTE_TRIES = 20  # places that are tried for an object beside those of a photograph
MAX_HIDDEN_BY_PASTE = 0.15  # of any object of a photograph
PLACING = {"max_hidden": 0.33, "margin": 3, "tries": 60}


@dataclass(frozen=True)
class Look:
    """How a sprite is shown.

    Attributes:
        size: aimed geometric mean of the sides of its unrotated box, pixels.
        angle: degrees, counter-clockwise.
        flip: mirrored left to right.
        gain, gamma: of the values between 0 and 1.
        cast: factors of B, G and R.
    """

    size: float
    angle: float = 0.0
    flip: bool = False
    gain: float = 1.0
    gamma: float = 1.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def sample(cls, rng: np.random.Generator, size: float, lying: bool) -> Look:
        """Draw a look of about `size` pixels.

        Args:
            lying: objects seen from above, turned any way; else they stand nearly upright.
        """
        angle = rng.uniform(-180, 180) if lying else np.clip(rng.normal(0, 10), -25, 25)
        return cls(
            size,
            float(angle),
            bool(rng.random() < 0.5),
            float(np.exp(rng.uniform(-0.17, 0.17))),
            float(np.exp(rng.uniform(-0.17, 0.17))),
            tuple(float(v) for v in rng.uniform(0.95, 1.05, 3)),
        )


def solid_pixels(layer: np.ndarray) -> np.ndarray:
    """bool (h, w), the pixels of a layer that count as the object."""
    return layer[:, :, 3] > 0.5


def render(sprite: Sprite, look: Look, longest: float) -> np.ndarray:
    """Show a sprite as a layer to be pasted.

    Args:
        sprite: the object; it is enlarged no more than `MAX_UPSCALE` times.
        look: its appearance.
        longest: bound of its longest side in pixels.

    Returns:
        float32 (h, w, 4), cropped to the object: premultiplied BGR 0 to 255 and alpha 0 to 1.
    """
    pixels, box = sprite.pixels, (sprite.width, sprite.height)
    if look.flip:
        pixels = pixels[:, ::-1]
    scale = min(look.size / sprite.side, longest / max(box), MAX_UPSCALE)
    w, h = (max(3, round((v + 2 * PAD) * scale)) for v in box)
    method = cv2.INTER_AREA if h < pixels.shape[0] else cv2.INTER_LINEAR
    pixels = cv2.resize(np.ascontiguousarray(pixels), (w, h), interpolation=method)
    turn = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), look.angle, 1.0)
    cos, sin = abs(turn[0, 0]), abs(turn[0, 1])
    width, height = int(np.ceil(h * sin + w * cos)), int(np.ceil(h * cos + w * sin))
    turn[:, 2] += (width - w) / 2, (height - h) / 2
    pixels = cv2.warpAffine(pixels, turn, (width, height), flags=cv2.INTER_LINEAR)
    x, y, w, h = cv2.boundingRect((pixels[:, :, 3] > 0.02).astype(np.uint8))
    pixels = pixels[y : y + h, x : x + w]
    alpha = pixels[:, :, 3:]
    colour = np.clip(pixels[:, :, :3] / np.maximum(alpha, 1e-3) / 255, 0, 1)
    colour = 255 * look.gain * colour**look.gamma * np.float32(look.cast)
    lit = np.clip(colour, 0, 255) * alpha
    return np.concatenate([lit, alpha], axis=2).astype(np.float32)


def middle_size(rng: np.random.Generator, count: int, height: int, width: int) -> float:
    """Draw the size about which the sizes of a picture's objects spread.

    Args:
        count: number of objects.
        height, width: of the picture, pixels.

    Returns:
        a geometric mean of the sides of a box, pixels.
    """
    size = np.exp(rng.uniform(*np.log(SIZES))) * min(height, width)
    return float(min(size, np.sqrt(COVER * height * width / count)))


def arrange(
    rng: np.random.Generator, sprites: Sequence[Sprite], size: float, height: int, width: int
) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
    """Show sprites at random sizes, angles and places; all are drawn alike.

    Args:
        sprites: the objects, later ones on top.
        size: from `middle_size`; less where a sprite is too small for it.
        height, width: of the picture, pixels.

    Returns:
        for each sprite its layer, as `render` gives it, and the position (x, y) of its upper left
        corner.

    Raises:
        ValueError: the objects do not fit into the picture.
    """
    short = min(height, width)
    size = min(size, MAX_UPSCALE / SPREAD * min(s.side for s in sprites))
    size = max(size, LEAST * short)
    sizes = size * np.exp(rng.uniform(-np.log(SPREAD), np.log(SPREAD), len(sprites)))
    lying = bool(rng.random() < 0.35)
    looks = [Look.sample(rng, float(s), lying) for s in sizes]
    overlap = float(rng.choice([0.0, 0.1, 0.25]))
    longest = MAX_LENGTH * short
    for _ in range(SHRINKS):
        layers = [render(s, k, longest) for s, k in zip(sprites, looks, strict=True)]
        solids = [solid_pixels(layer) for layer in layers]
        places = place(rng, solids, height, width, overlap=overlap, **PLACING)
        if places is not None:
            return layers, places
        looks = [replace(k, size=k.size * 0.92) for k in looks]
        longest *= 0.92
    raise ValueError(
        f"size: {len(sprites)} objects do not fit into {height} x {width} pixels; give a larger "
        "size or fewer objects"
    )


def paste(
    rng: np.random.Generator,
    background: np.ndarray,
    layers: Sequence[np.ndarray],
    places: Sequence[tuple[int, int]],
) -> np.ndarray:
    """Paste layers over a background, with the blur and noise of one camera over all.

    Args:
        background: uint8 BGR (H, W, 3); it stays as it is.
        layers, places: from `arrange`; later ones lie on top.

    Returns:
        uint8 BGR (H, W, 3).
    """
    canvas = background.astype(np.float32)
    for layer, (x, y) in zip(layers, places, strict=True):
        h, w = layer.shape[:2]
        area = canvas[y : y + h, x : x + w]
        area *= 1 - layer[:, :, 3:]
        area += layer[:, :, :3]
    if rng.random() < 0.5:
        canvas = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.35, 0.7)))
    noise = rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(rng.uniform(0.5, 4))
    return np.clip(canvas + noise + 0.5, 0, 255).astype(np.uint8)


def paste_beside(
    rng: np.random.Generator, image: np.ndarray, masks: np.ndarray, sprite: Sprite
) -> tuple[np.ndarray, np.ndarray] | None:
    """Paste an object beside those of a photograph, about as large as they are, where it hides
    least of them.

    Args:
        rng: source of randomness.
        image: uint8 BGR (H, W, 3); it stays as it is.
        masks: (N, H, W), the objects that are there, N >= 1; none is hidden by more than
            `MAX_HIDDEN_BY_PASTE`.
        sprite: the object.

    Returns:
        the picture, uint8, and the pasted object's pixels, bool (H, W); None where it does not fit
        or is too small.
    """
    height, width = image.shape[:2]
    areas = masks.reshape(len(masks), -1).sum(axis=1)
    size = float(np.sqrt(np.median(areas) / 0.7)) * np.exp(rng.uniform(-0.4, 0.4))
    look = Look.sample(rng, min(size, MAX_LENGTH * min(height, width)), bool(rng.random() < 0.35))
    layer = render(sprite, look, MAX_LENGTH * min(height, width))
    solid = solid_pixels(layer)
    h, w = solid.shape
    room_y, room_x = height - h, width - w
    if min(room_x, room_y) < 0 or not solid.any() or min(h, w) < 12:
        return None
    best = None
    for _ in range(PASTE_TRIES):
        y, x = int(rng.integers(room_y + 1)), int(rng.integers(room_x + 1))
        hidden = masks[:, y : y + h, x : x + w][:, solid].sum(axis=1) / np.maximum(areas, 1)
        if best is None or hidden.max() < best[0]:
            best = (hidden.max(), y, x)
        if best[0] == 0:
            break
    share, y, x = best
    if share > MAX_HIDDEN_BY_PASTE:
        return None
    result = image.astype(np.float32)
    result[y : y + h, x : x + w] *= 1 - layer[:, :, 3:]
    result[y : y + h, x : x + w] += layer[:, :, :3]
    pixels = np.zeros((height, width), bool)
    pixels[y : y + h, x : x + w] = solid
    return np.clip(result + 0.5, 0, 255).astype(np.uint8), pixels
