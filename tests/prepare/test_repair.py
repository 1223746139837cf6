"""`cosal data check --fix`: what can be mended is, and nothing good is lost."""

import re

import numpy as np
import pytest
from check_data import own, read, repaired
from converter_data import write_squares
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from cosal_d2.cli import main

BOX = [[10, 10, 40, 10, 40, 30, 10, 30]]
BOW_TIE = [[10, 10, 40, 30, 40, 10, 10, 30]]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda c: c["annotations"][0].pop("bbox"), "missing field"),
        (lambda c: c["images"][0].pop("width"), "missing field"),
        (lambda c: c["images"][0].update(file_name=None), "missing field"),
        (lambda c: c["images"][0].update(height=None), "missing field"),
        (lambda c: c["annotations"][0].update(image_id=None), "missing field"),
        (lambda c: c["annotations"].append(None), "missing field"),
        (lambda c: c["images"][0].update(id=[1]), "missing field"),
        (lambda c: c["categories"].append({"id": 999}), "missing field"),
        (lambda c: c["annotations"][0].update(image_id=77), "unknown image"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "malformed box"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 1, 5, 5]]), "malformed mask"),
        (lambda c: c["annotations"][0]["segmentation"].update(counts="zzz~~~"), "malformed mask"),
        (lambda c: c["annotations"][0]["segmentation"].update(size=[36, 48]), "size mismatch"),
        (lambda c: c["images"][0].update(cosalient_category="x"), "unknown co-salient class"),
        (lambda c: c["images"].append({**c["images"][0], "id": 99}), "repeated file"),
        (lambda c: c["categories"].append(dict(c["categories"][0])), "duplicate category"),
    ],
)
def test_other_faults_are_found_and_repaired(home, content, change, kind):
    change(content)
    report, fixed = repaired(home, content)
    assert kind in report["kinds"] and fixed["images"]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda a, c: a.update(id=None), "missing field"),
        (lambda a, c: a.update(id=True), "missing field"),
        (lambda a, c: a.update(id=1.5), "missing field"),
        (lambda a, c: a.update(bbox=None), "missing field"),
        (lambda a, c: a.update(bbox={"x": 1}), "malformed box"),
        (lambda a, c: a.update(iscrowd="maybe"), "malformed field"),
        (lambda a, c: a.update(area=float("nan")), "malformed field"),
        (lambda a, c: a.update(extra={"x": [float("inf")]}), "malformed field"),
        (lambda a, c: a.update(ignore=1), "malformed field"),
        (lambda a, c: c["images"][0].update(height=0, width=0), "missing field"),
        (lambda a, c: c["images"][0].update(height=-72), "missing field"),
        (lambda a, c: c["images"][0].update(clean="perhaps"), "malformed field"),
        (lambda a, c: c["images"][0].update(segmentation=float("nan")), "malformed field"),
        (lambda a, c: c["categories"][0].update(extra=float("inf")), "malformed field"),
        (
            lambda a, c: a.update(segmentation=BOW_TIE, bbox=[9, 9, 40, 30]),
            "self-intersecting mask",
        ),
        (lambda a, c: a.update(segmentation=[[1, 1, 4, 4], *BOX]), "malformed mask"),
    ],
)
def test_what_can_be_mended_costs_no_annotation(home, content, change, kind):
    count, entry = len(content["annotations"]), own(content, 0)[0]
    entry.update(segmentation=BOX, bbox=[10, 10, 30, 20], area=600)
    change(entry, content)
    report, fixed = repaired(home, content)
    assert set(report["kinds"]) <= {kind, "box not tight", "wrong area"}
    assert kind in report["kinds"]
    assert re.search(r"000000\.jpg|val\.json", report["repairs"][0])
    assert len(fixed["images"]) == 4 and len(fixed["annotations"]) == count
    assert all("clean" not in image for image in fixed["images"])


def test_what_is_to_be_ignored_becomes_a_crowd(home, content):
    entry = own(content, 0)[0]
    entry["ignore"] = "1"
    _, fixed = repaired(home, content)
    (found,) = [a for a in fixed["annotations"] if a["id"] == entry["id"]]
    assert found["iscrowd"] == 1 and "ignore" not in found


def test_an_annotation_without_the_field_of_its_mask_is_left_out(home, content):
    del own(content, 0)[0]["segmentation"]
    count = len(content["annotations"])
    report, fixed = repaired(home, content)
    assert report["findings"][0]["kind"] == "missing field"
    assert len(fixed["annotations"]) == count - 1 and len(fixed["images"]) == 4


@pytest.mark.parametrize("nothing", [[], None, [[1, 1, 5, 5]], [3, 3], {"size": [72, 96]}])
def test_the_other_objects_of_a_picture_outlast_one_without_mask(home, content, nothing):
    lost, *others = own(content, 0)
    lost["segmentation"] = nothing
    for entry in others[1:]:
        content["annotations"].remove(entry)  # a single one is left then
    report, fixed = repaired(home, content)
    (finding,) = [f for f in report["findings"] if f["severity"] == "error"]
    assert finding["annotation_id"] == lost["id"] and "000000.jpg" in finding["file"]
    assert finding["kind"] in ("empty mask", "malformed mask")
    assert [a["id"] for a in own(fixed, 0)] == [others[0]["id"]]
    assert [image.get("clean", True) for image in fixed["images"]] == [False, True, True, True]


def test_an_annotation_that_is_there_twice_leaves_its_picture_clean(home, content):
    content["annotations"].insert(1, dict(content["annotations"][0]))
    count = len(content["annotations"])
    _, fixed = repaired(home, content)
    assert len(fixed["annotations"]) == count - 1
    assert all("clean" not in image for image in fixed["images"])


def test_an_image_that_loses_all_its_masks_is_left_out(home, content):
    for entry in own(content, 1):
        entry["segmentation"] = []
    report, fixed = repaired(home, content)
    names = [image["file_name"] for image in fixed["images"]]
    assert names == ["000000.jpg", "000002.jpg", "000003.jpg"]
    assert any("no co-salient annotation is left" in line for line in report["repairs"])


def test_sound_polygons_beside_a_malformed_one_stay(home, content):
    entry = own(content, 0)[0]
    polygon = [10, 10, 40, 10, 40, 30, 10, 30]
    entry.update(segmentation=[polygon, [1, 1, 2, 2]], bbox=[10, 10, 30, 20])
    _, fixed = repaired(home, content)
    (found,) = [a for a in fixed["annotations"] if a["id"] == entry["id"]]
    assert found["segmentation"] == [polygon] and found["bbox"] == [10, 10, 30, 20]


@pytest.mark.parametrize("orientation", [6, 8, 5])
def test_masks_of_the_unrotated_picture_are_turned(home, content, orientation):
    file = home / "val" / content["images"][0]["file_name"]
    with Image.open(file) as image:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(file, exif=exif)
    before = np.any([coco_mask.decode(a["segmentation"]) for a in own(content, 0)], axis=0)
    report, fixed = repaired(home, content)
    assert report["kinds"]["size mismatch"] == 1
    after = np.any([coco_mask.decode(a["segmentation"]) for a in own(fixed, 0)], axis=0)
    marked = Image.fromarray(before.astype(np.uint8) * 255)
    marked.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(after, np.asarray(ImageOps.exif_transpose(marked)) > 0)


@pytest.mark.parametrize("orientation", [6, 8, 5])
@pytest.mark.parametrize(
    ("corners", "clean"), [(((5, 5), (5, 60)), True), (((5, 5), (40, 30)), False)]
)
def test_polygons_drawn_upright_are_not_turned(tmp_path, orientation, corners, clean):
    squares = [(x, y, 30) for x, y in corners]
    write_squares(tmp_path, "coco", None, squares, (72, 96), size=(72, 96), orientation=orientation)
    (tmp_path / "images").rename(tmp_path / "val")
    report, fixed = repaired(tmp_path, read(tmp_path / "a.json"))
    assert report["kinds"]["size mismatch"] == 1
    assert fixed["images"][0].get("clean", True) is clean
    assert any("marked not clean: EXIF rotation" in line for line in report["repairs"]) is not clean
    boxes = [a["bbox"] for a in fixed["annotations"]]
    assert (boxes == [[x, y, 30, 30] for x, y in corners]) is clean


def test_categories_of_one_name_are_joined(home, content):
    count = len(own(content, 0))
    content["categories"].append({"id": 900, "name": content["images"][0]["cosalient_category"]})
    own(content, 0)[0]["category_id"] = 900
    _, fixed = repaired(home, content)
    line = ["data", "coco", "--json", str(home / "val.json"), "--images", str(home / "val")]
    assert main([*line, "--out", str(home.parent), "--name", "joined", "--workers", "1"]) == 0
    for made in (fixed, read(home / "joined.json")):
        assert len(own(made, 0)) == count
        assert 900 not in {c["id"] for c in made["categories"]}
