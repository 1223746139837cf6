"""Scaling, turning, lighting and pasting cut-outs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cosal_d2.prepare.composites.cutouts import PAD, Cutout, load_cutout

MAX_UPSCALE = 1.6  # of a cut-out
MAX_LENGTH = 0.6  # of an object's longest side, in shorter sides of the picture


@dataclass(frozen=True)
class Look:
    """How a cut-out is shown.

    Attributes:
        size: aimed geometric mean of the sides of its unrotated box, pixels.
        angle: degrees, counter-clockwise.
        flip: mirrored left to right.
        gain, gamma: of the values between 0 and 1.
        cast: factors of B, G and R.
    """

    size: float
    angle: float
    flip: bool
    gain: float
    gamma: float
    cast: tuple[float, float, float]

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


@dataclass(frozen=True)
class Layer:
    """A cut-out as it is pasted: float32 (h, w, 4), premultiplied BGR 0 to 255 and alpha 0 to 1."""

    pixels: np.ndarray

    @property
    def solid(self) -> np.ndarray:
        """bool (h, w), the pixels that count as the object."""
        return self.pixels[:, :, 3] > 0.5


def render(cutout: Cutout, look: Look, longest: float) -> Layer:
    """Show a cut-out.

    Args:
        cutout: the object; it is enlarged no more than `MAX_UPSCALE` times.
        look: its appearance.
        longest: bound of its longest side in pixels.

    Returns:
        The layer, cropped to the object.
    """
    pixels = load_cutout(cutout)
    if look.flip:
        pixels = pixels[:, ::-1]
    scale = min(look.size / cutout.side, longest / max(cutout.box[2:]), MAX_UPSCALE)
    w, h = (max(3, round((v + 2 * PAD) * scale)) for v in cutout.box[2:])
    method = cv2.INTER_AREA if h < pixels.shape[0] else cv2.INTER_LINEAR
    pixels = cv2.resize(np.ascontiguousarray(pixels), (w, h), interpolation=method)
    turn = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), look.angle, 1.0)
    cos, sin = abs(turn[0, 0]), abs(turn[0, 1])
    width, height = int(np.ceil(h * sin + w * cos)), int(np.ceil(h * cos + w * sin))
    turn[:, 2] += (width - w) / 2, (height - h) / 2
    pixels = cv2.warpAffine(pixels, turn, (width, height), flags=cv2.INTER_LINEAR)
    alpha = pixels[:, :, 3:]
    x, y, w, h = cv2.boundingRect((alpha[:, :, 0] > 0.02).astype(np.uint8))
    pixels, alpha = pixels[y : y + h, x : x + w], alpha[y : y + h, x : x + w]
    colour = np.clip(pixels[:, :, :3] / np.maximum(alpha, 1e-3) / 255, 0, 1)
    colour = 255 * look.gain * colour**look.gamma * np.float32(look.cast)
    lit = np.clip(colour, 0, 255) * alpha
    return Layer(np.concatenate([lit, alpha], axis=2).astype(np.float32))


def lay_down(
    image: np.ndarray, layers: list[Layer], places: list[tuple[int, int]]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Paste layers over an image.

    Args:
        image: uint8 BGR (H, W, 3).
        layers: what is pasted, later ones on top.
        places: position (x, y) of each, its upper left corner.

    Returns:
        float32 (H, W, 3), 0 to 255, and each layer's visible pixels, bool (H, W).
    """
    canvas = image.astype(np.float32)
    top = np.full(image.shape[:2], -1, np.int16)
    for k, (layer, (x, y)) in enumerate(zip(layers, places, strict=True)):
        h, w = layer.pixels.shape[:2]
        area = canvas[y : y + h, x : x + w]
        area *= 1 - layer.pixels[:, :, 3:]
        area += layer.pixels[:, :, :3]
        top[y : y + h, x : x + w][layer.solid] = k
    return canvas, [top == k for k in range(len(layers))]
