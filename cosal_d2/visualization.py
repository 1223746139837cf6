"""Drawing co-saliency maps over pictures with Detectron2's Visualizer."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from detectron2.utils.visualizer import Visualizer
from matplotlib.figure import Figure

HIGHLIGHT = (1.0, 0.1, 0.1)
OUTLINE = (1.0, 1.0, 0.2)


def map_to_uint8(cosal_map: np.ndarray) -> np.ndarray:
    """A map in [0, 1] as 8-bit grey, round(255 p).

    Args:
        cosal_map: float (H, W).
    """
    return np.floor(np.clip(cosal_map, 0, 1) * 255 + 0.5).astype(np.uint8)


def draw_overlay(image: np.ndarray, cosal_map: np.ndarray) -> np.ndarray:
    """Tint a picture by its map and outline where the map exceeds one half.

    Args:
        image: uint8 BGR (H, W, 3).
        cosal_map: float (H, W) in [0, 1].

    Returns:
        uint8 BGR (H, W, 3).
    """
    visualizer = Visualizer(image[:, :, ::-1])
    visualizer.draw_soft_mask(cosal_map, color=HIGHLIGHT, alpha=0.55)
    # draw_binary_mask leaves out the outline of a mask with holes: contours are drawn one by one.
    inside = (cosal_map > 0.5).astype(np.uint8)
    for contour in cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]:
        if len(contour) > 2:
            visualizer.draw_polygon(contour[:, 0], OUTLINE, edge_color=OUTLINE, alpha=0.0)
    overlay = visualizer.get_output().get_image()[:, :, ::-1]
    return np.ascontiguousarray(overlay)


def save_gallery(path: str, titles: Sequence[str], rows: Sequence[Sequence[np.ndarray]]) -> None:
    """Write a grid of pictures with a title above each column.

    Args:
        path: of the PNG.
        titles: one a column.
        rows: pictures, uint8 BGR (H, W, 3) or grey (H, W), as many a row as there are titles.
    """
    height = sum(row[0].shape[0] / row[0].shape[1] for row in rows)
    figure = Figure(figsize=(2.4 * len(titles), 2.4 * height + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for row, row_axes in zip(rows, axes, strict=True):
        for picture, ax in zip(row, row_axes, strict=True):
            grey = picture.ndim == 2
            ax.imshow(picture if grey else picture[:, :, ::-1], cmap="gray", vmin=0, vmax=255)
            ax.set_axis_off()
    for title, ax in zip(titles, axes[0], strict=True):
        ax.set_title(title, fontsize=10)
    figure.savefig(path, dpi=100)
