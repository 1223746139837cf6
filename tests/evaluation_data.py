"""Datasets drawn in memory, maps of them, and their files, for the tests of the evaluation."""

import json
import uuid
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.data import DatasetCatalog

from cosal_d2.evaluation import decode_truth
from cosal_d2.utils.masks import mask_rle, rle_fields

SIZES = ((12, 16), (10, 10), (8, 14), (9, 11), (12, 12))
CLASSES = ("apple", "pear")


@contextmanager
def registered(records):
    name = f"cosal_test_{uuid.uuid4().hex}"
    DatasetCatalog.register(name, lambda: records)
    try:
        yield name
    finally:
        DatasetCatalog.remove(name)


def box_mask(height, width, box):
    x0, y0, x1, y1 = box
    mask = np.zeros((height, width), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def record(image_id, height, width, objects, distractors=()):
    annotations = [
        {
            "segmentation": mask_rle(box_mask(height, width, box)),
            "iscrowd": 0,
            "cosalient": cosalient,
        }
        for boxes, cosalient in ((objects, True), (distractors, False))
        for box in boxes
    ]
    return {
        "file_name": f"images/{image_id}.jpg",
        "image_id": image_id,
        "height": height,
        "width": width,
        "annotations": annotations,
    }


def noisy_map(rec, share=0.4):
    rng = np.random.default_rng(rec["image_id"])
    truth = decode_truth(rec).mask
    return torch.from_numpy(share * truth + (1 - share) * rng.random(truth.shape)).float()


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
    images, annotations = [], []
    for r in records:
        size = {"height": r["height"], "width": r["width"]}
        images.append({"id": r["image_id"], "file_name": Path(r["file_name"]).name, **size})
        for annotation in r["annotations"]:
            category = 1 + r["image_id"] % 2 if annotation["cosalient"] else 3
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": r["image_id"],
                    "category_id": category,
                    "iscrowd": 0,
                    **rle_fields([annotation["segmentation"]])[0],
                }
            )
    categories = [{"id": i + 1, "name": name} for i, name in enumerate((*CLASSES, "distractor"))]
    content = {"images": images, "categories": categories, "annotations": annotations}
    path.write_text(json.dumps(content))
    return path


def write_masks(folder, records):
    folder.mkdir()
    for r in records:
        mask = decode_truth(r).mask.astype(np.uint8) * 255
        cv2.imwrite(str(folder / f"{Path(r['file_name']).stem}.png"), mask)
    return folder


def levels_of(r, share):
    return (noisy_map(r, share).numpy() * 255).astype(np.uint8)


def write_maps(folder, records, share=0.6, suffix=""):
    folder.mkdir(parents=True)
    for r in records:
        path = folder / f"{Path(r['file_name']).stem}{suffix}.png"
        cv2.imwrite(str(path), levels_of(r, share))
    return folder


def blobs(rng, height, width, count):
    y, x = np.mgrid[:height, :width]
    truth = np.zeros((height, width), dtype=bool)
    for _ in range(count):
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        ry, rx = rng.uniform(3, max(4, height / 3)), rng.uniform(3, max(4, width / 3))
        truth |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
    truth[height // 2, width // 2] = True
    return truth


def soft_map(rng, truth):
    noise = rng.random(truth.shape)
    weight = rng.uniform(0.2, 0.9)
    return np.clip(weight * truth + (1 - weight) * noise**2, 0, 1)
