"""Fields of one number a pixel: smooth noise, and the way from a field to a colour image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def value_noise(
    rng: np.random.Generator, height: int, width: int, cell: float | tuple[float, float]
) -> np.ndarray:
    """Smooth noise of about zero mean and unit deviation at the lattice points.

    Args:
        rng: source of the lattice values.
        height, width: size of the field in pixels.
        cell: distance of the lattice points in pixels, one number or (vertical, horizontal).

    Returns:
        float32 array (height, width).
    """
    cell_y, cell_x = cell if isinstance(cell, tuple) else (cell, cell)
    rows = max(2, round(height / cell_y) + 1)
    columns = max(2, round(width / cell_x) + 1)
    lattice = rng.standard_normal((rows, columns), dtype=np.float32)
    if (rows, columns) == (height, width):
        return lattice
    return cv2.resize(lattice, (width, height), interpolation=cv2.INTER_CUBIC)


def octave_noise(
    rng: np.random.Generator,
    height: int,
    width: int,
    cells: Sequence[float],
    persistence: float = 0.6,
) -> np.ndarray:
    """Sum of `value_noise` over several lattice distances, coarse ones first.

    Args:
        cells: lattice distance of each octave in pixels.
        persistence: weight of an octave over that of the one before it.

    Returns:
        float32 array (height, width), scaled so that the weights' squares sum to 1.
    """
    weights = persistence ** np.arange(len(cells), dtype=np.float32)
    weights /= np.sqrt(np.square(weights).sum())
    # Coarse octaves are summed at a quarter of the resolution, where they are as smooth.
    small = (-(-height // 4), -(-width // 4))
    coarse, fine = np.zeros(small, np.float32), np.zeros((height, width), np.float32)
    for cell, weight in zip(cells, weights, strict=True):
        if cell >= 16:
            coarse += weight * value_noise(rng, *small, cell / 4)
        else:
            fine += weight * value_noise(rng, height, width, max(1.0, cell))
    if cells[0] >= 16:
        fine += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return fine


def spread(field: np.ndarray, colour: Sequence[float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Product of a field and a colour; float32 (H, W, 3).

    `field[..., None] * colour` does the same, several times slower: numpy broadcasts over three
    values at a time.
    """
    field = np.asarray(field, np.float32)
    return cv2.merge([field if c == 1 else field * np.float32(c) for c in colour])
