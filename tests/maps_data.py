"""Folders of maps, and the json or masks they are scored against, for tests."""

import json
from pathlib import Path

import cv2
import numpy as np
from evaluation_data import record, rle

from cosal_d2.evaluation import decode_truth

SIZES = ((12, 16), (10, 10), (8, 14), (9, 11), (12, 12))
CLASSES = ("apple", "pear")


def scenes(count=5):
    """Records with a growing number of objects, the last two with a distractor."""
    records = []
    for i in range(count):
        height, width = SIZES[i % len(SIZES)]
        objects = [(2 * j, 1, 2 * j + 1 + (j == 0), 4) for j in range(1 + i % 4)]
        distractors = [(0, height - 2, 3, height)] if i >= count - 2 else []
        records.append(record(i + 1, height, width, objects, distractors))
    return records


def write_json(path, records):
    """A COCO json without images: class apple for even ids, pear for odd ones."""
    content = {
        "images": [
            {
                "id": r["image_id"],
                "file_name": Path(r["file_name"]).name,
                "height": r["height"],
                "width": r["width"],
                "cosalient_category": CLASSES[r["image_id"] % 2],
            }
            for r in records
        ],
        "categories": [
            {"id": i + 1, "name": name} for i, name in enumerate((*CLASSES, "distractor"))
        ],
        "annotations": [],
    }
    for r in records:
        truth = decode_truth(r)
        for role, masks in (("object", truth.objects), ("distractor", truth.distractors)):
            for mask in masks:
                encoded = rle(mask.astype(np.uint8))
                y, x = np.nonzero(mask)
                w, h = int(np.ptp(x)) + 1, int(np.ptp(y)) + 1
                content["annotations"].append(
                    {
                        "id": len(content["annotations"]) + 1,
                        "image_id": r["image_id"],
                        "category_id": 1 + r["image_id"] % 2 if role == "object" else 3,
                        "bbox": [int(x.min()), int(y.min()), w, h],
                        "area": int(mask.sum()),
                        "iscrowd": 0,
                        "segmentation": {**encoded, "counts": encoded["counts"].decode()},
                    }
                )
    path.write_text(json.dumps(content))
    return path


def write_masks(folder, records):
    folder.mkdir()
    for r in records:
        mask = decode_truth(r).mask.astype(np.uint8) * 255
        cv2.imwrite(str(folder / f"{Path(r['file_name']).stem}.png"), mask)
    return folder


def levels_of(r, share, seed=0):
    rng = np.random.default_rng([seed, r["image_id"]])
    truth = decode_truth(r).mask
    return ((share * truth + (1 - share) * rng.random(truth.shape)) * 255).astype(np.uint8)


def write_maps(folder, records, share=0.6, suffix=""):
    folder.mkdir(parents=True)
    for r in records:
        path = folder / f"{Path(r['file_name']).stem}{suffix}.png"
        cv2.imwrite(str(path), levels_of(r, share))
    return folder
