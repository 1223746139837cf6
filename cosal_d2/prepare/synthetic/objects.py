"""What an object class is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cosal_d2.prepare.synthetic.canvas import Canvas

Colour = tuple[float, float, float]  # hue in degrees, saturation, value


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
    families: tuple[str, ...] = ()
    span: float = 1.0
    gloss: float = 0.15
    turn: float = 180.0
