"""Every format becomes a dataset whose masks are those of the source."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from converter_data import (
    SIZE,
    read_back,
    scenes,
    write_coco,
    write_labelme,
    write_pictures,
    write_voc,
    write_yolo,
)
from PIL import Image
from tool_loading import load_tool

from cosal_d2.data.datasets import load_cosal_json

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "cosal"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def main():
    return load_tool("tools/prepare_dataset.py").main


@pytest.fixture
def convert(main, tmp_path):
    """Runs a conversion into tmp_path and gives its json file."""

    def run(*argv, status=0):
        line = [*map(str, argv), "--out", str(tmp_path), "--name", "made", "--workers", "1"]
        assert main(line) == status
        return tmp_path / "cosal" / "made.json"

    return run


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def assert_same(found, expected, limit=1.0):
    """Every expected (name, mask) is there once, by the object's own class."""
    assert len(found) == len(expected)
    for name, mask in expected:
        overlaps = [iou(m, mask) for _, own, m in found if own == name]
        assert max(overlaps) >= limit


def assert_roles(content, found):
    groups = {i["file_name"]: i["cosalient_category"] for i in content["images"]}
    for file, objects in found.items():
        assert {n for n, _, _ in objects} <= {groups[file], "distractor"}
        assert sum(n == groups[file] for n, _, _ in objects) >= 2


def test_coco_masks_are_identical_and_the_repeated_class_is_found(convert, tmp_path):
    json_file, images = write_coco(tmp_path / "in")
    made = convert("coco", "--json", json_file, "--images", images, "--min-area", "0.001")
    content, found = read_back(made)
    assert [i["id"] for i in content["images"]] == [10, 11, 12, 13]
    assert_roles(content, found)
    for i, (picture, objects) in enumerate(scenes()):
        assert_same(found[f"{i}.png"], [(n, m) for n, _, m in objects])
        cosalient = {n for n, c, _ in objects if c}
        assert {n for n, _, _ in found[f"{i}.png"]} - {"distractor"} == cosalient
        with Image.open(made.with_suffix("") / f"{i}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), picture)
    records = load_cosal_json(str(made), str(made.with_suffix("")), "made_by_test")
    assert [sum(a["cosalient"] for a in r["annotations"]) for r in records] == [
        sum(c for _, c, _ in objects) for _, objects in scenes()
    ]


def test_voc_masks_are_identical(convert, tmp_path):
    names = write_voc(tmp_path / "VOC")
    content, found = read_back(convert("voc", "--voc", tmp_path / "VOC", "--min-area", "0.001"))
    assert_roles(content, found)
    for i, (_, objects) in enumerate(scenes()):
        assert_same(found[f"{i}.jpg"], [(names[n], m) for n, _, m in objects])


@pytest.mark.parametrize("deep", [False, True])
def test_instance_index_masks_are_identical(convert, tmp_path, deep):
    images = write_pictures(tmp_path / "images")
    (tmp_path / "masks").mkdir()
    for i, (_, objects) in enumerate(scenes()):
        values = np.zeros(SIZE, np.uint16 if deep else np.uint8)
        for number, (_, _, mask) in enumerate(objects, 1):
            values[mask] = number * (300 if deep else 1)
        Image.fromarray(values).save(tmp_path / "masks" / f"{i}.png")
    kind = ["--kind", "index"] if deep else []
    _, found = read_back(convert("masks", "--images", images, "--masks", tmp_path / "masks", *kind))
    for i, (_, objects) in enumerate(scenes()):
        assert_same(found[f"{i}.png"], [("object", m) for _, _, m in objects])


@pytest.mark.parametrize(("high", "suffix"), [(255, ".png"), (1, ".PNG")])
def test_components_of_binary_masks_become_instances(convert, tmp_path, high, suffix):
    Image.new("L", (80, 60), 90).convert("RGB").save(tmp_path / "é.JPG")
    mask = np.zeros((60, 80), np.uint8)
    parts = [(slice(5, 25), slice(5, 30)), (slice(30, 55), slice(40, 70))]
    for part in parts:
        mask[part] = high
    mask[58, 2] = high
    (tmp_path / "masks").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "é.JPG").rename(tmp_path / "images" / "é.JPG")
    Image.fromarray(mask).save(tmp_path / "masks" / f"é_gt{suffix}")
    folders = ["--images", tmp_path / "images", "--masks", tmp_path / "masks"]
    _, found = read_back(convert("masks", *folders, "--mask-suffix", "_gt"))
    expected = []
    for part in parts:
        alone = np.zeros((60, 80), bool)
        alone[part] = True
        expected.append(("object", alone))
    assert_same(found["é.JPG"], expected)


def test_an_opening_parts_objects_that_touch_and_keeps_their_pixels(convert, tmp_path):
    mask = np.zeros((60, 100), np.uint8)
    mask[15:45, 10:40] = mask[15:45, 60:90] = 255
    mask[29:31, 40:60] = 255
    for name, array in (("images", np.full((60, 100, 3), 120, np.uint8)), ("masks", mask)):
        (tmp_path / name).mkdir()
        Image.fromarray(array).save(tmp_path / name / "a.png")
    folders = ["--images", tmp_path / "images", "--masks", tmp_path / "masks"]
    convert("masks", *folders, status=1)
    _, found = read_back(convert("masks", *folders, "--opening", "3"))
    assert len(found["a.png"]) == 2
    np.testing.assert_array_equal(np.any([m for _, _, m in found["a.png"]], axis=0), mask > 0)


def test_labelme_polygons_agree(convert, tmp_path):
    expected = write_labelme(tmp_path / "own")
    content, found = read_back(convert("labelme", "--json", tmp_path / "own"))
    assert_roles(content, found)
    for file, objects in expected.items():
        assert_same(found[file], objects, 0.98)


def test_labelme_groups_rectangles_circles_and_masks(convert, tmp_path):
    import base64
    import io

    part = io.BytesIO()
    Image.fromarray(np.full((10, 12), 255, np.uint8)).save(part, "PNG")
    text = base64.b64encode(part.getvalue()).decode()
    shape = {"label": "cup", "shape_type": "rectangle", "group_id": 3}
    shapes = [
        {**shape, "points": [[5, 5], [24, 24]]},
        {**shape, "points": [[30, 5], [39, 24]]},
        {"label": "cup", "shape_type": "circle", "points": [[80, 30], [80, 40]]},
        {"label": "cup", "shape_type": "mask", "points": [[90, 60], [101, 69]], "mask": text},
    ]
    folder = tmp_path / "own" / "deep"
    folder.mkdir(parents=True)
    Image.new("RGB", (128, 96), (50, 90, 130)).save(folder / "a.png")
    (folder / "a.json").write_text(json.dumps({"shapes": shapes, "imagePath": "a.png"}))
    _, found = read_back(convert("labelme", "--json", tmp_path / "own"))
    areas = sorted(int(m.sum()) for _, _, m in found["deep/a.png"])
    assert areas[0] == 120
    assert areas[1] == pytest.approx(np.pi * 10**2, rel=0.12)
    assert areas[2] == 20 * 20 + 10 * 20


def test_yolo_polygons_agree(convert, tmp_path):
    expected = write_yolo(tmp_path / "y")
    folders = ["--images", tmp_path / "y/images", "--labels", tmp_path / "y/labels"]
    names = ["--names", tmp_path / "y/data.yaml", "--min-area", "0.001"]
    content, found = read_back(convert("yolo", *folders, *names))
    assert_roles(content, found)
    for file, objects in expected.items():
        assert_same(found[file], objects, 0.98)


def test_a_selected_set_gives_its_own_selection(main, tmp_path):
    json_file, images, options = SHARED / "train.json", SHARED / "train", []
    if not json_file.exists():  # the photographs are not at hand: scenes that were selected once
        json_file, images, options = *write_coco(tmp_path / "in"), ["--min-area", "0.001"]
        line = ["coco", "--json", str(json_file), "--images", str(images), *options]
        assert main([*line, "--out", str(tmp_path), "--name", "first"]) == 0
        json_file, images = tmp_path / "cosal" / "first.json", tmp_path / "cosal" / "first"
    source = json.loads(json_file.read_text())
    line = ["coco", "--json", str(json_file), "--images", str(images), "--link", *options]
    assert main([*line, "--out", str(tmp_path), "--name", "again"]) == 0
    made = json.loads((tmp_path / "cosal" / "again.json").read_text())

    def content(data):
        names = {c["id"]: c["name"] for c in data["categories"]}
        images = {i["file_name"]: i["cosalient_category"] for i in data["images"]}
        files = {i["id"]: i["file_name"] for i in data["images"]}
        objects = Counter(
            (files[a["image_id"]], names[a["category_id"]], a["segmentation"]["counts"])
            for a in data["annotations"]
        )
        return images, objects

    assert content(made) == content(source) and made["images"]


def test_output_does_not_depend_on_workers(main, tmp_path):
    json_file, images = write_coco(tmp_path / "in")
    line = ["coco", "--json", str(json_file), "--images", str(images), "--name", "a"]
    for workers in ("1", "2"):
        assert main([*line, "--out", str(tmp_path / workers), "--workers", workers]) == 0
    one, two = ((tmp_path / w / "cosal" / "a.json").read_bytes() for w in "12")
    assert one == two


def test_max_side_scales_pictures_and_masks(convert, tmp_path):
    json_file, images = write_coco(tmp_path / "in")
    made = convert("coco", "--json", json_file, "--images", images, "--max-side", 64)
    content, found = read_back(made)
    assert {(i["height"], i["width"]) for i in content["images"]} == {(48, 64)}
    for i, (_, objects) in enumerate(scenes()):
        with Image.open(made.with_suffix("") / f"{i}.png") as image:
            assert image.size == (64, 48)
        masks = [m[::2, ::2] for n, c, m in objects if c]
        truth = np.any([m for n, _, m in found[f"{i}.png"] if n != "distractor"], axis=0)
        assert iou(truth, np.any(masks, axis=0)) > 0.85


@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_masks_of_the_unrotated_picture_are_turned_with_it(convert, tmp_path, orientation):
    json_file, images = write_coco(
        tmp_path / "in",
        lambda c: (
            c["images"].__delitem__(slice(1, None))
            or c.update(annotations=[a for a in c["annotations"] if a["image_id"] == 10])
        ),
    )
    with Image.open(images / "0.png") as image:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(images / "0.png", exif=exif)
    made = convert("coco", "--json", json_file, "--images", images, "--min-area", "0.001")
    content, found = read_back(made)
    marked = np.zeros((96, 128), np.uint8)
    for _name, cosalient, mask in scenes()[0][1]:
        marked[mask] = 255 if cosalient else 0
    stored = Image.fromarray(marked)
    turns = {
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        8: Image.Transpose.ROTATE_90,
    }
    upright = (
        np.asarray(stored.transpose(turns[orientation]) if orientation in turns else stored) > 0
    )
    truth = np.any([m for n, _, m in found["0.png"] if n != "distractor"], axis=0)
    np.testing.assert_array_equal(truth, upright)
    assert (content["images"][0]["height"], content["images"][0]["width"]) == upright.shape


def test_faulty_sources_stop_with_file_field_and_fix(convert, tmp_path, capsys):
    json_file, images = write_coco(tmp_path / "in")
    line = ["coco", "--json", json_file, "--images", images]
    data = (images / "2.png").read_bytes()
    (images / "2.png").write_bytes(data[: len(data) // 2])
    assert not convert(*line, status=1).exists()
    error = capsys.readouterr().err
    assert str(images / "2.png") in error and "--skip-bad" in error
    made = convert(*line, "--skip-bad")
    assert "2.png" not in [i["file_name"] for i in json.loads(made.read_text())["images"]]
    assert str(images / "2.png") in capsys.readouterr().out
    convert(*line, status=1)
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["images"][1].pop("height"), "images[1] has no `height`"),
        (lambda c: c["images"][1].update(id=10), "1.png (id 10) repeats the `id`"),
        (lambda c: c["annotations"][0].update(image_id=99), "is of image 99"),
        (lambda c: c["annotations"][0].update(category_id=99), "category_id 99"),
        (lambda c: c["annotations"][0].update(segmentation=[]), "`segmentation` is unreadable"),
        (lambda c: c["images"][0].update(height=90), "0.png"),
        (lambda c: c.pop("categories"), "`categories` is missing"),
    ],
)
def test_a_faulty_coco_json_is_named(convert, tmp_path, capsys, change, words):
    json_file, images = write_coco(tmp_path / "in", change)
    convert("coco", "--json", json_file, "--images", images, status=1)
    error = capsys.readouterr().err
    assert words in error and ("pictures.json" in error or ".png" in error)
