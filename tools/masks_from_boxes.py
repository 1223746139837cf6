"""How near the masks of ``cosal data coco --masks-from-boxes`` are to true ones:
``masks_from_boxes.py --json FILE --images FOLDER``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from cosal_d2.prepare.convert.coco import coco_source
from cosal_d2.prepare.convert.conversion import Source
from cosal_d2.utils.masks import mask_rle


def intersection_over_union(source: Source, segment) -> dict[str, np.ndarray]:
    """The IoU with its true mask of each object's mask from its box, crowds left out.

    Args:
        source: of pictures with masks.
        segment: gives masks in boxes, such as ``CoSaliencyPredictor().masks_in``.

    Returns:
        (N,) each: of the network's masks, of the boxes, and of the ellipses in them.
    """
    found: dict[str, list[float]] = {"network": [], "box": [], "ellipse": []}
    for task in tqdm(source.tasks, unit="image"):
        scene = source.read(task)
        true = [item.rle for item in scene.objects if item.area and not item.crowd]
        if not true:
            continue
        boxes = coco_mask.toBbox(true)
        boxes[:, 2:] += boxes[:, :2]
        drawn = [_box_and_ellipse(box, *scene.size) for box in boxes]
        made = {"network": segment(scene.file, boxes)}
        made["box"], made["ellipse"] = zip(*drawn, strict=True)
        for name, masks in made.items():
            for rle, mask in zip(true, masks, strict=True):
                found[name].append(coco_mask.iou([mask_rle(mask)], [rle], [0]).item())
    return {name: np.array(values) for name, values in found.items()}


def _box_and_ellipse(box: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    y, x = np.mgrid[:height, :width] + 0.5
    u, v = (x - centre[0]) / half[0], (y - centre[1]) / half[1]
    return np.maximum(abs(u), abs(v)) <= 1, u**2 + v**2 <= 1


def main(argv: list[str] | None = None) -> int:
    """Print the mean and the median, and the share of objects below a half."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="COCO instance json with masks")
    parser.add_argument("--images", type=Path, required=True, help="its pictures")
    args = parser.parse_args(argv)
    try:
        source = coco_source(args.json, args.images)  # before anything heavy is imported
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    from cosal_d2.inference import CoSaliencyPredictor

    found = intersection_over_union(source, CoSaliencyPredictor().masks_in)
    print("| mask | objects | mean IoU | median | below 0.5 |\n|---|---|---|---|---|")
    for name, iou in found.items():
        numbers = f"{iou.mean():.3f} | {np.median(iou):.3f} | {(iou < 0.5).mean():.3f}"
        print(f"| {name} | {len(iou)} | {numbers} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
