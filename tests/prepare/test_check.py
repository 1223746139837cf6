"""`cosal data check`: planted faults are found and repaired, sound data pass."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from check_data import check, check_val, own, read, repaired
from picture_files import ODD, make_odd
from PIL import Image, ImageOps
from tool_loading import ROOT

from cosal_d2.data.datasets import load_cosal_json
from cosal_d2.prepare.check.dataset import load_dataset, sibling_splits
from cosal_d2.prepare.check.picture import crosses_itself
from cosal_d2.prepare.synthetic import DatasetSpec, SceneOptions, write_dataset

FAULTS = 30
pytestmark = pytest.mark.usefixtures("one_thread")


class Planter:
    """Puts one fault into one picture of a json."""

    def __init__(self, home):
        self.home, self.content = home, read(home / "train.json")

    def own(self, i):
        return own(self.content, i)

    def file(self, i):
        return self.home / "train" / self.content["images"][i]["file_name"]

    def unreadable(self, i, data=b"no picture"):
        self.file(i).write_bytes(data)

    def truncated(self, i):
        data = self.file(i).read_bytes()
        self.file(i).write_bytes(data[: len(data) * 2 // 3])

    def missing(self, i):
        self.file(i).unlink()

    def wrong_size(self, i, height=0, width=0):
        self.content["images"][i]["height"] += height
        self.content["images"][i]["width"] += width

    def box(self, i, *change):
        self.own(i)[0]["bbox"] = [
            v + d for v, d in zip(self.own(i)[0]["bbox"], change, strict=True)
        ]

    def outside(self, i):
        x, y, _, h = self.own(i)[0]["bbox"]
        self.own(i)[0]["bbox"] = [x, y, 200, h]

    def empty(self, i, segmentation=None):
        self.own(i)[0]["segmentation"] = segmentation or {"size": [72, 96], "counts": [72 * 96]}

    def crossing(self, i):
        x, y, w, h = self.own(i)[0]["bbox"]
        bow = [x, y, x + w, y + h, x + w, y, x, y + h]
        self.own(i)[0]["segmentation"] = [bow]

    def category(self, i, number):
        self.own(i)[0]["category_id"] = number

    def annotation_id(self, i):
        self.own(i)[0]["id"] = self.own(0)[0]["id"]

    def image_id(self, i):
        entries = list(self.content["annotations"])
        image = self.content["images"][i]
        former, image["id"] = image["id"], self.content["images"][1]["id"]
        self.content["annotations"] = [a for a in entries if a["image_id"] != former]

    def single(self, i):
        for entry in self.own(i)[1:]:
            self.content["annotations"].remove(entry)

    def duplicate(self, i, change):
        other = self.home / "val" / "000001.jpg"
        with Image.open(other) as image:
            change(image.convert("RGB")).save(self.file(i), quality=60)
        image = self.content["images"][i]
        assert Image.open(self.file(i)).size == (image["width"], image["height"])


PLANTED = [
    ("unreadable image", Planter.unreadable, ()),
    ("unreadable image", Planter.unreadable, (b"",)),
    ("unreadable image", Planter.truncated, ()),
    ("unreadable image", Planter.truncated, ()),
    ("missing image", Planter.missing, ()),
    ("size mismatch", Planter.wrong_size, (8, 0)),
    ("size mismatch", Planter.wrong_size, (0, -3)),
    ("size mismatch", Planter.wrong_size, (72, 96)),
    ("box out of bounds", Planter.outside, ()),
    ("box out of bounds", Planter.box, (-90, 0, 0, 0)),
    ("box out of bounds", Planter.box, (0, 80, 0, 0)),
    ("box not tight", Planter.box, (0, 0, -4, 0)),
    ("box not tight", Planter.box, (2, 0, -2, 0)),
    ("box not tight", Planter.box, (0, 0, 0, -3)),
    ("empty mask", Planter.empty, ()),
    ("empty mask", Planter.empty, ([[]],)),
    ("empty mask", Planter.empty, ([[90.1, 70.1, 90.2, 70.1, 90.2, 70.2]],)),
    ("self-intersecting mask", Planter.crossing, ()),
    ("self-intersecting mask", Planter.crossing, ()),
    ("unknown category", Planter.category, (999,)),
    ("unknown category", Planter.category, (0,)),
    ("unknown category", Planter.category, ("apple",)),
    ("duplicate id", Planter.annotation_id, ()),
    ("duplicate id", Planter.annotation_id, ()),
    ("duplicate id", Planter.image_id, ()),
    ("single instance", Planter.single, ()),
    ("single instance", Planter.single, ()),
    ("near duplicate", Planter.duplicate, (lambda x: x,)),
    ("near duplicate", Planter.duplicate, (lambda x: x.point(lambda v: min(255, int(v * 1.15))),)),
    ("near duplicate", Planter.duplicate, (lambda x: x.resize((48, 36)).resize((96, 72)),)),
]


@pytest.fixture
def faulty(home):
    """Folder with a train.json full of faults, and what is expected of each picture."""
    planter = Planter(home)
    expected = {}
    for i, (kind, plant, arguments) in enumerate(PLANTED):
        expected[str(planter.file(i))] = kind
        plant(planter, i, *arguments)
    (home / "train.json").write_text(json.dumps(planter.content))
    return home, expected


def test_nothing_is_found_in_sound_data(clean, tmp_path):
    status, report = check(clean / "train.json", tmp_path)
    assert status == 0 and report["findings"] == []
    assert report["against"] == [str(clean / "val.json")]


def test_thirty_planted_faults_are_found(faulty, tmp_path, capsys):
    assert len(PLANTED) == FAULTS
    home, expected = faulty
    status, report = check(home / "train.json", tmp_path)
    errors = [f for f in report["findings"] if f["severity"] == "error"]
    assert status == 1
    assert sorted((f["file"], f["kind"]) for f in errors) == sorted(expected.items())
    printed, text = capsys.readouterr().out, (tmp_path / "train.txt").read_text()
    for file, kind in expected.items():
        assert re.search(rf"error: {kind}: {re.escape(file)} \(image \d+.*; ", printed)
        assert f"{kind}: {file}" in text
    assert all(f["fix"] and f["image_id"] is not None for f in errors)


def test_fix_writes_a_sound_copy_and_says_what_it_did(faulty, tmp_path, capsys):
    home, expected = faulty
    before = (home / "train.json").read_bytes()
    status, report = check(home / "train.json", tmp_path, "--fix")
    assert status == 1 and report["not_fixed"] == [] and len(report["repairs"]) >= FAULTS
    printed = capsys.readouterr().out
    assert all(f"fixed: {file}" in printed for file in expected)
    assert (home / "train.json").read_bytes() == before
    copy = home / "train_fixed.json"
    assert check(copy, tmp_path, "--against", str(home / "val.json"))[0] == 0
    records = load_cosal_json(str(copy), str(home / "train_fixed"), "fixed_by_test")
    left = {
        Path(f).name for f, kind in expected.items() if kind in ("box not tight", "duplicate id")
    }
    assert len(left - {Path(r["file_name"]).name for r in records}) == 1  # the image id given twice
    assert check(home / "train.json", tmp_path, "--fix")[0] == 1
    assert "exists already" in capsys.readouterr().err


def test_warnings_alone_end_with_status_0(home, content):
    Image.new("RGB", (9, 9)).save(home / "val" / "other.PNG")
    content["annotations"][0]["area"] = 9999
    status, report = check_val(home, content)
    assert status == 0 and report["kinds"] == {"unlisted file": 1, "wrong area": 1}


def test_an_empty_truth_is_legal(tmp_path):
    options = SceneOptions(size=(72, 96), groups=0, distractors=(2, 3))
    made = write_dataset(DatasetSpec(tmp_path, "none", 2, seed=1, options=options), workers=1)
    status, report = check(made, tmp_path)
    assert status == 0 and report["findings"] == []


def test_ids_written_as_floats_are_the_same_ids(home, content):
    for entry in content["annotations"]:
        entry.update(image_id=float(entry["image_id"]), category_id=float(entry["category_id"]))
    status, report = check_val(home, content)
    assert status == 0 and report["findings"] == []


def test_fields_written_as_texts_are_the_same_fields(home, content):
    for entry in content["annotations"]:
        entry.update(iscrowd="0", area=str(entry["area"]), bbox=[str(v) for v in entry["bbox"]])
        entry.update(id=f"{entry['id']}.0", image_id=str(entry["image_id"]))
    for image in content["images"]:
        image.update(height=str(image["height"]), width=float(image["width"]))
    status, report = check_val(home, content)
    assert status == 0 and report["findings"] == []
    content["annotations"][0]["bbox"] = ["1", "2", "3", "4"]
    _, fixed = repaired(home, content)
    assert len(fixed["annotations"]) == len(content["annotations"])
    assert {a["iscrowd"] for a in fixed["annotations"]} == {0}


def test_a_mirrored_copy_in_another_split_is_a_warning(home, content):
    with Image.open(home / "train" / "000001.jpg") as image:
        ImageOps.mirror(image).save(home / "val" / "000002.jpg", quality=70)
    status, report = check_val(home, content)
    assert status == 0 and report["kinds"] == {"mirrored duplicate": 1}
    assert "000002.jpg" in report["findings"][0]["file"]


@pytest.mark.parametrize("name", ["a\0b.jpg", "\ud800.jpg", " ", 7])
def test_a_file_name_that_no_file_can_have_is_named(home, content, name):
    content["images"][0]["file_name"] = name
    report, fixed = repaired(home, content)
    assert report["findings"][0]["kind"] == "missing field"
    assert repr(name) in report["findings"][0]["message"] and len(fixed["images"]) == 3


@pytest.mark.parametrize("kind", ODD)
def test_what_is_named_like_a_picture_but_is_none_is_told(home, content, kind):
    make_odd(home / "val" / content["images"][0]["file_name"], kind)
    report, fixed = repaired(home, content)
    finding = report["findings"][0]
    assert finding["kind"] == "missing image" and f"but {ODD[kind]}" in finding["message"]
    assert len(fixed["images"]) == 3


def test_a_picture_that_is_a_link_to_itself_is_named(home, content):
    content["images"][0]["file_name"] = "loop.png"
    (home / "val" / "loop.png").symlink_to("loop.png")
    report, fixed = repaired(home, content)
    assert "loop.png" in report["findings"][0]["file"] and len(fixed["images"]) == 3


HUGE, INF = 10**400, float("inf")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("segmentation", {"size": [INF, 80], "counts": [10, 3840]}),
        ("segmentation", {"size": [HUGE, 80], "counts": [10, 3840]}),
        ("segmentation", [[HUGE, 0, 5, 5, 9, 20]]),
        ("segmentation", [[1, 1, 30, 1, 30, -HUGE, 1, 30]]),
        ("bbox", [1, 1, HUGE, 5]),
        ("bbox", [1, 1, INF, 5]),
    ],
)
def test_numbers_beyond_any_picture_are_named_and_repaired(home, content, field, value):
    entry = own(content, 0)[0]
    entry[field] = value
    report, fixed = repaired(home, content)
    (finding,) = [f for f in report["findings"] if f["severity"] == "error"]
    assert finding["annotation_id"] == entry["id"] and "000000.jpg" in finding["file"]
    assert len(fixed["images"]) == 4


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        *[("images", "height", value) for value in (None, 0, "tall", True, 72.5)],
        *[("annotations", "id", value) for value in (None, True, [1], 1.5)],
        *[("annotations", field, True) for field in ("image_id", "category_id")],
        ("annotations", "bbox", None),
    ],
)
def test_no_advice_on_a_field_takes_an_entry_away(home, content, part, field, value):
    content[part][0][field] = value
    findings = repaired(home, content)[0]["findings"]
    for finding in findings:
        assert "remove" not in finding["fix"] or finding["kind"] == "single instance"
    assert findings[0]["fix"].endswith("--fix finds it") is (
        field not in ("image_id", "category_id")
    )


@pytest.mark.parametrize(("given", "shown"), [(99, "99"), ("99a", "'99a'"), (" 9 b", "' 9 b'")])
def test_ids_that_are_nowhere_are_told_with_their_kind(home, content, given, shown):
    content["annotations"][0].update(image_id=given)
    content["annotations"][1].update(category_id=given)
    messages = " ".join(f["message"] for f in repaired(home, content)[0]["findings"])
    assert f"image_id {shown} is none" in messages and f"category_id {shown} is none" in messages


def test_pictures_of_ids_that_repeat_are_named(home, content):
    own(content, 2)[0]["id"] = own(content, 0)[0]["id"]
    (found,) = check_val(home, content)[1]["findings"]
    assert "000002.jpg" in found["file"] and "000000.jpg" in found["message"]
    content["categories"].append({"id": own(content, 0)[0]["category_id"], "name": "other"})
    assert "000000.jpg" in check_val(home, content)[1]["findings"][0]["file"]


def test_the_readmes_example_is_sound(tmp_path):
    text = (ROOT / "datasets" / "README.md").read_text()
    block = re.search(r"\n    \{\n      \"images\".*?\n    \}\n", text, re.DOTALL).group()
    (tmp_path / "fruit.json").write_text(block)
    (tmp_path / "fruit").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (100, 150, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "fruit" / "a.jpg")
    status, report = check(tmp_path / "fruit.json", tmp_path / "report")
    assert status == 0 and report["findings"] == []
    (record,) = load_cosal_json(str(tmp_path / "fruit.json"), str(tmp_path / "fruit"), "fruit_test")
    assert [a["cosalient"] for a in record["annotations"]] == [True, True, False]


def test_names_and_siblings(clean, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(clean.parent))
    assert load_dataset("cosal_train").json_file == clean / "train.json"
    with pytest.raises(FileNotFoundError, match="DETECTRON2_DATASETS"):
        load_dataset("nothing")
    for name in ("a_train", "a_val", "b_val", "a_train_old", "a"):
        (tmp_path / f"{name}.json").write_text("{}")
        (tmp_path / name).mkdir()
    assert sibling_splits(tmp_path / "a_train.json") == [tmp_path / "a_val.json"]
    assert sibling_splits(tmp_path / "a.json") == []


@pytest.mark.parametrize(
    ("points", "crosses"),
    [
        ([0, 0, 10, 10, 10, 0, 0, 10], True),  # bow tie
        ([0, 0, 10, 0, 10, 10, 0, 10], False),
        ([0, 0, 5, 5, 10, 0, 10, 10, 5, 5, 0, 10], False),  # two triangles that touch
        ([0, 0, 5, 5, 10, 10, 10, 0, 5, 5, 0, 10], True),  # bow tie with its crossing as a corner
        ([0, 0, 10, 0, 10, 10, 5, 10, 5, 20, 5, 10, 0, 10], False),  # a thread, there and back
        ([0, 0, 10, 0, 10, 10, 4, 10, 4, -5, 0, 10], True),
    ],
)
def test_crossing_outlines(points, crosses):
    assert crosses_itself(points) == crosses
