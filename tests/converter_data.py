"""Synthetic scenes in the formats that converters read."""

import json
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from cosal_d2.prepare.convert.voc import CLASSES
from cosal_d2.prepare.synthetic import SceneOptions, render_scene
from cosal_d2.utils.masks import mask_rle, rle_fields

SIZE = (96, 128)
COUNT = 4


@cache
def scenes(count=COUNT):
    """Pairs of picture (RGB) and objects as (class, co-salient, mask); masks do not overlap."""
    found = []
    for i in range(count):
        scene = render_scene(3, i, SceneOptions(size=SIZE))
        objects = [
            (o.class_name, o.category == scene.cosalient_category, o.mask > 0)
            for o in scene.instances
        ]
        found.append((scene.image[:, :, ::-1], objects))
    return found


def outlined(mask):
    """The largest outline of a mask, (N, 2), and the mask that it encloses."""
    outlines, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    outline = max(outlines, key=cv2.contourArea)
    inside = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(inside, [outline], -1, 1, -1)
    return outline[:, 0], inside > 0


def write_pictures(folder, suffix=".png"):
    folder.mkdir(parents=True)
    for i, (picture, _) in enumerate(scenes()):
        Image.fromarray(picture).save(folder / f"{i}{suffix}")
    return folder


def write_coco(root: Path, change=None):
    """A COCO json of the scenes, in which each object has its own class."""
    images, annotations = [], []
    folder = write_pictures(root / "pictures")
    names = sorted({name for _, objects in scenes() for name, _, _ in objects})
    for i, (_, objects) in enumerate(scenes()):
        images.append({"id": i + 10, "file_name": f"{i}.png", "height": 96, "width": 128})
        for name, _, mask in objects:
            own = {"id": len(annotations) + 5, "image_id": i + 10, "iscrowd": 0}
            own["category_id"] = names.index(name) + 1
            annotations.append({**own, **rle_fields([mask_rle(mask)])[0]})
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": n} for i, n in enumerate(names, 1)],
    }
    if change:
        change(content)
    json_file = root / "pictures.json"
    json_file.write_text(json.dumps(content))
    return json_file, folder


def write_voc(root: Path):
    """VOC's tree; a palette PNG each, with a void border; classes stand for VOC's."""
    names = sorted({name for _, objects in scenes() for name, _, _ in objects})
    write_pictures(root / "JPEGImages", ".jpg")
    for part in ("SegmentationObject", "SegmentationClass"):
        (root / part).mkdir()
    for i, (_, objects) in enumerate(scenes()):
        values, labels = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
        for number, (name, _, mask) in enumerate(objects, 1):
            values[mask], labels[mask] = number, 1 + names.index(name)
        free = values == 0
        values[0, free[0]] = labels[0, free[0]] = 255
        for part, array in (("SegmentationObject", values), ("SegmentationClass", labels)):
            image = Image.fromarray(array, "P")
            image.putpalette(bytes(range(256)) * 3)
            image.save(root / part / f"{i}.png")
    return {name: CLASSES[k] for k, name in enumerate(names)}


def write_labelme(root: Path):
    """LabelMe files beside their pictures; the enclosed masks by file."""
    write_pictures(root, ".PNG")
    expected = {}
    for i, (_, objects) in enumerate(scenes()):
        shapes, masks = [], []
        for name, cosalient, mask in objects:
            outline, inside = outlined(mask)
            label = name if cosalient else "distractor"
            shapes.append({"label": label, "points": outline.tolist(), "shape_type": "polygon"})
            masks.append((label, inside))
        shapes.append({"label": "note", "points": [[3, 3]], "shape_type": "point"})
        content = {"shapes": shapes, "imagePath": f"{i}.PNG", "imageHeight": 96, "imageWidth": 128}
        (root / f"{i}.json").write_text(json.dumps(content))
        expected[f"{i}.PNG"] = masks
    return expected


def write_yolo(root: Path):
    """YOLO's tree; the enclosed masks by file."""
    names = sorted({name for _, objects in scenes() for name, _, _ in objects})
    write_pictures(root / "images", ".jpg")
    (root / "labels").mkdir()
    listing = "\n".join(f"  {i}: {n}" for i, n in enumerate(names))
    (root / "data.yaml").write_text(f"path: .\nnames:\n{listing}\n")
    expected = {}
    for i, (_, objects) in enumerate(scenes()):
        lines, masks = [], []
        for name, _, mask in objects:
            outline, inside = outlined(mask)
            shares = (outline / (128, 96)).ravel()
            lines.append(" ".join([str(names.index(name)), *(f"{v:.6f}" for v in shares)]))
            masks.append((name, inside))
        (root / "labels" / f"{i}.txt").write_text("\n".join(lines) + "\n")
        expected[f"{i}.jpg"] = masks
    return expected


def read_back(json_file: Path):
    """(category, class_name, mask) of each annotation by picture."""
    content = json.loads(json_file.read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    files = {i["id"]: i["file_name"] for i in content["images"]}
    found = {name: [] for name in files.values()}
    for entry in content["annotations"]:
        mask = coco_mask.decode(entry["segmentation"]) > 0
        own = names[entry["category_id"]]
        found[files[entry["image_id"]]].append((own, entry.get("class_name", own), mask))
    return content, found
