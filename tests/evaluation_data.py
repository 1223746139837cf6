"""Datasets drawn in memory for the tests of the evaluation."""

import uuid
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from detectron2.data import DatasetCatalog
from pycocotools import mask as mask_util

from cosal_d2.evaluation import decode_truth

VAL_JSON = Path(__file__).resolve().parents[2] / "shared" / "data" / "cosal" / "val.json"


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
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


def rle(mask):
    return mask_util.encode(np.asfortranarray(mask))


def record(image_id, height, width, objects, distractors=()):
    annotations = [
        {"segmentation": rle(box_mask(height, width, box)), "iscrowd": 0, "cosalient": cosalient}
        for boxes, cosalient in ((objects, True), (distractors, False))
        for box in boxes
    ]
    return {
        "file_name": f"images/{image_id}.jpg",
        "image_id": image_id,
        "height": height,
        "width": width,
        "cosalient_category": None,
        "annotations": annotations,
    }


def scene_records(count, seed=0):
    rng = np.random.default_rng(seed)
    records = []
    for i in range(count):
        height, width = (int(v) for v in rng.integers(24, 64, 2))
        boxes = []
        for _ in range(int(rng.integers(2, 7))):
            x, y = int(rng.integers(0, width - 8)), int(rng.integers(0, height - 8))
            boxes.append((x, y, x + int(rng.integers(4, 9)), y + int(rng.integers(4, 9))))
        n_distractors = int(rng.integers(0, len(boxes)))
        objects, distractors = boxes[n_distractors:], boxes[:n_distractors]
        records.append(record(i, height, width, objects if i % 4 != 3 else [], distractors))
    return records


def noisy_map(rec, seed=0):
    rng = np.random.default_rng([seed, rec["image_id"]])
    truth = decode_truth(rec).mask
    return torch.from_numpy((0.4 * truth + 0.6 * rng.random(truth.shape)).astype(np.float32))


def records_of(data):
    """Records of a COCO json's content, without its images."""
    names = {c["id"]: c["name"] for c in data["categories"]}
    by_image = {image["id"]: [] for image in data["images"]}
    for annotation in data["annotations"]:
        label = names[annotation["category_id"]]
        by_image[annotation["image_id"]].append(
            {**annotation, "class_name": label, "cosalient": label != "distractor"}
        )
    return [
        {**image, "image_id": image["id"], "annotations": by_image[image["id"]]}
        for image in data["images"]
    ]


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
