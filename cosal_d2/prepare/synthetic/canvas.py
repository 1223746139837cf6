"""Object classes and the surface they are drawn on: a square of canonical units.

Canonical units: the square is [-EXTENT, EXTENT] in x (right) and y (down); an object of full size
fills about [-1, 1].
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import cv2
import numpy as np

from cosal_d2.prepare.synthetic.noise import octave_noise, spread

EXTENT = 1.12
_SHIFT = 5  # fractional bits of OpenCV's drawing coordinates
Colour = tuple[float, float, float]  # hue in degrees, saturation, value


@dataclass(frozen=True)
class Tint:
    """Deviation of one object from its class's nominal colours.

    Attributes:
        hue: added to the hue, degrees.
        saturation, value: factors.
    """

    hue: float = 0.0
    saturation: float = 1.0
    value: float = 1.0


def ellipse(
    cx: float, cy: float, rx: float, ry: float, turn: float = 0.0, n: int = 64
) -> np.ndarray:
    """Outline of an ellipse with centre, radii and rotation (degrees); (n, 2) float64."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    x, y = rx * np.cos(t), ry * np.sin(t)
    a = np.deg2rad(turn)
    return np.stack([cx + x * np.cos(a) - y * np.sin(a), cy + x * np.sin(a) + y * np.cos(a)], 1)


def rectangle(x0: float, y0: float, x1: float, y1: float, corner: float = 0.0) -> np.ndarray:
    """Outline of a rectangle with rounded corners; (n, 2) float64."""
    r = min(corner, (x1 - x0) / 2, (y1 - y0) / 2)
    if r <= 0:
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)
    t = np.linspace(0, np.pi / 2, 9)
    corners = [(x1 - r, y1 - r, 0), (x0 + r, y1 - r, 1), (x0 + r, y0 + r, 2), (x1 - r, y0 + r, 3)]
    return np.concatenate(
        [
            np.stack(
                [cx + r * np.cos(t + k * np.pi / 2), cy + r * np.sin(t + k * np.pi / 2)], axis=1
            )
            for cx, cy, k in corners
        ]
    )


def spline(points: Sequence[Sequence[float]], closed: bool = True, steps: int = 8) -> np.ndarray:
    """Catmull-Rom curve through `points`; (len * steps, 2) float64."""
    p = np.asarray(points, float)
    if closed:
        before, after, after2 = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    else:
        padded = np.concatenate([p[:1], p, p[-1:]])
        before, p, after, after2 = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0, 1, steps, endpoint=closed is False)[None, :, None]
    b, c, d, e = (q[:, None, :] for q in (before, p, after, after2))
    curve = 0.5 * (
        2 * c + (d - b) * t + (2 * b - 5 * c + 4 * d - e) * t**2 + (3 * c - b - 3 * d + e) * t**3
    )
    return curve.reshape(-1, 2)


def polar(radius: np.ndarray, cx: float = 0.0, cy: float = 0.0, start: float = -90.0) -> np.ndarray:
    """Closed outline from radii at equal angles, the first at `start` degrees (-90 is the top)."""
    t = np.deg2rad(start) + np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    return np.stack([cx + radius * np.cos(t), cy + radius * np.sin(t)], 1)


def _box(mask: np.ndarray) -> tuple[slice, slice] | None:
    """Rows and columns that a mask covers, None where it is empty."""
    x, y, w, h = cv2.boundingRect(mask)
    return np.s_[y : y + h, x : x + w] if w and h else None


def _dome(mask: np.ndarray, bulge: float, bevel: float) -> np.ndarray:
    """Rounded relief over a coverage mask, see `Canvas.part`; float32, pixels.

    The distance is taken on a reduced mask and the dome smoothed by a fifth of its reach, which
    removes the ridges that a distance transform leaves along an object's middle.
    """
    h, w = mask.shape
    step = max(1.0, min(min(h, w) / 2, bevel) / 14)
    border = 3
    size = (max(1, round(w / step)), max(1, round(h / step)))
    small = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) if step > 1 else mask
    small = cv2.copyMakeBorder(small, *[border] * 4, cv2.BORDER_CONSTANT, value=0)
    inside = cv2.threshold(small, 127, 255, cv2.THRESH_BINARY)[1]
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    reach = max(min(float(depth.max()), bevel / step), 1e-3)
    depth = np.minimum(depth, reach)
    dome = np.sqrt(depth * (2 * reach - depth)) * np.float32(bulge * step)
    dome = cv2.GaussianBlur(dome, (0, 0), max(0.22 * reach, 0.3))
    dome = dome[border:-border, border:-border]
    if step == 1:
        return dome
    smooth = 2 * round(step / 2) + 1  # a box as wide as the enlargement keeps the slope continuous
    return cv2.blur(cv2.resize(dome, (w, h), interpolation=cv2.INTER_LINEAR), (smooth, smooth))


class Canvas:
    """Colour, coverage and relief of one object under construction.

    Args:
        side: edge of the square in pixels.
        rng: source of the object's own variation.
        tint: colour deviation applied by `paint`.

    Attributes:
        albedo: float32 (side, side, 3) BGR, 0 to 255, multiplied by the coverage.
        alpha: uint8 (side, side), 0 outside, 255 inside the object.
        relief: float32 (side, side), height above the ground in pixels of this canvas.
    """

    def __init__(self, side: int, rng: np.random.Generator, tint: Tint | None = None) -> None:
        self.side, self.rng, self.tint = side, rng, tint or Tint()
        self.albedo = np.zeros((side, side, 3), np.float32)
        self.alpha = np.zeros((side, side), np.uint8)
        self.relief = np.zeros((side, side), np.float32)
        self.unit = side / (2 * EXTENT)

    @cached_property
    def _axis(self) -> np.ndarray:
        return ((np.arange(self.side, dtype=np.float32) + 0.5) / self.side - 0.5) * 2 * EXTENT

    @property
    def x(self) -> np.ndarray:
        """Canonical x of the pixel centres; float32 (1, side)."""
        return self._axis[None]

    @property
    def y(self) -> np.ndarray:
        """Canonical y of the pixel centres; float32 (side, 1)."""
        return self._axis[:, None]

    def paint(self, hue: float, saturation: float, value: float) -> np.ndarray:
        """BGR colour (0 to 255) of a nominal hue in degrees, with this object's tint."""
        s = float(np.clip(saturation * self.tint.saturation, 0, 1))
        v = float(np.clip(value * self.tint.value, 0.03, 1))
        r, g, b = colorsys.hsv_to_rgb(((hue + self.tint.hue) % 360) / 360, s, v)
        return np.array([b, g, r], np.float32) * 255

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        pixels = (np.asarray(points, float) + EXTENT) * self.unit - 0.5
        return np.round(pixels * (1 << _SHIFT)).astype(np.int32)

    def mask(self, *outlines: np.ndarray) -> np.ndarray:
        """Anti-aliased coverage of the outlines (even-odd: an inner outline is a hole); uint8."""
        out = np.zeros((self.side, self.side), np.uint8)
        cv2.fillPoly(out, [self._fixed(p) for p in outlines], 255, cv2.LINE_AA, _SHIFT)
        return out

    def stroke(self, points: np.ndarray, width: float, closed: bool = False) -> np.ndarray:
        """Anti-aliased coverage of a line with round joints, `width` in canonical units; uint8."""
        out = np.zeros((self.side, self.side), np.uint8)
        thick = max(1, round(width * self.unit))
        cv2.polylines(out, [self._fixed(points)], closed, 255, thick, cv2.LINE_AA, _SHIFT)
        return out

    def part(
        self,
        mask: np.ndarray,
        colour: np.ndarray,
        bulge: float = 1.0,
        bevel: float = 9.0,
        on_top: bool = False,
    ) -> np.ndarray:
        """Lay a solid part over what is there.

        The relief is a dome over the distance d from the part's edge: bulge * sqrt(d * (2 w - d)),
        a half sphere for a disc and bulge 1, where w is the largest distance. `bevel` limits w
        (canonical units): small values give a flat part with round edges.

        Args:
            mask: uint8 (side, side), coverage of the part.
            colour: BGR, 0 to 255.
            on_top: add the dome to the relief below instead of replacing it.

        Returns:
            `mask`, for use with `blend` and `mottle`.
        """
        box = _box(mask)
        if box is None:
            return mask
        cover = mask[box].astype(np.float32) * np.float32(1 / 255)
        albedo = self.albedo[box]
        albedo += spread(cover, colour) - spread(cover) * albedo
        np.maximum(self.alpha[box], mask[box], out=self.alpha[box])
        dome = _dome(mask[box], bulge, bevel * self.unit)
        relief = self.relief[box]
        relief += cover * (dome if on_top else dome - relief)
        return mask

    def blend(self, mask: np.ndarray, colour: np.ndarray, amount: np.ndarray | float = 1.0) -> None:
        """Mix `colour` into the surface where `mask` covers it; coverage and relief stay.

        Args:
            amount: 0 to 1, one number or an array that broadcasts to (side, side).
        """
        box = _box(mask)
        if box is None:
            return
        share = np.broadcast_to(np.asarray(amount, np.float32), self.alpha.shape)[box]
        cover = mask[box].astype(np.float32) * np.float32(1 / 255) * share
        inside = self.alpha[box].astype(np.float32) * np.float32(1 / 255)
        albedo = self.albedo[box]
        albedo += spread(cover * inside, colour) - spread(cover) * albedo

    def mottle(self, mask: np.ndarray, strength: float, *cells: float) -> None:
        """Multiply the surface by 1 + strength * noise; `cells` are canonical lattice distances."""
        box = _box(mask)
        if box is None:
            return
        field = octave_noise(self.rng, *mask[box].shape, [c * self.unit for c in cells])
        cover = mask[box].astype(np.float32) * np.float32(strength / 255)
        self.albedo[box] *= spread(np.clip(1 + cover * field, 0.3, 1.6))


@dataclass(frozen=True)
class ObjectClass:
    """One class of objects.

    Attributes:
        name: category name.
        draw: paints one upright instance on a `Canvas`, varied by the canvas's generator.
        families: classes that share a family are siblings: they agree in shape, colour or texture
            and are easily taken for each other.
        span: factor on the object's length, above 1 for slender shapes.
        gloss: strength of the highlight, 0 (matt) to 1.
        turn: largest rotation from upright, degrees.
    """

    name: str
    draw: Callable[[Canvas], None]
    families: tuple[str, ...]
    span: float
    gloss: float
    turn: float


def object_class(
    name: str,
    draw: Callable[..., None],
    *families: str,
    span: float = 1.0,
    gloss: float = 0.15,
    turn: float = 180.0,
    **parameters: object,
) -> ObjectClass:
    """The `ObjectClass` whose instances `draw(canvas, **parameters)` paints."""
    return ObjectClass(name, partial(draw, **parameters), families, span, gloss, turn)
