"""From an object class to a lit cut-out: drawing, rotation, scale and shading."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from cosal_d2.prepare.synthetic.canvas import EXTENT, Canvas, ObjectClass, Tint
from cosal_d2.prepare.synthetic.noise import spread

MAX_CANVAS = 480  # edge of the largest drawing surface, pixels
PIXELS_PER_PIXEL = 1.4  # drawing surface over result, for anti-aliasing of small objects


@dataclass(frozen=True)
class Light:
    """Light of a scene.

    Attributes:
        direction: unit vector (x right, y down, z to the camera) towards the light.
        ambient: share of light without direction, 0 to 1.
        shadow: darkness of cast shadows, 0 to 1.
        softness: width of the shadow's edge over the object's diameter.
    """

    direction: tuple[float, float, float]
    ambient: float
    shadow: float
    softness: float

    @staticmethod
    def sample(rng: np.random.Generator) -> Light:
        """Draw a light from above, 35 to 70 degrees over the ground."""
        turn = rng.uniform(0, 2 * np.pi)
        height = np.deg2rad(rng.uniform(35, 70))
        x, y = np.cos(turn) * np.cos(height), np.sin(turn) * np.cos(height)
        return Light(
            (float(x), float(y), float(np.sin(height))),
            float(rng.uniform(0.4, 0.65)),
            float(rng.uniform(0.3, 0.65)),
            float(rng.uniform(0.03, 0.1)),
        )


@dataclass
class Sprite:
    """A lit object, cropped to its coverage.

    Attributes:
        name: class name.
        colour: float32 (h, w, 3) BGR, 0 to 255.
        alpha: uint8 (h, w), coverage.
    """

    name: str
    colour: np.ndarray
    alpha: np.ndarray

    @property
    def solid(self) -> np.ndarray:
        """Boolean (h, w): at least half covered."""
        return self.alpha >= 128

    def shrink(self, factor: float) -> Sprite:
        """The same object, smaller by `factor` (0 to 1)."""
        height, width = self.alpha.shape
        size = (max(3, round(width * factor)), max(3, round(height * factor)))
        return Sprite(
            self.name,
            cv2.resize(self.colour, size, interpolation=cv2.INTER_AREA),
            cv2.resize(self.alpha, size, interpolation=cv2.INTER_AREA),
        )


def _shade(
    albedo: np.ndarray, relief: np.ndarray, light: Light, gloss: float, gain: float
) -> np.ndarray:
    """Lambert shading of a relief (pixels) plus a highlight towards the camera; float32 BGR."""
    slope_x = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    slope_y = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    norm = 1 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1)
    x, y, z = light.direction
    facing = np.maximum((z - x * slope_x - y * slope_y) * norm, 0)
    lit = light.ambient * (0.55 + 0.45 * norm) + (1 - light.ambient) * facing / max(z, 0.5)
    colour = albedo * spread(np.minimum(lit, 1.35) * gain)
    if gloss > 0:
        half_x, half_y, half_z = (v / math.sqrt(2 * z + 2) for v in (x, y, z + 1))
        mirror = np.maximum((half_z - half_x * slope_x - half_y * slope_y) * norm, 0)
        width = 14 + 40 * gloss
        # A flat part has one normal: without the offset it would all be highlight or all be none.
        spot = np.maximum(mirror**width - half_z**width, 0) * (170 * gloss * gain)
        colour += spread(spot)
    return colour


def render_sprite(
    rng: np.random.Generator, cls: ObjectClass, diameter: float, tint: Tint, light: Light
) -> Sprite:
    """Draw one instance of a class, turned, scaled and lit.

    Args:
        rng: the instance's own variation.
        cls: class to draw.
        diameter: length in pixels of two canonical units.
        tint: colour deviation of the class in this scene; the instance adds its own.
        light: the scene's light.

    Returns:
        A `Sprite` of about `diameter` pixels in its longer direction.
    """
    own = Tint(
        tint.hue + float(rng.normal(0, 2.5)),
        tint.saturation * float(rng.uniform(0.92, 1.08)),
        tint.value * float(rng.uniform(0.93, 1.07)),
    )
    diameter *= cls.span
    side = int(np.clip(diameter * EXTENT * PIXELS_PER_PIXEL, 48, MAX_CANVAS))
    canvas = Canvas(side, rng, own)
    cls.draw(canvas)

    aspect = rng.uniform(0.9, 1.1)
    turn = np.deg2rad(rng.uniform(-cls.turn, cls.turn))
    mirror = -1 if rng.random() < 0.5 else 1
    scale = diameter / (2 * canvas.unit)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    skew = np.array([[1, rng.uniform(-0.06, 0.06)], [0, 1]])
    matrix = scale * spin @ skew @ np.diag([mirror * np.sqrt(aspect), 1 / np.sqrt(aspect)])
    corners = matrix @ (np.array([[-1, 1, 1, -1], [-1, -1, 1, 1]]) * side / 2)
    width, height = (int(v) for v in np.ceil(corners.max(1) - corners.min(1)) + 2)
    offset = np.array([width, height]) / 2 - matrix @ np.array([side, side]) / 2
    affine = np.concatenate([matrix, offset[:, None]], 1)

    def warp(image: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(image, affine, (width, height), flags=cv2.INTER_LINEAR)

    alpha = warp(canvas.alpha)
    x, y, w, h = cv2.boundingRect(cv2.threshold(alpha, 3, 255, cv2.THRESH_BINARY)[1])
    box = np.s_[y : y + h, x : x + w]
    # Outside the object the albedo is black; dividing by the coverage keeps black out of the edges.
    cover = np.maximum(alpha[box].astype(np.float32) / 255, 0.02)
    albedo = warp(cv2.convertScaleAbs(canvas.albedo))[box] / spread(cover)
    relief = cv2.GaussianBlur(
        warp(canvas.relief)[box] * np.float32(scale), (0, 0), diameter * 0.008
    )
    colour = _shade(albedo, relief, light, cls.gloss, float(rng.uniform(0.82, 1.15)))
    return Sprite(cls.name, np.clip(colour, 0, 255), np.ascontiguousarray(alpha[box]))
