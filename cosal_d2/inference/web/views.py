"""A result as the page shows it, and as files to take away."""

from __future__ import annotations

import base64
import html
import io
import json
import zipfile
from collections.abc import Callable

import cv2
import numpy as np

from cosal_d2.inference.results import CoSaliencyResult
from cosal_d2.utils.drawing import GROUP_COLORS, map_to_uint8
from cosal_d2.utils.pictures import encoded

LONGEST = 1280  # pixels of a shown picture's longer side, at most
OPACITY = 0.75  # of an object's colour
DIMMED = 0.45  # of the picture around the objects


def shown_size(image: np.ndarray) -> tuple[int, int]:
    """(height, width) at which a picture (H, W, 3) is shown."""
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def draw_objects(result: CoSaliencyResult) -> np.ndarray:
    """The picture dimmed, each object filled with its group's colour, uint8 BGR."""
    height, width = shown_size(result.image)
    image = cv2.resize(result.image, (width, height), interpolation=cv2.INTER_AREA)
    masks = result.found.pred_masks
    labels = cv2.resize(
        np.asarray(masks.labels, np.int16), (width, height), interpolation=cv2.INTER_NEAREST
    )
    drawn = (DIMMED * image).astype(np.uint8)
    for label, group in zip(masks.ids.tolist(), result.found.group_ids.tolist(), strict=True):
        colour = 255 * np.array(GROUP_COLORS[group % len(GROUP_COLORS)][::-1])
        inside = labels == label
        drawn[inside] = (1 - OPACITY) * image[inside] + OPACITY * colour
    return drawn


def draw_map(result: CoSaliencyResult) -> np.ndarray:
    """The map, uint8 (h, w)."""
    height, width = shown_size(result.image)
    return map_to_uint8(cv2.resize(result.map, (width, height), interpolation=cv2.INTER_AREA))


def summary(result: CoSaliencyResult, links: dict[str, str], picked: bool) -> str:
    """HTML of the count, of each group's count beside its colour, and of the links.

    Args:
        result: of the picture.
        links: addresses by text.
        picked: whether an object was clicked.
    """
    what = "like the one you clicked" if picked else "belong together"
    text = f"<strong id='count'>{result.count}</strong> objects {what}"
    if not result.count:
        text = "<strong id='count'>0</strong> objects: nothing repeats here"
    groups = ""
    if len(result.counts) > 1:
        swatches = "".join(
            f"<li><span style='color:rgb{tuple(round(255 * c) for c in colour)}'>&#9632;</span> "
            f"{count}</li>"
            for count, colour in (
                (count, GROUP_COLORS[i % len(GROUP_COLORS)])
                for i, count in enumerate(result.counts)
            )
        )
        groups = f"<ul id='counts' aria-label='objects of each group'>{swatches}</ul>"
    anchors = " ".join(
        f"<a class='download' href='{html.escape(url)}' download>{html.escape(name)}</a>"
        for name, url in links.items()
    )
    return f"<p>{text}</p>{groups}<p id='downloads'>{anchors}</p>"


def coco_json(result: CoSaliencyResult, name: str, with_map: bool = False) -> dict:
    """COCO's dict of the picture with ``count`` and ``counts``, and ``map``, a PNG in base 64."""
    answer = {"count": result.count, "counts": result.counts, **result.to_coco(name)}
    if with_map:
        answer["map"] = base64.b64encode(encoded(map_to_uint8(result.map))).decode()
    return answer


def mask_png(result: CoSaliencyResult, threshold: float) -> bytes:
    """The mask where the map reaches the threshold."""
    return encoded(result.mask(threshold).view(np.uint8) * np.uint8(255))


def cutouts_zip(result: CoSaliencyResult) -> bytes:
    """A zip of a PNG an object, transparent around it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for i in range(len(result.found)):
            archive.writestr(f"object_{i + 1:02d}.png", encoded(result.object(i)))
    return content.getvalue()


# Media type and content of each file, from a result and a threshold.
FILES: dict[str, tuple[str, Callable[[CoSaliencyResult, float], bytes]]] = {
    "mask.png": ("image/png", mask_png),
    "objects.zip": ("application/zip", lambda result, _: cutouts_zip(result)),
    "objects.json": (
        "application/json",
        lambda result, _: json.dumps(coco_json(result, "picture")).encode(),
    ),
}
