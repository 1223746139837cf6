"""Small pictures with their masks outlined: random, smallest, largest and most crowded scenes."""

from __future__ import annotations

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from cosal_d2.prepare.check.parts import Item
from cosal_d2.prepare.check.statistics import PictureNumbers, split_roles
from cosal_d2.utils.masks import to_rle
from cosal_d2.utils.pictures import read_image

SIDE = 220  # pixels of the longest side
COUNT = 12  # pictures a sheet
COSALIENT, DISTRACTOR, CROWD = (50, 215, 30), (0, 128, 255), (220, 60, 220)  # BGR


def draw_small(item: Item) -> np.ndarray:
    """A picture with co-salient masks in green, crowds in violet, distractors in orange.

    Returns:
        uint8 BGR (h, w, 3), the longest side `SIDE` pixels.

    Raises:
        ValueError, OSError: picture or mask are unusable.
    """
    image = read_image(str(item.file))
    height, width = image.shape[:2]
    factor = SIDE / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    truth, others = split_roles(item)
    for entries, colour in ((others, DISTRACTOR), (truth, COSALIENT)):
        for entry in entries:
            rle = to_rle(entry["segmentation"], item.image["height"], item.image["width"])
            mask = cv2.resize(coco_mask.decode(rle), size, interpolation=cv2.INTER_NEAREST)
            tint = np.array(CROWD if entry.get("iscrowd", 0) else colour, np.float32)
            inside = mask > 0
            small[inside] = (0.65 * small[inside] + 0.35 * tint).astype(np.uint8)
            outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(small, outlines, -1, tuple(int(v) for v in tint), 1)
    return small


def choose(numbers: list[PictureNumbers], seed: int, count: int = COUNT) -> dict[str, list[int]]:
    """Positions of the pictures of each sheet.

    Args:
        numbers: of all pictures.
        seed: of the random sheet.
        count: pictures a sheet, at most.
    """
    everything = range(len(numbers))
    with_objects = [i for i in everything if numbers[i].areas]
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(numbers))[:count]
    return {
        "Random scenes": sorted(int(i) for i in drawn),
        "Smallest objects": sorted(with_objects, key=lambda i: min(numbers[i].areas))[:count],
        "Largest objects": sorted(with_objects, key=lambda i: -max(numbers[i].areas))[:count],
        "Most crowded scenes": sorted(
            everything, key=lambda i: -(numbers[i].instances + numbers[i].distractors)
        )[:count],
    }
