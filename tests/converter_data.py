"""Synthetic scenes in the formats that converters read."""

import json
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from cosal_d2.cli import main
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


@cache
def class_names():
    """The classes of all scenes, sorted."""
    return sorted({name for _, objects in scenes() for name, _, _ in objects})


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


# Each of the following writes a source, and gives the command line of its conversion and the
# expected objects of each picture as (class, mask).


def write_coco(root: Path, change=None):
    """A COCO json of the scenes, in which each object has its own class."""
    images, annotations, expected = [], [], {}
    folder = write_pictures(root / "pictures")
    for i, (_, objects) in enumerate(scenes()):
        images.append({"id": i + 10, "file_name": f"{i}.png", "height": 96, "width": 128})
        expected[f"{i}.png"] = [(name, mask) for name, _, mask in objects]
        for name, _, mask in objects:
            own = {"id": len(annotations) + 5, "image_id": i + 10, "iscrowd": 0}
            own["category_id"] = class_names().index(name) + 1
            annotations.append({**own, **rle_fields([mask_rle(mask)])[0]})
    categories = [{"id": i, "name": n} for i, n in enumerate(class_names(), 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    if change:
        change(content)
    json_file = root / "pictures.json"
    json_file.write_text(json.dumps(content))
    line = ["coco", "--json", json_file, "--images", folder, "--min-area", "0.001"]
    return line, expected


def write_voc(root: Path):
    """VOC's tree; a palette PNG each, with a void border; classes stand for VOC's."""
    write_pictures(root / "JPEGImages", ".jpg")
    for part in ("SegmentationObject", "SegmentationClass"):
        (root / part).mkdir()
    expected = {}
    for i, (_, objects) in enumerate(scenes()):
        values, labels = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
        for number, (name, _, mask) in enumerate(objects, 1):
            values[mask], labels[mask] = number, 1 + class_names().index(name)
        free = values == 0
        values[0, free[0]] = labels[0, free[0]] = 255
        for part, array in (("SegmentationObject", values), ("SegmentationClass", labels)):
            image = Image.fromarray(array, "P")
            image.putpalette(bytes(range(256)) * 3)
            image.save(root / part / f"{i}.png")
        expected[f"{i}.jpg"] = [(CLASSES[class_names().index(n)], m) for n, _, m in objects]
    return ["voc", "--voc", root, "--min-area", "0.001"], expected


def write_index_masks(root: Path, kind=np.uint8):
    """Instance-index PNGs; 16-bit ones have indices over 255."""
    images = write_pictures(root / "images")
    (root / "masks").mkdir()
    expected = {}
    for i, (_, objects) in enumerate(scenes()):
        values = np.zeros(SIZE, kind)
        for number, (_, _, mask) in enumerate(objects, 1):
            values[mask] = number * (300 if kind == np.uint16 else 1)
        Image.fromarray(values).save(root / "masks" / f"{i}.png")
        expected[f"{i}.png"] = [("object", mask) for _, _, mask in objects]
    line = ["masks", "--images", images, "--masks", root / "masks"]
    return [*line, *(["--kind", "index"] if kind == np.uint16 else [])], expected


def write_labelme(root: Path):
    """LabelMe files beside their pictures."""
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
    return ["labelme", "--json", root], expected


def write_yolo(root: Path):
    """YOLO's tree."""
    images = write_pictures(root / "images", ".jpg")
    (root / "labels").mkdir()
    listing = "\n".join(f"  {i}: {n}" for i, n in enumerate(class_names()))
    (root / "data.yaml").write_text(f"path: .\nnames:\n{listing}\n")
    expected = {}
    for i, (_, objects) in enumerate(scenes()):
        lines, masks = [], []
        for name, _, mask in objects:
            outline, inside = outlined(mask)
            shares = (outline / (128, 96)).ravel()
            lines.append(" ".join([str(class_names().index(name)), *(f"{v:.6f}" for v in shares)]))
            masks.append((name, inside))
        (root / "labels" / f"{i}.txt").write_text("\n".join(lines) + "\n")
        expected[f"{i}.jpg"] = masks
    line = ["yolo", "--images", images, "--labels", root / "labels"]
    return [*line, "--names", root / "data.yaml", "--min-area", "0.001"], expected


def convert(root: Path, line, *options, status=0):
    """Run `cosal data` into `root/cosal/made.json`, which is given."""
    ends = ["--out", root, "--name", "made", "--workers", "1", *options]
    assert main(["data", *map(str, [*line, *ends])]) == status
    return root / "cosal" / "made.json"


def read_back(json_file: Path):
    """The json, and (category, class_name, mask) of each annotation by picture."""
    content = json.loads(json_file.read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    files = {i["id"]: i["file_name"] for i in content["images"]}
    found = {name: [] for name in files.values()}
    for entry in content["annotations"]:
        mask = coco_mask.decode(entry["segmentation"]) > 0
        own = names[entry["category_id"]]
        found[files[entry["image_id"]]].append((own, entry.get("class_name", own), mask))
    return content, found


def truth(objects):
    """The union of the co-salient masks of what `read_back` gives for a picture."""
    return np.any([mask for name, _, mask in objects if name != "distractor"], axis=0)


# A picture of squares of one class, in a format that keeps few words.

SQUARES = ((5, 5, 30), (5, 60, 30))


def square(x, y, side):
    """The corners of a square."""
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def save_picture(file: Path, size=SIZE, orientation=1):
    """A picture of noise, (height, width) as stored, with an EXIF orientation."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    Image.fromarray(noise).save(file, exif=exif)


def write_squares(root: Path, kind, change=None, squares=SQUARES, stated=SIZE, **picture):
    """`a.png` with squares of the class cup; the command line of its conversion.

    Args:
        kind: coco, labelme or yolo.
        change: changes the json's content before it is written.
        squares: x, y and side of each.
        stated: height and width in the json.
        picture: of `save_picture`.
    """
    root.mkdir(parents=True, exist_ok=True)
    shapes = [square(*s) for s in squares]
    folder = root if kind == "labelme" else root / "images"
    save_picture(folder / "a.png", **picture)
    height, width = stated
    if kind == "yolo":
        (root / "labels").mkdir()
        lines = [" ".join(map(str, [0, *(np.array(s) / (width, height)).ravel()])) for s in shapes]
        (root / "labels" / "a.txt").write_text("".join(f"{line}\n" for line in lines))
        (root / "data.yaml").write_text("names: [cup]\n")
        return ["yolo", "--images", folder]
    if kind == "labelme":
        content = {"imagePath": "a.png", "imageHeight": height, "imageWidth": width}
        content["shapes"] = [{"label": "cup", "points": s} for s in shapes]
        line = ["labelme", "--json", root]
    else:
        image = {"id": 1, "file_name": "a.png", "height": height, "width": width}
        annotations = [
            {
                **{"id": i, "image_id": 1, "category_id": 1, "iscrowd": 0},
                **{"bbox": [x, y, side, side], "segmentation": [sum(square(x, y, side), [])]},
            }
            for i, (x, y, side) in enumerate(squares, 1)
        ]
        content = {"images": [image], "annotations": annotations}
        content["categories"] = [{"id": 1, "name": "cup"}]
        line = ["coco", "--json", root / "a.json", "--images", folder]
    if change:
        change(content)
    (root / "a.json").write_text(json.dumps(content))
    return line
