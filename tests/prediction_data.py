"""A predictor without a network, and its results, for tests of what is done with them."""

import csv
import json

import numpy as np
from network_data import tiny_config
from PIL import Image

from cosal_d2.inference import CoSaliencyResult
from cosal_d2.utils.object_instances import DisjointMasks, ObjectInstances

GROUPS = (0, 0, 0, 1, 1)


class Stripes:
    """Regions whose objects are upright stripes of one width, which fill the picture."""

    def __init__(self, groups):
        self.groups = groups

    def find(self, cosal_map):
        height, width = cosal_map.shape
        count = len(self.groups)
        labels = np.arange(width, dtype=np.int32) * count // width + 1
        ids = np.arange(1, count + 1, dtype=np.int32)
        edges = [np.flatnonzero(labels == i)[[0, -1]] for i in ids]
        boxes = [[x0, 0, x1 + 1, height] for x0, x1 in edges]
        return ObjectInstances(
            (height, width),
            pred_boxes=np.array(boxes, np.float32).reshape(-1, 4),
            pred_masks=DisjointMasks(np.tile(labels, (height, 1)), ids),
            scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
            group_ids=np.array(self.groups, np.int64),
            embeddings=np.zeros((count, 4), np.float32),
        )


def result(image, groups=GROUPS):
    """A map that is brighter from left to right, then from top to bottom, with ``Stripes``."""
    height, width = image.shape[:2]
    cosal_map = np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width)
    output = {"cosal_map": cosal_map, "repeats": 0.75, "regions": Stripes(groups)}
    return CoSaliencyResult(image, output)


class StandIn:
    """A predictor that gives :func:`result`, and remembers what it was asked for."""

    def __init__(self, cfg=None, device="", dtype="", size=None, groups=GROUPS):
        self.cfg = cfg or tiny_config("MODEL.GROUPING.ENABLED", "True")
        self.asked = (device, dtype, size)
        self.groups = groups
        self.finds_objects = self.cfg.MODEL.GROUPING.ENABLED
        self.batches = []
        self.like, self.tiles = [], []

    def __call__(self, image, like=None, tiles=1):
        return self.batch([image], [like], tiles)[0]

    def batch(self, images, like=None, tiles=1):
        self.batches.append(len(images))
        self.like.append(like)
        self.tiles.append(tiles)
        return [result(image, self.groups) for image in images]


def write_pictures(folder, count, broken=(), size=(20, 12)):
    """Noise ``00.png``, ``01.png`` ...; of those whose numbers are in ``broken`` the end is
    missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        path = folder / f"{i:02d}.png"
        pixels = np.random.default_rng(i).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        if i in broken:
            path.write_bytes(path.read_bytes()[:100])
    return folder


def rows(folder):
    """Of counts.csv."""
    with open(folder / "counts.csv", newline="", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def annotated(folder):
    """Names of the pictures in objects.json, with their numbers of objects."""
    coco = json.loads((folder / "objects.json").read_text())
    ids = [a["image_id"] for a in coco["annotations"]]
    assert [a["id"] for a in coco["annotations"]] == list(range(1, len(ids) + 1))
    assert [i["id"] for i in coco["images"]] == list(range(1, len(coco["images"]) + 1))
    return {i["file_name"]: ids.count(i["id"]) for i in coco["images"]}
