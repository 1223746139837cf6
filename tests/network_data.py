"""A tiny network, its inputs, and a tiny dataset on disk for the tests."""

import json
import uuid
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from pycocotools import mask as mask_util

import cosal_d2.modeling as _  # noqa: F401  (registers the network)
from cosal_d2.config import get_cosal_config
from cosal_d2.data import register_cosal_instances

TINY = [
    *("MODEL.BACKBONE.WEIGHTS", "", "MODEL.DTYPE", "float32", "MODEL.DEVICE", "cpu"),
    *("MODEL.FEATURE_SENSITIVE.CHANNELS", "16", "MODEL.FEATURE_SENSITIVE.NUM_CONVS", "1"),
    *("MODEL.DECODER.CHANNELS", "(16, 8, 8, 8)", "MODEL.DECODER.SKIP_CHANNELS", "(8, 8, 8, 8)"),
    *("MODEL.RFM.REDUCED_CHANNELS", "4", "MODEL.RFM.EMBEDDING_DIM", "8"),
    *("MODEL.GROUPING.ENABLED", "False"),
    *("MODEL.RFM.REGION_SIDES", "(8.0, 64.0)", "MODEL.ANCHOR_GENERATOR.SIZES", "[[16, 32]]"),
    *("INPUT.MIN_SIZE_TRAIN", "(48, 64)", "INPUT.MAX_SIZE_TRAIN", "96"),
    *("INPUT.MIN_SIZE_TEST", "64", "INPUT.MAX_SIZE_TEST", "96"),
    *("DATALOADER.NUM_WORKERS", "0", "SOLVER.WARMUP_ITERS", "0", "TEST.EVAL_PERIOD", "0"),
    *("INPUT.COMPOSITES.PROB", "0.0", "INPUT.COMPOSITES.PASTE_PROB", "0.0"),
    *("INPUT.COMPOSITES.SINGLES", "()", "SOLVER.IMS_PER_BATCH", "2"),
    *("DATASETS.TRAIN", "()", "DATASETS.TEST", "()", "TEST.TRIPLET_PROBE_IMAGES", "0"),
]
# On top of TINY, which is the paper's network.
GROUPED = ["MODEL.GROUPING.ENABLED", "True", "MODEL.GROUPING.NUM_REGIONS", "8"]
RESNET = [
    *("MODEL.BACKBONE.NAME", "build_resnet_backbone"),
    *("MODEL.RESNETS.OUT_FEATURES", "['res2', 'res3', 'res4']"),
    *("MODEL.DECODER.CHANNELS", "(16, 8)", "MODEL.DECODER.NUM_CONVS", "(1, 1)"),
    *("MODEL.DECODER.SKIP_CHANNELS", "(8, 8)"),
]


def tiny_config(*opts):
    return get_cosal_config("cosal_vgg16.yaml", [*TINY, *opts])


def tiny_model(*opts, seed=0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return build_model(tiny_config(*opts))


def instances(size, boxes, cosalient=None, classes=None):
    """Ground truth of one image; every object is co-salient and of class 0 unless told."""
    result = Instances(size)
    result.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    count = len(result.gt_boxes)
    flags = [True] * count if cosalient is None else cosalient
    result.gt_cosalient = torch.tensor(flags, dtype=torch.bool)
    result.gt_classes = torch.tensor([0] * count if classes is None else classes).long()
    return result


def sample(size=(64, 64), boxes=((4, 4, 28, 30), (34, 30, 60, 60)), cosalient=None, seed=1):
    """One training input: noise, with a brighter rectangle for each object."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 120, (3, *size), dtype=np.uint8)
    truth = np.zeros(size, np.uint8)
    targets = instances(size, list(boxes), cosalient)
    for box, flag in zip(boxes, targets.gt_cosalient.tolist(), strict=True):
        x0, y0, x1, y1 = box
        image[:, y0:y1, x0:x1] += 100
        truth[y0:y1, x0:x1] |= np.uint8(flag)
    masks = torch.zeros((len(targets), *size), dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    targets.gt_masks = BitMasks(masks)
    return {
        "image": torch.from_numpy(image),
        "instances": targets,
        "sem_seg": torch.from_numpy(truth),
        "seed": seed,
    }


def rectangle_mask(size, box):
    x0, y0, x1, y1 = box
    mask = np.zeros(size, np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


def rectangle_rle(size, box):
    rle = mask_util.encode(np.asfortranarray(rectangle_mask(size, box)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def rectangle_polygon(box):
    x0, y0, x1, y1 = box
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def write_dataset(root, name="tiny", count=3, distractors=True):
    """``root/cosal/NAME.json`` and its pictures: two bright rectangles and a dark distractor.

    Landscape 64x48 and portrait 48x64 take turns, as do polygons and RLE.
    """
    folder = root / "cosal" / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    images, annotations = [], []
    for i in range(count):
        height, width = (48, 64) if i % 2 == 0 else (64, 48)
        picture = rng.integers(90, 130, (height, width, 3), dtype=np.uint8)
        boxes = [(3, 4 + i % 3, 19, 22), (25, 24, 45, 42)]
        kinds = [1, 1]
        if distractors:
            boxes.append((27, 3, 42, 16))
            kinds.append(2)
        for box, kind in zip(boxes, kinds, strict=True):
            x0, y0, x1, y1 = box
            picture[y0:y1, x0:x1] = (40, 200, 250) if kind == 1 else (30, 20, 10)
            polygon = rectangle_polygon(box) if i % 2 else rectangle_rle((height, width), box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i + 1,
                    "category_id": kind,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                    "segmentation": polygon,
                }
            )
        cv2.imwrite(str(folder / f"{i}.png"), picture)
        images.append({"id": i + 1, "file_name": f"{i}.png", "height": height, "width": width})
    categories = [{"id": 1, "name": "apple"}, {"id": 2, "name": "distractor"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    json_file = root / "cosal" / f"{name}.json"
    json_file.write_text(json.dumps(content))
    return json_file


@contextmanager
def registered(json_file):
    """The dataset of a json beside its folder, under a name of its own while the block runs."""
    name = f"cosal_test_{uuid.uuid4().hex}"
    register_cosal_instances(name, str(json_file), str(json_file.with_suffix("")))
    try:
        yield name
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
