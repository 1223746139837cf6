"""`cosal data check`: planted faults are found and repaired, sound data pass."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tool_loading import ROOT

from cosal_d2.cli import main
from cosal_d2.data.datasets import load_cosal_json
from cosal_d2.prepare.check.dataset import load_dataset, sibling_splits
from cosal_d2.prepare.check.picture import crosses_itself
from cosal_d2.prepare.synthetic import DatasetSpec, SceneOptions, write_dataset

FAULTS = 30
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A root with two sound splits."""
    root = tmp_path_factory.mktemp("clean")
    options = SceneOptions(size=(72, 96))
    write_dataset(DatasetSpec(root, "train", FAULTS, seed=1, options=options), workers=1)
    write_dataset(DatasetSpec(root, "val", 4, seed=2, options=options), workers=1)
    return root


class Planter:
    """Puts one fault into one picture of a json."""

    def __init__(self, home):
        self.home, self.content = home, json.loads((home / "train.json").read_text())

    def own(self, i):
        """Co-salient annotations of picture i."""
        image = self.content["images"][i]
        names = {c["id"]: c["name"] for c in self.content["categories"]}
        group = image["cosalient_category"]
        entries = [a for a in self.content["annotations"] if a["image_id"] == image["id"]]
        return [a for a in entries if names[a["category_id"]] == group]

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
def faulty(clean, tmp_path):
    """Folder with a train.json full of faults, and what is expected of each picture."""
    home = tmp_path / "root" / "cosal"
    shutil.copytree(clean / "cosal", home)
    planter = Planter(home)
    expected = {}
    for i, (kind, plant, arguments) in enumerate(PLANTED):
        expected[str(planter.file(i))] = kind
        plant(planter, i, *arguments)
    (home / "train.json").write_text(json.dumps(planter.content))
    return home, expected


def report(folder, name="train"):
    return json.loads((folder / f"{name}.json").read_text())


def check(json_file, folder, *options):
    line = ["data", "check", str(json_file), "--report", str(folder), "--workers", "1", *options]
    return main(line)


def test_thirty_planted_faults_are_found_and_none_in_the_clean_copy(
    clean, faulty, tmp_path, capsys
):
    assert len(PLANTED) == FAULTS
    assert check(clean / "cosal" / "train.json", tmp_path / "clean") == 0
    found = report(tmp_path / "clean")
    assert found["findings"] == [] and found["against"] == [str(clean / "cosal" / "val.json")]
    capsys.readouterr()
    home, expected = faulty
    assert check(home / "train.json", tmp_path / "faulty") == 1
    errors = [f for f in report(tmp_path / "faulty")["findings"] if f["severity"] == "error"]
    assert sorted((f["file"], f["kind"]) for f in errors) == sorted(expected.items())
    printed = capsys.readouterr().out
    text = (tmp_path / "faulty" / "train.txt").read_text()
    for file, kind in expected.items():
        assert re.search(rf"error: {kind}: {re.escape(file)} \(image \d+.*; ", printed)
        assert f"{kind}: {file}" in text
    assert all(f["fix"] and f["image_id"] is not None for f in errors)


def test_fix_writes_a_sound_copy_and_says_what_it_did(faulty, tmp_path, capsys):
    home, expected = faulty
    before = (home / "train.json").read_bytes()
    assert check(home / "train.json", tmp_path / "out", "--fix") == 1
    printed = capsys.readouterr().out
    for file in expected:
        assert f"fixed: {file}" in printed
    assert (home / "train.json").read_bytes() == before
    found = report(tmp_path / "out")
    assert found["not_fixed"] == [] and len(found["repairs"]) >= FAULTS
    copy = home / "train_fixed.json"
    against = ["--against", str(home / "val.json")]
    assert check(copy, tmp_path / "again", *against) == 0
    records = load_cosal_json(str(copy), str(home / "train_fixed"), "fixed_by_test")
    left = {
        Path(f).name for f, kind in expected.items() if kind in ("box not tight", "duplicate id")
    }
    assert len(left - {Path(r["file_name"]).name for r in records}) == 1  # the image id given twice
    assert check(home / "train.json", tmp_path / "out", "--fix") == 1
    assert "exists already" in capsys.readouterr().err


def test_warnings_alone_end_with_status_0(clean, tmp_path):
    home = tmp_path / "cosal"
    shutil.copytree(clean / "cosal", home)
    Image.new("RGB", (9, 9)).save(home / "val" / "other.PNG")
    content = json.loads((home / "val.json").read_text())
    content["annotations"][0]["area"] = 9999
    (home / "val.json").write_text(json.dumps(content))
    assert check(home / "val.json", tmp_path / "out") == 0
    kinds = report(tmp_path / "out", "val")["kinds"]
    assert kinds == {"unlisted file": 1, "wrong area": 1}


def test_an_empty_truth_is_legal(tmp_path):
    options = SceneOptions(size=(72, 96), repeat=False, distractors=(2, 3))
    made = write_dataset(DatasetSpec(tmp_path, "none", 2, seed=1, options=options), workers=1)
    assert check(made, tmp_path / "out") == 0
    assert report(tmp_path / "out", "none")["findings"] == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda c: c["annotations"][0].pop("bbox"), "missing field"),
        (lambda c: c["images"][0].pop("width"), "missing field"),
        (lambda c: c["annotations"][0].update(image_id=77), "unknown image"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "malformed box"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 1, 5, 5]]), "malformed mask"),
        (lambda c: c["annotations"][0]["segmentation"].update(size=[36, 48]), "size mismatch"),
        (lambda c: c["images"][0].update(cosalient_category="x"), "unknown co-salient class"),
        (lambda c: c["images"].append({**c["images"][0], "id": 99}), "repeated file"),
        (lambda c: c["categories"].append(dict(c["categories"][0])), "duplicate category"),
    ],
)
def test_other_faults_are_found_and_repaired(clean, tmp_path, change, kind):
    home = tmp_path / "cosal"
    shutil.copytree(clean / "cosal", home)
    content = json.loads((home / "val.json").read_text())
    change(content)
    (home / "val.json").write_text(json.dumps(content))
    assert check(home / "val.json", tmp_path / "out", "--fix") == 1
    found = report(tmp_path / "out", "val")
    assert kind in found["kinds"] and found["not_fixed"] == []
    assert check(home / "val_fixed.json", tmp_path / "again") == 0


def test_the_readmes_example_is_sound(tmp_path):
    text = (ROOT / "datasets" / "README.md").read_text()
    block = re.search(r"\n    \{\n      \"images\".*?\n    \}\n", text, re.DOTALL).group()
    (tmp_path / "fruit.json").write_text(block)
    (tmp_path / "fruit").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (100, 150, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "fruit" / "a.jpg")
    assert check(tmp_path / "fruit.json", tmp_path / "out") == 0
    assert report(tmp_path / "out", "fruit")["findings"] == []
    (record,) = load_cosal_json(str(tmp_path / "fruit.json"), str(tmp_path / "fruit"), "fruit_test")
    assert [a["cosalient"] for a in record["annotations"]] == [True, True, False]


def test_names_and_siblings(clean, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(clean))
    assert load_dataset("cosal_train").json_file == clean / "cosal" / "train.json"
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
