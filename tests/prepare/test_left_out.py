"""Shapes that make no object are left out and counted; their picture stays."""

import base64
import json
import struct
import zlib

import cv2
import numpy as np
import pytest
from converter_data import convert, read_back, save_picture, square, write_squares
from PIL import Image

from cosal_d2.data.datasets import load_cosal_json
from cosal_d2.prepare.check.check import check_dataset
from cosal_d2.prepare.check.dataset import load_dataset
from cosal_d2.prepare.convert.picture_file import load_picture
from cosal_d2.prepare.convert.polygons import draw_polygon
from cosal_d2.utils.masks import mask_rle
from cosal_d2.utils.pictures import picture_size, read_image

pytestmark = pytest.mark.usefixtures("one_thread")
BOW_TIE = [60, 40, 90, 60, 90, 40, 60, 60]
HUGE, INF = 10**400, float("inf")
MASK = {"points": [[5, 5], [9, 9]], "shape_type": "mask"}


def png_of(height, width):
    """A black PNG of 1 bit a pixel, in base64."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * (1 + -(-width // 8))))
    chunks = [b"IHDR" + header, b"IDAT" + rows, b"IEND"]
    parts = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()


VAST = png_of(20_000, 10_000)


def image_entries(made):
    return json.loads(made.read_text())["images"]


@pytest.mark.parametrize(
    ("change", "reason", "clean"),
    [
        ({"segmentation": []}, "1 with a box but no mask", False),
        ({"segmentation": None}, "1 with a box but no mask", False),
        ({"segmentation": [[]], "bbox": [0, 0, 3, 3]}, "1 with a box but no mask", True),
        ({"segmentation": [], "bbox": [0, 0, 0, 0]}, "1 without a mask", True),
        ({"segmentation": [], "bbox": None}, "1 without a mask", False),
        ({"segmentation": [], "bbox": [9, 9, -5, 5]}, "1 without a mask", False),
        ({"segmentation": [[60, 40, 90, 60]]}, "1 of fewer than three points", False),
        ({"segmentation": [BOW_TIE]}, "1 whose outline crosses itself", False),
        ({"segmentation": [BOW_TIE], "bbox": [0, 0, 0, 0]}, "1 whose outline crosses", False),
        ({"segmentation": [BOW_TIE[:-1]], "bbox": [0, 0, 0, 0]}, "1 unreadable", False),
        ({"segmentation": [[60, 40, "a", 40, 90, 60]]}, "1 unreadable", False),
        ({"segmentation": {"size": [96, 128], "counts": "?"}}, "1 unreadable", False),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, "1 of another size", False),
        ({"segmentation": {"size": [INF, 9], "counts": [81]}}, "1 unreadable", False),
        ({"segmentation": [[60, 40, 90, 60, HUGE, 60]]}, "1 unreadable", False),
        ({"segmentation": [[200, 200, 230, 200, 230, 230]]}, "1 without a pixel", True),
    ],
)
def test_one_bad_coco_shape_costs_no_picture(tmp_path, capsys, change, reason, clean):
    def spoil(content):
        bad = {**content["annotations"][0], "id": 99, "bbox": [60, 40, 30, 20], **change}
        content["annotations"].insert(1, bad)

    line = write_squares(tmp_path / "in", "coco", spoil)
    made = convert(tmp_path, line)
    _, found = read_back(made)
    assert len(found["a.png"]) == 2
    shown = capsys.readouterr().out
    assert f"pictures kept: 1; left out: none; shapes left out: {reason}" in shown
    assert image_entries(made)[0].get("clean", True) is clean
    assert ("marked not clean" in shown and "annotation of id 99" in shown) is not clean


@pytest.mark.parametrize(
    ("shape", "reason", "clean"),
    [
        ({"points": []}, "1 of fewer than three points", True),
        ({"points": [[5, 5]]}, "1 of fewer than three points", True),
        ({"points": [[5, 5], [9, 9]]}, "1 of fewer than three points", True),
        ({"points": np.reshape(BOW_TIE, (-1, 2)).tolist()}, "1 whose outline crosses", False),
        ({"points": [[5, 5]], "shape_type": "circle"}, "1 of fewer than three points", True),
        ({"points": [[5, 5], [60, 60]], "shape_type": "star"}, "1 of an unknown type", False),
        ({"points": [[5, 5], [60, 5]], "shape_type": "oval"}, "1 of an unknown type", False),
        ({"points": [[5, 5], [60, 5], [9, 60]], "shape_type": "circle"}, "1 of another", False),
        ({"points": [[5, 5], [9, 9]], "shape_type": "mask"}, "1 unreadable", True),
        ({"points": "none"}, "1 unreadable", False),
        ({"points": [[5, 5], [HUGE, 5], [9, 9]]}, "1 unreadable", False),
        (MASK | {"mask": VAST}, "1 unreadable", True),
        (MASK | {"mask": VAST[:60]}, "1 unreadable", True),
        ({"points": [[5, 5], [60, 60]], "shape_type": "line"}, "1 points or lines", True),
        ({"label": "", "points": [[1, 1], [40, 1], [40, 40]]}, "1 without a label", False),
        ({"label": None, "points": [[1, 1], [2, 1], [2, 2]]}, "1 without a label", True),
    ],
)
def test_one_bad_labelme_shape_costs_no_picture(tmp_path, capsys, shape, reason, clean):
    line = write_squares(
        tmp_path / "in", "labelme", lambda c: c["shapes"].insert(1, {"label": "cup", **shape})
    )
    made = convert(tmp_path, line)
    _, found = read_back(made)
    assert len(found["a.png"]) == 2
    shown = capsys.readouterr().out
    assert f"shapes left out: {reason}" in shown
    assert image_entries(made)[0].get("clean", True) is clean
    assert ("marked not clean" in shown and "shapes[1]" in shown) is not clean


RLE = mask_rle(np.pad(np.ones((30, 30), bool), ((5, 61), (5, 93))))
COUNTS = RLE["counts"].decode()


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [96, 128], "counts": COUNTS},
        {"size": ["96", "128"], "counts": COUNTS},
        {"size": [96, 128], "counts": str(RLE["counts"])},
        [{"size": [96, 128], "counts": COUNTS}],
    ],
)
def test_rle_as_scripts_write_it_is_read_and_checked_alike(tmp_path, segmentation):
    def change(content):
        content["annotations"][0].update(segmentation=segmentation)

    line = write_squares(tmp_path / "in", "coco", change)
    made = convert(tmp_path, line)
    assert [m.sum() for _, _, m in read_back(made)[1]["a.png"]] == [900, 900]
    json_file, images = tmp_path / "in" / "a.json", tmp_path / "in" / "images"
    assert len(load_cosal_json(str(json_file), str(images))[0]["annotations"]) == 2
    assert not check_dataset(load_dataset(str(json_file), images), workers=1)


@pytest.mark.parametrize("ignore", [1, "1", True, "true"])
def test_what_is_to_be_ignored_is_a_crowd(tmp_path, ignore):
    def change(content):
        content["annotations"].append(dict(content["annotations"][0], id=9, ignore=ignore))
        content["annotations"][0].update(ignore=0)

    made = convert(tmp_path, write_squares(tmp_path / "in", "coco", change))
    (record,) = load_cosal_json(str(made), str(made.with_suffix("")))
    assert [a["iscrowd"] for a in record["annotations"]] == [0, 0, 1]


def test_what_is_no_flag_is_named(tmp_path, capsys):
    def change(content):
        content["annotations"][0].update(ignore="maybe")

    convert(tmp_path, write_squares(tmp_path / "in", "coco", change), status=1)
    assert "annotations[0] has the ignore 'maybe'; give 0 or 1" in capsys.readouterr().err


def test_annotations_of_a_source_need_no_id(tmp_path, capsys):
    def change(content):
        del content["annotations"][0]["id"]
        content["annotations"][1].update(id=None)
        content["annotations"].append(dict(content["annotations"][0], segmentation=[]))

    made = convert(tmp_path, write_squares(tmp_path / "in", "coco", change))
    assert len(read_back(made)[1]["a.png"]) == 2
    assert "annotation of id annotations[2]: " in capsys.readouterr().out


def test_a_labelme_picture_that_is_a_link_to_itself_is_named(tmp_path, capsys):
    line = write_squares(tmp_path / "in", "labelme")
    content = (tmp_path / "in" / "a.json").read_text().replace("a.png", "b.png")
    content = json.loads(content) | {"imageHeight": 96, "imageWidth": 128}
    (tmp_path / "in" / "b.json").write_text(json.dumps(content))
    (tmp_path / "in" / "b.png").symlink_to("b.png")
    convert(tmp_path, line, status=1)
    assert "b.png" in capsys.readouterr().err


def test_a_labelme_picture_without_a_name_is_the_one_named_as_the_json(tmp_path):
    line = write_squares(tmp_path / "in", "labelme", lambda c: c.update(imagePath="."))
    assert len(read_back(convert(tmp_path, line))[1]["a.png"]) == 2


@pytest.mark.parametrize(
    ("text", "reason", "clean"),
    [
        ("0 0.5 0.5 0.5 0.4", "1 with a box but no mask", False),
        ("0 0.5 0.5 0.01 0.01", "1 with a box but no mask", True),
        ("0", "1 of fewer than three points", True),
        ("0 0.2 0.2", "1 of fewer than three points", True),
        ("0 0.1 0.1 0.6 0.6 0.6 0.1 0.1 0.6", "1 whose outline crosses itself", False),
    ],
)
def test_one_bad_yolo_line_costs_no_picture(tmp_path, capsys, text, reason, clean):
    line = write_squares(tmp_path / "in", "yolo")
    label = tmp_path / "in" / "labels" / "a.txt"
    label.write_text(f"{text}\n{label.read_text()}")
    made = convert(tmp_path, line)
    _, found = read_back(made)
    assert len(found["a.png"]) == 2
    assert f"shapes left out: {reason}" in capsys.readouterr().out
    assert image_entries(made)[0].get("clean", True) is clean


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_heic_under_another_name_is_named_by_every_reader(tmp_path, capsys, monkeypatch, suffix):
    monkeypatch.setattr("cosal_d2.utils.pictures.importlib.util.find_spec", lambda name: None)
    (tmp_path / f"a{suffix}").write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(40))
    for read in (load_picture, picture_size, read_image):
        with pytest.raises(ValueError, match=f"a{suffix} as a picture: it is HEIC; pip install"):
            read(tmp_path / f"a{suffix}")


def test_a_tiff_that_training_reads_is_converted(tmp_path):
    def rename(content):
        content["images"][0]["file_name"] = "a.tif"

    line = write_squares(tmp_path / "in", "coco", rename)
    levels = np.tile(np.linspace(0, 1, 128), (96, 1))
    content = cv2.imencode(".tif", levels)[1].tobytes()
    (tmp_path / "in" / "images" / "a.tif").write_bytes(content)
    assert load_picture(tmp_path / "in" / "images" / "a.tif").upright == (96, 128)
    for options in ((), ("--max-side", 64)):
        made = convert(tmp_path, line, *options, "--overwrite")
        file = made.with_suffix("") / image_entries(made)[0]["file_name"]
        pixels = read_image(file)
        assert pixels.shape[:2] == ((48, 64) if options else (96, 128))
        assert pixels[0, 0, 0] < 5 and pixels[0, -1, 0] > 250
        (picture,) = load_cosal_json(str(made), str(made.with_suffix("")))
        assert len(picture["annotations"]) == 2


def test_a_tiff_without_a_number_is_named(tmp_path):
    (tmp_path / "a.tif").write_bytes(cv2.imencode(".tif", np.full((96, 128), np.nan))[1].tobytes())
    for read in (load_picture, read_image):
        with pytest.raises(ValueError, match=r"cannot read .*a\.tif as a picture: none of its"):
            read(tmp_path / "a.tif")


def test_a_voc_object_without_a_class_costs_no_picture(tmp_path, capsys):
    root = tmp_path / "VOC"
    save_picture(root / "JPEGImages" / "A.png")
    values = np.zeros((96, 128), np.uint8)
    for number, (x, y) in enumerate([(5, 5), (5, 60), (60, 5)], 1):
        values[y : y + 30, x : x + 30] = number
    for part, array in (("Object", values), ("Class", np.where(values == 2, 0, values > 0))):
        (root / f"Segmentation{part}").mkdir()
        file = root / f"Segmentation{part}" / "a.png"  # A.png is its picture
        Image.fromarray(array.astype(np.uint8)).save(file)
    made = convert(tmp_path, ["voc", "--voc", root])
    _, found = read_back(made)
    assert [m.sum() for _, _, m in found["A.png"]] == [900, 900]
    assert "1 without a class" in capsys.readouterr().out
    assert image_entries(made)[0]["clean"] is False


def test_a_slip_of_the_hand_is_no_crossed_polygon(tmp_path, capsys):
    corners = [[10, 10], [40, 10], [40, 40], [12, 40], [11, 39], [11, 41], [10, 40]]
    around_a_hole = [[50, 10], [90, 10], [90, 50], [50, 50], [50, 10], [60, 20], [60, 40], [80, 40]]
    around_a_hole += [[80, 20], [60, 20]]
    line = write_squares(
        tmp_path / "in",
        "labelme",
        lambda c: c["shapes"].extend(
            {"label": "cup", "points": points} for points in (corners, around_a_hole)
        ),
        squares=(),
    )
    _, found = read_back(convert(tmp_path, line))
    assert len(found["a.png"]) == 2
    assert "shapes left out: none" in capsys.readouterr().out


def test_what_the_selection_leaves_out_is_counted_too(tmp_path, capsys):
    more = [
        {"label": "pen", "points": square(100, 5, 3)},
        {"label": "cup", "points": square(6, 6, 29)},
        {"label": "pen", "points": square(90, 60, 20)},
    ]
    line = write_squares(tmp_path / "in", "labelme", lambda c: c["shapes"].extend(more))
    convert(tmp_path, line)
    shown = capsys.readouterr().out
    assert "1 of other classes under --min-area" in shown and "1 that overlap a larger one" in shown


@pytest.mark.parametrize(("farthest", "count"), [(1.05, 1), (1.02, 1), (1.0, 0)])
def test_yolo_corners_a_little_outside_are_clipped_and_counted(tmp_path, capsys, farthest, count):
    line = write_squares(tmp_path / "in", "yolo")
    label = tmp_path / "in" / "labels" / "a.txt"
    label.write_text(label.read_text() + f"0 0.8 -0.0 {farthest} 0 {farthest} 0.5 0.8 0.5\n")
    _, found = read_back(convert(tmp_path, line))
    assert len(found["a.png"]) == 3 and found["a.png"][2][2][:48, 103:].all()
    assert (f"; shapes clipped: {count}" in capsys.readouterr().out) is bool(count)


def test_what_of_a_yolo_polygon_is_beyond_the_picture_is_cut_off(tmp_path):
    line = write_squares(tmp_path / "in", "yolo")
    label = tmp_path / "in" / "labels" / "a.txt"
    beyond = "0 1.01 0.5 1.05 0.5 1.05 0.9 1.01 0.9\n"
    label.write_text(f"{label.read_text()}0 0.5 0 1.05 0.5 0.5 1\n{beyond}")
    _, found = read_back(convert(tmp_path, line))
    corners = [[64, 0], [134, 48], [64, 96]]
    np.testing.assert_array_equal(found["a.png"][2][2], draw_polygon(corners, 96, 128))
    assert len(found["a.png"]) == 3


@pytest.mark.parametrize("kind", ["coco", "labelme"])
@pytest.mark.parametrize("corner", [(100, 60), (-30, 60), (60, -30)])
def test_clipped_shapes_of_other_formats_are_counted(tmp_path, capsys, kind, corner):
    line = write_squares(tmp_path / "in", kind, squares=((5, 5, 30), (50, 5, 30), (*corner, 60)))
    convert(tmp_path, line)
    assert "shapes clipped: 1" in capsys.readouterr().out


def test_flat_points_of_labelme_are_x_and_y_in_turn(tmp_path):
    def change(content):
        content["shapes"][0].update(points=sum(content["shapes"][0]["points"], []))

    made = convert(tmp_path, write_squares(tmp_path / "in", "labelme", change))
    assert [m.sum() for _, _, m in read_back(made)[1]["a.png"]] == [961, 961]
