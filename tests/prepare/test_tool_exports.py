"""The table of docs/data.md: each tool's export, in its true form, by the command given for it."""

import json
import re
import shlex

import numpy as np
import pytest
from converter_data import convert, read_back, save_picture, square
from PIL import Image
from tool_loading import ROOT

from cosal_d2.cli import main
from cosal_d2.utils.masks import mask_rle

pytestmark = pytest.mark.usefixtures("one_thread")
HEIGHT, WIDTH = 96, 128
CLASSES = ("apple", "pear")
OBJECTS = (("apple", square(5, 5, 30)), ("apple", square(5, 60, 30)), ("pear", square(95, 5, 25)))


def table():
    """Pairs of tool and export with the command of each."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `(cosal [^`]+)` \|$", read_document(), re.M)
    return {(tool, export.split(",")[0].split(";")[0]): command for tool, export, command in rows}


def read_document():
    return (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def write_json(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def coco(image, annotation, first_category=1, **more):
    """COCO's lists of one picture; each object has the fields given beside COCO's least ones."""
    annotations = []
    for number, (name, corners) in enumerate(OBJECTS):
        (x, y), (x1, y1) = corners[0], corners[2]
        entry = {"id": number, "image_id": image["id"], "iscrowd": 0, "area": (x1 - x) * (y1 - y)}
        entry["category_id"] = first_category + CLASSES.index(name)
        entry |= {"bbox": [x, y, x1 - x, y1 - y], "segmentation": [np.ravel(corners).tolist()]}
        annotations.append({**entry, **annotation})
    categories = [{"id": first_category + i, "name": name} for i, name in enumerate(CLASSES)]
    size = {"width": WIDTH, "height": HEIGHT}
    content = {"images": [{**size, **image}], "annotations": annotations, "categories": categories}
    return {**content, **more}


def write_labels(file):
    """YOLO's lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, corners in OBJECTS:
        shares = (np.array(corners) / (WIDTH, HEIGHT)).ravel()
        lines.append(" ".join([str(CLASSES.index(name)), *(f"{v:.6f}" for v in shares)]))
    file.write_text("\n".join(lines))


def cvat_coco(root):
    save_picture(root / "cvat/images/default/a.jpg")
    image = {"id": 1, "file_name": "a.jpg", "license": 0, "flickr_url": "", "date_captured": 0}
    content = coco(image, {"attributes": {"occluded": False}})
    content["licenses"] = [{"name": "", "id": 0, "url": ""}]
    painted = np.zeros((HEIGHT, WIDTH), np.uint8)
    painted[60:90, 5:35] = 1  # the second apple
    runs = np.diff(np.flatnonzero(np.diff(painted.ravel("F"), prepend=2, append=2)))
    rle = {"counts": runs.tolist(), "size": [HEIGHT, WIDTH]}
    content["annotations"][1].update(segmentation=rle, iscrowd=1)
    write_json(root / "cvat/annotations/instances_default.json", content)


def cvat_yolo(root):
    save_picture(root / "cvat/images/train/a.jpg")
    write_labels(root / "cvat/labels/train/a.txt")
    (root / "cvat/train.txt").write_text("images/train/a.jpg\n")
    names = "names:\n  0: apple\n  1: pear\n"
    (root / "cvat/data.yaml").write_text(f"{names}path: .\ntrain: train.txt\n")


def studio_coco(root):
    # The picture is stored lying on its side; the json has that size, the corners are upright.
    save_picture(root / "studio/images/1/0a1b2c3d-a.jpg", (WIDTH, HEIGHT), orientation=6)
    image = {"id": 0, "file_name": "images\\1/0a1b2c3d-a.jpg", "width": HEIGHT, "height": WIDTH}
    write_json(root / "studio/result.json", coco(image, {"ignore": 0}, first_category=0))


def studio_yolo(root):
    save_picture(root / "studio/images/0a1b2c3d-a.jpg")
    write_labels(root / "studio/labels/0a1b2c3d-a.txt")
    (root / "studio/classes.txt").write_text("apple\npear")
    write_json(root / "studio/notes.json", {"categories": [], "info": {"version": "1.0"}})


def labelme(root):
    save_picture(root / "photos/a.jpg")
    same = {"group_id": None, "description": "", "shape_type": "polygon", "flags": {}, "mask": None}
    shapes = [{"label": name, "points": corners, **same} for name, corners in OBJECTS]
    content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "a.jpg"}
    content |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    write_json(root / "photos/a.json", content)


def roboflow_coco(root):
    name = "a_jpg.rf.0123456789abcdef0123456789abcdef.jpg"
    save_picture(root / "fruit/train" / name)
    image = {"id": 0, "license": 1, "file_name": name, "extra": {"name": "a.jpg"}}
    content = coco(image, {}, info={"description": "Exported from roboflow.com"})
    for category in content["categories"]:
        category["supercategory"] = "fruits"
    content["categories"].insert(0, {"id": 0, "name": "fruits", "supercategory": "none"})
    write_json(root / "fruit/train/_annotations.coco.json", content)


def roboflow_yolo(root):
    for split in ("train", "valid", "test"):
        name = f"{split}_jpg.rf.0123456789abcdef0123456789abcdef"
        save_picture(root / "fruit" / split / "images" / f"{name}.jpg")
        write_labels(root / "fruit" / split / "labels" / f"{name}.txt")
    (root / "fruit/README.dataset.txt").write_text("fruit\n")
    (root / "fruit/README.roboflow.txt").write_text("fruit\n")
    paths = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    names = "nc: 2\nnames: ['apple', 'pear']\n"
    (root / "fruit/data.yaml").write_text(f"{paths}\n{names}\nroboflow:\n  version: 1\n")


def makesense(root):
    save_picture(root / "photos/a.jpg")
    content = coco({"id": 1, "file_name": "a.jpg"}, {}, info={"description": "my-project-name"})
    for entry in content["annotations"]:  # it does not close the polygon, nor round
        entry["segmentation"] = [[v + 0.25 for v in entry["segmentation"][0]]]
    write_json(root / "labels.json", content)


def via(root):
    save_picture(root / "photos/a.jpg")
    image = {"id": 0, "file_name": "a.jpg", "license": 0, "coco_url": "a.jpg", "date_captured": ""}
    content = coco(image, {"image_id": "0"})
    for entry in content["annotations"]:  # 2.0.5 and before
        entry["segmentation"] = entry["segmentation"][0]
    point = {"segmentation": [[]], "area": [], "bbox": [], "keypoints": [9, 9, 2], "iscrowd": 0}
    content["annotations"].append({**point, "id": 9, "image_id": "0", "category_id": 1})
    write_json(root / "via_export_coco.json", content)


def yolo(root):
    save_picture(root / "yolo/images/train/a.jpg")
    write_labels(root / "yolo/labels/train/a.txt")
    (root / "yolo/data.yaml").write_text("path: ../yolo\nnames:\n  0: apple\n  1: pear\n")


def voc(root):
    save_picture(root / "VOC2012/JPEGImages/a.jpg")
    objects, labels = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    for number, (name, corners) in enumerate(OBJECTS, 1):
        (x, y), (x1, y1) = corners[0], corners[2]
        inside = np.s_[y : y1 + 1, x : x1 + 1]
        objects[inside], labels[inside] = number, 5 if name == "apple" else 9  # bottle, chair
        objects[y, x : x1 + 1] = labels[y, x : x1 + 1] = 255
    for part, values in (("Object", objects), ("Class", labels)):
        image = Image.fromarray(values, "P")
        image.putpalette(np.random.default_rng(0).integers(0, 255, 768).tolist())
        (root / f"VOC2012/Segmentation{part}").mkdir()
        image.save(root / f"VOC2012/Segmentation{part}/a.png")


def supervisely(root):
    save_picture(root / "project/ds/images/a.jpg")
    image = {"id": 20351, "license": "None", "file_name": "a.jpg", "url": "None"}
    image["date_captured"] = "2024-05-22T14:22:09.239Z"
    content = coco(image, {}, licenses=[{"url": "None", "id": 0, "name": "None"}])
    painted = np.zeros((HEIGHT, WIDTH), np.uint8)
    painted[5:31, 95:121] = 1  # the pear
    runs = np.diff(np.flatnonzero(np.diff(painted.ravel("F"), prepend=2, append=2)))
    rle = {"counts": runs.tolist(), "size": [HEIGHT, WIDTH]}
    content["annotations"][2]["segmentation"] = rle
    write_json(root / "project/ds/annotations/instances.json", content)


EXPORTS = {
    ("CVAT", "COCO 1.0"): cvat_coco,
    ("CVAT", "Ultralytics YOLO Segmentation 1.0"): cvat_yolo,
    ("Label Studio", "COCO with Images"): studio_coco,
    ("Label Studio", "YOLO with Images"): studio_yolo,
    ("LabelMe", "its json files"): labelme,
    ("Roboflow", "COCO Segmentation"): roboflow_coco,
    ("Roboflow", "YOLOv8 of an instance segmentation project"): roboflow_yolo,
    ("makesense.ai", "polygons"): makesense,
    ("VIA", "Annotation"): via,
    ("YOLO", "images/"): yolo,
    ("Pascal VOC", "JPEGImages/"): voc,
    ("Supervisely", "app Export to COCO"): supervisely,
}


def test_every_row_of_the_table_has_an_export_here():
    assert table().keys() == EXPORTS.keys()


@pytest.mark.parametrize(("tool", "export"), EXPORTS)
def test_the_command_of_the_table_reads_the_export(tmp_path, monkeypatch, capsys, tool, export):
    monkeypatch.chdir(tmp_path)
    EXPORTS[tool, export](tmp_path)
    words = shlex.split(table()[tool, export])[1:]
    assert main([*words, "--out", "data", "--name", "mine", "--workers", "1"]) == 0
    content, found = read_back(tmp_path / "data" / "cosal" / "mine.json")
    assert len(found) == (3 if (tool, "YOLOv8") == ("Roboflow", export[:6]) else 1)
    apple, pear = ("bottle", "chair") if tool == "Pascal VOC" else CLASSES
    for image in content["images"]:
        objects = found[image["file_name"]]
        assert (image["height"], image["width"]) == (HEIGHT, WIDTH)
        assert image["cosalient_category"] == apple and image.get("clean", True)
        assert [own for _, own, _ in objects] == [apple, apple, pear]
        for (_, _, mask), (_, corners) in zip(objects, OBJECTS, strict=True):
            truth = np.zeros((HEIGHT, WIDTH), bool)
            (x, y), (x1, y1) = corners[0], corners[2]
            truth[y:y1, x:x1] = True
            assert (mask & truth).sum() / (mask | truth).sum() > 0.85
    shown = capsys.readouterr().out
    assert "left out: none" in shown and "not clean" not in shown


@pytest.mark.parametrize("labels", [False, True])
def test_roboflows_root_may_be_given_for_all_three(tmp_path, labels):
    roboflow_yolo(tmp_path)
    root = tmp_path / "fruit"
    line = ["yolo", "--images", root, "--names", root / "data.yaml"]
    made = convert(tmp_path, [*line, *(["--labels", root] if labels else [])])
    assert len(read_back(made)[1]) == 3


def test_yolos_names_may_be_in_data_yml(tmp_path):
    yolo(tmp_path)
    (tmp_path / "yolo/data.yaml").rename(tmp_path / "yolo/data.yml")
    assert len(read_back(convert(tmp_path, ["yolo", "--images", tmp_path / "yolo/images"]))[1]) == 1


def test_yolo_without_names_or_labels_says_what_to_give(tmp_path, capsys):
    yolo(tmp_path)
    (tmp_path / "yolo/data.yaml").rename(tmp_path / "yolo/classes.yaml")
    convert(tmp_path, ["yolo", "--images", tmp_path / "yolo/images"], status=1)
    assert "no data.yaml in it or above it; give" in capsys.readouterr().err
    line = ["yolo", "--images", tmp_path / "yolo/images", "--names", tmp_path / "yolo/classes.yaml"]
    assert len(read_back(convert(tmp_path, line))[1]) == 1


def test_a_true_crowd_stays_one(tmp_path):
    """Only CVAT's painted masks are marked `iscrowd` without being crowds."""
    cvat_coco(tmp_path)
    file = tmp_path / "cvat/annotations/instances_default.json"
    content = json.loads(file.read_text())
    crowd = np.zeros((HEIGHT, WIDTH), np.uint8)
    crowd[60:80, 60:90] = 1
    rle = mask_rle(crowd)
    segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
    more = {"id": 9, "image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": segmentation}
    content["annotations"].append({**more, "area": 600, "bbox": [60, 60, 30, 20]})
    file.write_text(json.dumps(content))
    line = ["coco", "--json", file, "--images", tmp_path / "cvat"]
    made = json.loads(convert(tmp_path, line).read_text())
    assert [a["iscrowd"] for a in made["annotations"]] == [0, 0, 1, 0]
