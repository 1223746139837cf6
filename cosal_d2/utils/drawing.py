"""Drawing maps, instances and regions over pictures; annotations with Detectron2's Visualizer,
which is imported where it is used: a map and its groups need OpenCV alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from cosal_d2.utils.files import replacing

if TYPE_CHECKING:
    import torch
    from detectron2.structures import Instances

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
    overlay = _tinted(image, cosal_map)
    return _outlined(overlay, cosal_map > 0.5, OUTLINE)


def draw_groups(
    image: np.ndarray, cosal_map: np.ndarray, masks: Iterable[np.ndarray], group_ids: Sequence[int]
) -> np.ndarray:
    """Tint a picture by its map and outline each object in the colour of its group.

    Args:
        image: uint8 BGR (H, W, 3).
        cosal_map: float (H, W) in [0, 1].
        masks: N, (H, W) bool each.
        group_ids: of the N objects.

    Returns:
        uint8 BGR (H, W, 3).
    """
    overlay = _tinted(image, cosal_map)
    for mask, group in zip(masks, group_ids, strict=True):
        overlay = _outlined(overlay, mask, GROUP_COLORS[group % len(GROUP_COLORS)])
    return overlay


def _tinted(image: np.ndarray, cosal_map: np.ndarray) -> np.ndarray:
    share = (0.55 * np.clip(cosal_map, 0, 1)).astype(np.float32)
    color = np.full_like(image, _bgr(HIGHLIGHT))
    return cv2.blendLinear(color, image, share, 1 - share)


def _outlined(image: np.ndarray, mask: np.ndarray, color: tuple[float, ...]) -> np.ndarray:
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
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
