"""Masks of objects of which only the boxes are known."""

import json

import numpy as np
import pytest
import torch
from converter_data import (
    SIZE,
    convert,
    read_back,
    save_picture,
    scenes,
    write_coco,
    write_squares,
)
from network_data import GROUPED, tiny_config, tiny_model
from PIL import Image, ImageOps
from tool_loading import load_tool

from cosal_d2.data.datasets import load_cosal_json
from cosal_d2.inference import CoSaliencyPredictor, box_masks
from cosal_d2.inference.box_masks import with_box_masks
from cosal_d2.prepare.convert.coco import coco_source
from cosal_d2.prepare.convert.labelme import labelme_source
from cosal_d2.prepare.convert.left_out import NO_LABEL, UNREADABLE
from cosal_d2.prepare.convert.voc import voc_source
from cosal_d2.prepare.convert.voc_boxes import voc_boxes_source
from cosal_d2.prepare.convert.yolo import yolo_source

pytestmark = pytest.mark.usefixtures("one_thread")


def lower_halves(pixels, boxes):
    """A segmenter that takes the lower half of each box."""
    masks = np.zeros((len(boxes), *pixels.shape[:2]), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.round().astype(int), strict=True):
        mask[(y0 + y1) // 2 : y1, x0:x1] = True
    return list(masks)


def nothing(pixels, boxes):
    return list(np.zeros((len(boxes), *pixels.shape[:2]), dtype=bool))


def made_from(source, segment=lower_halves):
    """The only scene of a source with masks from boxes, and its objects' tight boxes."""
    source = with_box_masks(source, segment)
    (task,) = source.tasks
    scene = source.read(task)
    boxes = [box_masks.coco_mask.toBbox(o.rle).tolist() for o in scene.objects]
    return scene, boxes


def source_of(root, kind, **options):
    """Two squares of 30 pixels, at (5, 5) and (5, 60), of which only boxes are known."""

    def only_boxes(content):
        for shape in content.get("shapes", ()):
            shape.update(shape_type="rectangle", points=shape["points"][::2])
        for entry in content.get("annotations", ()):
            entry["segmentation"] = []

    write_squares(root, kind, only_boxes, **options)
    if kind == "labelme":
        return labelme_source(root)
    if kind == "coco":
        return coco_source(root / "a.json", root / "images")
    height, width = SIZE
    shares = [[20 / width, y / height, 30 / width, 30 / height] for y in (20, 75)]
    lines = [" ".join(map(str, (0, *own))) for own in shares]
    (root / "labels" / "a.txt").write_text("\n".join(lines))
    return yolo_source(root / "images")


@pytest.mark.parametrize("kind", ["coco", "yolo", "labelme"])
def test_boxes_of_each_format_get_masks(tmp_path, kind):
    scene, boxes = made_from(source_of(tmp_path, kind))
    edge = kind == "labelme"  # whose corners are pixels of the object
    expected = [[5, 20, 30, 15], [5, 75, 30, 15]]
    np.testing.assert_allclose(boxes, expected, atol=1 if edge else 0)
    assert [o.class_name for o in scene.objects] == ["cup", "cup"]
    assert scene.left_out == [] and scene.fields["weak_masks"] is True


def write_voc_boxes(folder, pictures, objects, name="a.png", size=SIZE):
    """An XML file of VOC's kind beside a picture; names and boxes as VOC counts them."""
    save_picture(pictures / "a.png")
    folder.mkdir(exist_ok=True, parents=True)
    height, width = size
    text = (
        f"<filename>{name}</filename><size><width>{width}</width><height>{height}</height></size>"
    )
    for label, box in objects:
        sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        inside = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
        text += f"<object><name>{label}</name><bndbox>{inside}</bndbox></object>"
    (folder / "a.xml").write_text(f"<annotation>{text}</annotation>")


CUPS = [("cup", (6, 6, 35, 35)), ("cup", (6, "61.0", 35, 90))]


@pytest.mark.parametrize("tree", [("Annotations", "JPEGImages"), ("", "")])
@pytest.mark.parametrize("name", ["a.png", "a", "", "C:\\photos\\A.PNG", "gone.jpg"])
def test_boxes_of_voc_get_masks(tmp_path, tree, name):
    folder, pictures = (tmp_path / part for part in tree)
    faulty = [("", (1, 1, 9, 9)), ("cup", (5, 5, "x", 9)), ("cup", (9, 9, 8, 8))]
    write_voc_boxes(folder, pictures, [*CUPS, *faulty], name)
    scene, boxes = made_from(voc_boxes_source(tmp_path))
    assert boxes == [[5, 20, 30, 15], [5, 75, 30, 15]] and scene.fields["weak_masks"] is True
    assert [shape.reason for shape in scene.left_out] == [NO_LABEL, UNREADABLE, UNREADABLE]


def test_faulty_files_of_voc_are_named(tmp_path):
    write_voc_boxes(tmp_path, tmp_path, CUPS, size=(-4, "x"))
    with pytest.raises(ValueError, match=r"a\.xml: `size` is"):
        made_from(voc_boxes_source(tmp_path))
    for text in ("<annotation>", '<?xml version="1.0" encoding="gbk"?><a>\u82f9\u679c</a>'):
        (tmp_path / "a.xml").write_bytes(text.encode("gbk"))
        with pytest.raises(ValueError, match=r"a\.xml is not valid XML: .*; save it as UTF-8"):
            made_from(voc_boxes_source(tmp_path))
    with pytest.raises(FileNotFoundError, match="XML files of boxes; --masks-from-boxes"):
        voc_source(tmp_path)
    (tmp_path / "list.txt").write_text("a\nb\n")
    with pytest.raises(FileNotFoundError, match=r"b\.xml: no such file"):
        voc_boxes_source(tmp_path, tmp_path / "list.txt")
    (tmp_path / "a.xml").unlink()
    with pytest.raises(FileNotFoundError, match="no XML files"):
        voc_boxes_source(tmp_path)


@pytest.mark.parametrize("kind", ["coco", "labelme"])
def test_where_the_network_sees_nothing_the_object_stays_as_it_was(tmp_path, kind):
    scene, boxes = made_from(source_of(tmp_path, kind), nothing)
    if kind == "coco":
        assert boxes == [] and len(scene.left_out) == 2
        assert all("the network sees no object in its box" in s.message for s in scene.left_out)
    else:
        np.testing.assert_allclose(boxes, [[5, 5, 31, 31], [5, 60, 31, 31]])


def test_masks_that_are_there_stay(tmp_path):
    def one_box(content):
        triangle = [70, 5, 120, 5, 70, 60]
        content["annotations"][0].update(segmentation=[triangle], bbox=[70, 5, 50, 55], score=1)
        content["annotations"][1].update(segmentation=None, iscrowd=1, note="b")

    write_squares(tmp_path, "coco", one_box)
    source = coco_source(tmp_path / "a.json", tmp_path / "images")
    before = source.read(source.tasks[0])
    scene, boxes = made_from(source)
    by_crowd = {o.crowd: o for o in scene.objects}
    assert by_crowd[False].rle == before.objects[0].rle and by_crowd[False].fields == {"score": 1}
    assert by_crowd[True].fields == {"note": "b"} and [5, 75, 30, 15] in boxes


def test_a_picture_with_masks_only_is_not_weak(tmp_path):
    line, _ = write_coco(tmp_path)
    source = with_box_masks(coco_source(line[2], line[4]), nothing)
    assert all("weak_masks" not in source.read(task).fields for task in source.tasks)


@pytest.mark.parametrize("orientation", [6, 8, 5, 7])
def test_boxes_on_the_unrotated_picture(tmp_path, orientation):
    """The network sees the picture upright; its masks come back as the boxes were drawn."""
    seen = []

    def segment(pixels, boxes):
        seen.append((pixels.shape[:2], boxes))
        return lower_halves(pixels, boxes)

    source = source_of(tmp_path, "coco", orientation=orientation)
    scene, boxes = made_from(source, segment)
    assert scene.size == SIZE and seen[0][0] == SIZE[::-1]
    marked = Image.new("L", SIZE[::-1])
    marked.paste(255, (5, 5, 35, 35))
    marked.getexif()[0x0112] = orientation
    rows, columns = np.nonzero(np.asarray(ImageOps.exif_transpose(marked)))
    upright = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_array_equal(seen[0][1][0], upright)
    x, y, w, h = boxes[0]
    assert x >= 5 and x + w <= 35 and y >= 5 and y + h <= 35 and {w, h} == {15, 30}


def test_boxes_on_the_upright_picture_of_which_the_stored_size_is_stated(tmp_path):
    """As Label Studio has it: a box beyond the stated size tells."""
    squares = ((5, 5, 30), (5, 95, 30))  # the second one ends below a height of 96
    scene, boxes = made_from(source_of(tmp_path, "coco", orientation=6, squares=squares))
    assert scene.size == SIZE[::-1] and boxes == [[5, 20, 30, 15], [5, 110, 30, 15]]


def test_a_damaged_picture_is_named_when_it_is_read(tmp_path):
    source = source_of(tmp_path, "coco")
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    source = with_box_masks(source, lower_halves)
    with pytest.raises(ValueError, match="a.png"):
        source.read(source.tasks[0])


def test_masks_in_boxes_stay_inside(tmp_path):
    model = tiny_model(*GROUPED)
    torch.nn.init.constant_(model.grouping.masks.head.predictor.bias, 9)  # all is object
    path = str(tmp_path / "tiny.pth")
    torch.save({"model": model.state_dict()}, path)
    predictor = CoSaliencyPredictor(tiny_config(*GROUPED, "MODEL.WEIGHTS", path), device="cpu")
    noise = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    boxes = [(10, 5, 50, 45), (60, 20, 95, 70), (200, 200, 220, 230), (30, 30, 30, 30)]
    masks = predictor.masks_in(noise, boxes)
    expected = np.zeros((4, 60, 90), dtype=bool)
    expected[0, 5:45, 10:50] = expected[1, 20:60, 60:90] = True
    np.testing.assert_array_equal(masks, expected)
    assert predictor.masks_in(noise, []) == []
    with pytest.raises(ValueError, match="not finite"):
        predictor.masks_in(noise, [(0, 0, np.nan, 5)])
    predictor.model.grouping = None
    with pytest.raises(ValueError, match="no region masks"):
        predictor.masks_in(noise, boxes[:1])


def test_the_released_networks_masks_are_nearer_to_the_truth_than_boxes(tmp_path):
    def only_boxes(content):
        for entry in content["annotations"]:
            entry["segmentation"] = []

    line, expected = write_coco(tmp_path / "in", only_boxes)
    made = convert(tmp_path, line, "--masks-from-boxes")
    content, found = read_back(made)
    assert content["images"] and all(image["weak_masks"] is True for image in content["images"])
    records = load_cosal_json(str(made), str(made.with_suffix("")))
    assert all(record["weak_masks"] for record in records)
    gains = []
    for name, objects in found.items():
        for _, _, mask in objects:
            truth = max((m for _, m in expected[name]), key=lambda m: iou(m, mask))
            gains.append(iou(truth, mask) - iou(truth, filled(truth)))
    assert len(gains) >= 2 * len(scenes()) and np.mean(gains) > 0.1


def iou(first, second):
    return (first & second).sum() / (first | second).sum()


def filled(mask):
    """The box around a mask."""
    rows, columns = np.nonzero(mask)
    box = np.zeros_like(mask)
    box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return box


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_weak_masks_are_in_the_json_of_a_conversion(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("cosal_d2.inference.CoSaliencyPredictor.masks_in", lower_halves_of)
    monkeypatch.setattr("cosal_d2.inference.CoSaliencyPredictor.__init__", lambda self: None)
    if kind == "voc":
        write_voc_boxes(tmp_path / "in" / "Annotations", tmp_path / "in" / "JPEGImages", CUPS)
        line = ["voc", "--voc", tmp_path / "in"]
    else:
        source_of(tmp_path / "in", "yolo")
        line = ["yolo", "--images", tmp_path / "in" / "images"]
    made = convert(tmp_path, line, "--masks-from-boxes")
    (image,) = json.loads(made.read_text())["images"]
    assert image["weak_masks"] is True and "clean" not in image


def lower_halves_of(_, pixels, boxes):
    return lower_halves(pixels, boxes)


def test_the_tool_compares_with_boxes_and_ellipses(tmp_path):
    write_squares(tmp_path, "coco")
    measure = load_tool("tools/masks_from_boxes.py").intersection_over_union
    source = coco_source(tmp_path / "a.json", tmp_path / "images")
    found = measure(source, lambda file, boxes: lower_halves(np.zeros(SIZE), boxes))
    assert found["network"].tolist() == [0.5, 0.5] and found["box"].tolist() == [1, 1]
    np.testing.assert_allclose(found["ellipse"], np.pi / 4, atol=0.02)
