"""Repairs keep what is sound, and never leave a false truth."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from cosal_d2.cli import main
from cosal_d2.prepare.synthetic import DatasetSpec, SceneOptions, write_dataset

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound")
    options = SceneOptions(size=(72, 96))
    for name, seed in (("train", 1), ("val", 2)):
        write_dataset(DatasetSpec(root, name, 3, seed=seed, options=options), workers=1)
    return root / "cosal"


@pytest.fixture
def home(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "cosal")
    return tmp_path / "cosal"


def own(content, i):
    """Co-salient annotations of picture i."""
    image = content["images"][i]
    names = {c["id"]: c["name"] for c in content["categories"]}
    entries = [a for a in content["annotations"] if a["image_id"] == image["id"]]
    return [a for a in entries if names[a["category_id"]] == image["cosalient_category"]]


def run(home, content, *options):
    """Status and report of a check, and the repaired json where there is one."""
    (home / "train.json").write_text(json.dumps(content))
    line = ["data", "check", str(home / "train.json"), "--report", str(home.parent / "out")]
    status = main([*line, "--workers", "1", *options])
    report = json.loads((home.parent / "out" / "train.json").read_text())
    fixed = home / "train_fixed.json"
    return status, report, json.loads(fixed.read_text()) if fixed.exists() else None


def test_an_image_that_loses_all_its_masks_is_left_out(home):
    content = json.loads((home / "train.json").read_text())
    for entry in own(content, 1):
        entry["segmentation"] = []
    _, report, fixed = run(home, content, "--fix")
    assert [i["file_name"] for i in fixed["images"]] == ["000000.jpg", "000002.jpg"]
    assert any("no co-salient annotation is left" in line for line in report["repairs"])


def test_sound_polygons_beside_a_malformed_one_stay(home):
    content = json.loads((home / "train.json").read_text())
    entry = own(content, 0)[0]
    polygon = [10, 10, 40, 10, 40, 30, 10, 30]
    entry.update(segmentation=[polygon, [1, 1, 2, 2]], bbox=[10, 10, 30, 20])
    status, _, fixed = run(home, content, "--fix")
    assert status == 1
    (found,) = [a for a in fixed["annotations"] if a["id"] == entry["id"]]
    assert found["segmentation"] == [polygon] and found["bbox"] == [10, 10, 30, 20]


@pytest.mark.parametrize("orientation", [6, 8, 5])
def test_masks_of_the_unrotated_picture_are_turned(home, orientation):
    content = json.loads((home / "train.json").read_text())
    file = home / "train" / content["images"][0]["file_name"]
    with Image.open(file) as image:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(file, exif=exif)
    before = np.any([coco_mask.decode(a["segmentation"]) for a in own(content, 0)], axis=0)
    _, report, fixed = run(home, content, "--fix")
    assert report["kinds"]["size mismatch"] == 1
    after = np.any([coco_mask.decode(a["segmentation"]) for a in own(fixed, 0)], axis=0)
    marked = Image.fromarray(before.astype(np.uint8) * 255)
    marked.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(after, np.asarray(ImageOps.exif_transpose(marked)) > 0)


def test_both_pictures_of_a_repeated_annotation_id_are_named(home):
    content = json.loads((home / "train.json").read_text())
    own(content, 2)[0]["id"] = own(content, 0)[0]["id"]
    _, report, _ = run(home, content)
    (found,) = report["findings"]
    assert "000002.jpg" in found["file"] and "000000.jpg" in found["message"]


def test_a_category_that_repeats_names_a_picture_that_uses_it(home):
    content = json.loads((home / "train.json").read_text())
    content["categories"].append({"id": own(content, 0)[0]["category_id"], "name": "other"})
    _, report, _ = run(home, content)
    assert "000000.jpg" in report["findings"][0]["file"]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["images"][0].update(file_name=None),
        lambda c: c["images"][0].update(height=None),
        lambda c: c["annotations"][0].update(image_id=None),
        lambda c: c["annotations"].append(None),
        lambda c: c["annotations"][0]["segmentation"].update(counts="zzzz~~~"),
    ],
)
def test_null_fields_and_corrupt_masks_are_found_and_repaired(home, change):
    content = json.loads((home / "train.json").read_text())
    change(content)
    status, report, fixed = run(home, content, "--fix")
    assert status == 1 and fixed["images"] and report["not_fixed"] == []
    assert {"missing field", "malformed mask"} & report["kinds"].keys()


def test_ids_written_as_floats_are_the_same_ids(home):
    content = json.loads((home / "train.json").read_text())
    for entry in content["annotations"]:
        entry.update(image_id=float(entry["image_id"]), category_id=float(entry["category_id"]))
    status, report, _ = run(home, content)
    assert status == 0 and report["findings"] == []


def test_a_mirrored_copy_in_another_split_is_a_warning(home):
    content = json.loads((home / "train.json").read_text())
    with Image.open(home / "val" / "000001.jpg") as image:
        ImageOps.mirror(image).save(home / "train" / "000001.jpg", quality=70)
    status, report, _ = run(home, content)
    assert status == 0 and report["kinds"] == {"mirrored duplicate": 1}
    assert "000001.jpg" in report["findings"][0]["file"]


def test_categories_of_one_name_are_joined(home):
    content = json.loads((home / "train.json").read_text())
    twin = {"id": 900, "name": content["images"][0]["cosalient_category"]}
    content["categories"].append(twin)
    own(content, 0)[0]["category_id"] = 900
    (home / "train.json").write_text(json.dumps(content))
    line = ["data", "coco", "--json", str(home / "train.json"), "--images", str(home / "train")]
    assert main([*line, "--out", str(home.parent), "--name", "joined", "--workers", "1"]) == 0
    made = json.loads((home / "joined.json").read_text())
    assert len(own(made, 0)) == len(own(content, 0))
    assert 900 not in {c["id"] for c in made["categories"]}
