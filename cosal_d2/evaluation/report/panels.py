"""Pictures of a report as data addresses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cosal_d2.evaluation.maps import read_map
from cosal_d2.evaluation.truth import Truth
from cosal_d2.utils.image_paths import picture_path
from cosal_d2.utils.pictures import PICTURE_SUFFIXES, data_url, encoded, read_image

COLOURS = {"background": (40, 40, 40), "crowd": (255, 255, 255), "distractor": (0, 128, 255)}
GREENS = ((80, 200, 60), (150, 220, 90), (60, 170, 120), (120, 230, 180), (40, 140, 40))
JPEG_QUALITY = 82


def _scaled_url(picture: np.ndarray, longest: int) -> str:
    """A picture as a JPEG in a ``data:`` address, its longest side at most so many pixels."""
    scale = min(1.0, longest / max(picture.shape[:2]))
    if scale < 1:
        size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return data_url("jpeg", encoded(picture, ".jpg", JPEG_QUALITY))


def _draw_truth(truth: Truth) -> np.ndarray:
    """Co-salient objects in greens, crowds white, distractors orange, as uint8 BGR (H, W, 3)."""
    picture = np.full((*truth.mask.shape, 3), COLOURS["background"], dtype=np.uint8)
    picture[truth.mask] = COLOURS["crowd"]
    for distractor in truth.distractors:
        picture[distractor.mask] = COLOURS["distractor"]
    for i, annotated in enumerate(truth.objects):
        picture[annotated.mask] = GREENS[i % len(GREENS)]
    return picture


def _find_image(root: Path | None, file_name: str) -> Path | None:
    """The image of a record: by its name, or by its stem with another picture's ending."""
    if root is None:
        return None
    exact = picture_path(root, file_name)
    if exact.is_file():
        return exact
    for ending in PICTURE_SUFFIXES:
        for candidate in (exact.with_suffix(ending), exact.with_suffix(ending.upper())):
            if candidate.is_file():
                return candidate
    return None


def draw_panels(
    file_name: str,
    truth: Truth,
    maps: Mapping[str, str],
    image_root: Path | None,
    longest: int,
) -> dict[str, Any]:
    """Pictures of one image: "image", "truth", and "map METHOD" for each method.

    Args:
        file_name: of the record, relative to ``image_root``.
        truth: of the image.
        maps: file by method.
        image_root: folder of the images; None leaves the image out.
        longest: pixels.

    Returns:
        addresses, None for an image or a map that is not there.

    Raises:
        ValueError: an image or a map cannot be read.
    """
    path = _find_image(image_root, file_name)
    panels = {
        "image": None if path is None else _scaled_url(read_image(path), longest),
        "truth": _scaled_url(_draw_truth(truth), longest),
    }
    for method, file in maps.items():
        there = Path(file).is_file()
        grey = read_map(file, *truth.mask.shape) if there else None
        panels[f"map {method}"] = _scaled_url(grey, longest) if there else None
    return panels
