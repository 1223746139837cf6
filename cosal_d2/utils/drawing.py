"""Drawing maps, instances and regions over pictures; annotations with Detectron2's Visualizer,
which is imported where it is used: a map and its groups need OpenCV alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from cosal_d2.utils.files import replacing

if TYPE_CHECKING:
    import torch
    from detectron2.structures import Instances

SCREEN_SIDE = 1920  # pixels of an overlay's longer side, at most
ROWS = 256  # of a large map that are worked on at once
HIGHLIGHT = (1.0, 0.1, 0.1)
OUTLINE = (1.0, 1.0, 0.2)
COSALIENT = (0.1, 0.85, 0.2)
DISTRACTOR = (1.0, 0.5, 0.0)
# Of groups, the largest first.
GROUP_COLORS = (
    *((1.0, 1.0, 0.2), (0.2, 0.9, 1.0), (1.0, 0.3, 0.9), (0.4, 1.0, 0.4)),
    *((1.0, 0.6, 0.1), (0.6, 0.5, 1.0)),
)
TRIPLETS = ((1.0, 1.0, 0.2), (0.2, 0.9, 1.0), (1.0, 0.3, 0.9), (0.4, 1.0, 0.4))
ROLES = {"anchor": "-", "positive": "--", "negative": ":"}


class Outline(NamedTuple):
    """An object to outline.

    Attributes:
        mask: bool (h, w), the object in its box.
        corner: x and y of the box's first pixel in the picture.
        group: its group's id.
    """

    mask: np.ndarray
    corner: tuple[int, int]
    group: int


def map_to_uint8(cosal_map: np.ndarray) -> np.ndarray:
    """A map in [0, 1] as 8-bit grey, round(255 p).

    Args:
        cosal_map: float (H, W).
    """
    grey = np.empty(cosal_map.shape, np.uint8)
    for first in range(0, len(grey), ROWS):
        rows = slice(first, first + ROWS)
        grey[rows] = np.floor(np.clip(cosal_map[rows], 0, 1) * 255 + 0.5)
    return grey


def draw_overlay(
    image: np.ndarray,
    cosal_map: np.ndarray,
    objects: Iterable[Outline] | None = None,
    longest: int | None = SCREEN_SIDE,
) -> np.ndarray:
    """Tint a picture by its map and outline its objects, each in the colour of its group.

    Args:
        image: uint8 BGR (H, W, 3).
        cosal_map: float (H, W) in [0, 1].
        objects: of the picture; None outlines where the map exceeds one half.
        longest: pixels of the drawing's longer side, at most; None draws at the picture's size.

    Returns:
        uint8 BGR, of the picture's size or scaled down.
    """
    size = height, width = image.shape[:2]
    scale = min(1.0, longest / max(size)) if longest else 1.0
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in size)
        image, cosal_map = (
            cv2.resize(x, (width, height), interpolation=cv2.INTER_AREA) for x in (image, cosal_map)
        )
    overlay = _tinted(image, cosal_map)
    if objects is None:
        return _outlined(overlay, cosal_map > 0.5, (0, 0), OUTLINE)
    # The picture's pixels that the drawing's rows and columns show.
    rows, columns = (
        ((np.arange(n) + 0.5) * side / n).astype(int)
        for n, side in zip((height, width), size, strict=True)
    )
    for mask, corner, group in objects:
        if scale < 1:
            mask, corner = _scaled(mask, corner, rows, columns)
        overlay = _outlined(overlay, mask, corner, GROUP_COLORS[group % len(GROUP_COLORS)])
    return overlay


def _scaled(
    mask: np.ndarray, corner: tuple[int, int], rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, tuple[int, int]]:
    """What a smaller drawing shows of a mask in its box, by nearest pixels; the two have at least
    one, so that small objects are seen too."""
    places = []
    for shown, first, length in zip((columns, rows), corner, mask.shape[::-1], strict=True):
        start = min(int(np.searchsorted(shown, first)), len(shown) - 1)
        end = max(start + 1, int(np.searchsorted(shown, first + length)))
        places.append((start, (shown[start:end] - first).clip(0, length - 1)))
    (x, from_x), (y, from_y) = places
    return mask[np.ix_(from_y, from_x)], (x, y)


def _tinted(image: np.ndarray, cosal_map: np.ndarray) -> np.ndarray:
    share = (0.55 * np.clip(cosal_map, 0, 1)).astype(np.float32)
    color = np.full_like(image, _bgr(HIGHLIGHT))
    return cv2.blendLinear(color, image, share, 1 - share)


def _outlined(
    image: np.ndarray, mask: np.ndarray, corner: tuple[int, int], color: tuple[float, ...]
) -> np.ndarray:
    """Outline a mask (h, w), whose first pixel is at ``corner`` (x, y)."""
    found, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=corner
    )
    width = max(1, round(min(image.shape[:2]) / 240))
    return cv2.drawContours(image, found, -1, _bgr(color), width, cv2.LINE_AA)


def _bgr(color: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(round(255 * c) for c in color[::-1])


def draw_instances(image: np.ndarray, targets: Instances) -> np.ndarray:
    """Masks and boxes: co-salient instances green, distractors orange.

    Args:
        image: uint8 BGR (H, W, 3).
        targets: N instances with ``gt_masks``, ``gt_boxes`` and ``gt_cosalient``.

    Returns:
        uint8 BGR (H, W, 3).
    """
    from detectron2.utils.visualizer import Visualizer

    visualizer = Visualizer(image[:, :, ::-1])
    masks = targets.gt_masks.tensor.numpy()
    boxes = targets.gt_boxes.tensor.numpy()
    for mask, box, flag in zip(masks, boxes, targets.gt_cosalient.tolist(), strict=True):
        color = COSALIENT if flag else DISTRACTOR
        visualizer.draw_soft_mask(mask.astype(np.float32), color=color, alpha=0.45)
        visualizer.draw_box(box, alpha=1.0, edge_color=color)
    return np.ascontiguousarray(visualizer.get_output().get_image()[:, :, ::-1])


def draw_regions(image: np.ndarray, boxes: torch.Tensor, triplets: torch.Tensor) -> np.ndarray:
    """Triplets, a colour each: anchor solid, positive dashed, negative dotted, with their initials.

    Args:
        image: uint8 BGR (H, W, 3).
        boxes: (M, 4) regions, XYXY pixels.
        triplets: (T, 3) int64 indices into ``boxes``: anchor, positive, negative.

    Returns:
        uint8 BGR (H, W, 3).
    """
    from detectron2.utils.visualizer import Visualizer

    visualizer = Visualizer(image[:, :, ::-1])
    for i, triplet in enumerate(triplets.tolist()):
        color = TRIPLETS[i % len(TRIPLETS)]
        for (role, style), index in zip(ROLES.items(), triplet, strict=True):
            box = boxes[index].tolist()
            visualizer.draw_box(box, alpha=1.0, edge_color=color, line_style=style)
            visualizer.draw_text(
                f"{role[0]}{i + 1}", box[:2], color=color, horizontal_alignment="left"
            )
    return np.ascontiguousarray(visualizer.get_output().get_image()[:, :, ::-1])


def save_gallery(
    path: str | os.PathLike,
    titles: Sequence[str],
    rows: Sequence[Sequence[np.ndarray]],
    width: float = 2.4,
) -> None:
    """Write a grid of pictures with a title above each column; it replaces a former file whole.

    Args:
        path: of the PNG.
        titles: one a column.
        rows: pictures, uint8 BGR (H, W, 3) or grey (H, W), as many a row as there are titles.
        width: of a column, in hundreds of pixels.
    """
    from matplotlib.figure import Figure

    height = sum(row[0].shape[0] / row[0].shape[1] for row in rows)
    figure = Figure(figsize=(width * len(titles), width * height + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for row, row_axes in zip(rows, axes, strict=True):
        for picture, ax in zip(row, row_axes, strict=True):
            grey = picture.ndim == 2
            ax.imshow(picture if grey else picture[:, :, ::-1], cmap="gray", vmin=0, vmax=255)
            ax.set_axis_off()
    for title, ax in zip(titles, axes[0], strict=True):
        ax.set_title(title, fontsize=10)
    with replacing(Path(path)) as temporary:
        figure.savefig(temporary, dpi=100)
