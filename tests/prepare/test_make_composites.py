"""The tool that writes composites as a dataset root."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from composites_data import (
    COLOURS,
    HEIGHT,
    WIDTH,
    compressed,
    write_source,
    write_sprites,
)
from pycocotools import mask as coco_mask
from tool_loading import load_tool

from cosal_d2.data.datasets import load_cosal_json

SIZE = (150, 200)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def main():
    return load_tool("datasets/make_composites.py").main


@pytest.fixture
def arguments(source, tmp_path):
    """Command line of a small series."""
    return [
        *("--json", str(source[0]), "--images", str(source[1]), "--out", str(tmp_path / "root")),
        *("--name", "a", "--count", "4", "--size", "150", "200", "--workers", "1"),
    ]


def _digest(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def test_output_does_not_depend_on_workers_or_run(arguments, main, tmp_path):
    digests = []
    for workers in ("1", "2", "1"):
        root = tmp_path / f"run{len(digests)}"
        assert main([*arguments, "--out", str(root), "--workers", workers]) == 0
        digests.append(_digest(root))
    assert len(digests[0]) == 5
    assert digests[0] == digests[1] == digests[2]
    assert main([*arguments, "--seed", "1"]) == 0
    assert _digest(tmp_path / "root") != digests[0]


def test_json_is_a_dataset_of_this_project(arguments, main, source, tmp_path):
    assert main([*arguments, "--count", "12"]) == 0
    home = tmp_path / "root" / "cosal"
    data = json.loads((home / "a.json").read_text())
    ids = {a["id"] for a in json.loads(source[0].read_text())["annotations"]}
    covered = {i["id"]: np.zeros(SIZE, int) for i in data["images"]}
    for annotation in data["annotations"]:
        mask = coco_mask.decode(annotation["segmentation"])
        assert mask.shape == SIZE
        rows, columns = np.nonzero(mask)
        x, y, w, h = annotation["bbox"]
        assert (x, y) == (columns.min(), rows.min())
        assert (x + w, y + h) == (columns.max() + 1, rows.max() + 1)
        assert annotation["area"] == mask.sum() > 0
        assert annotation["iscrowd"] == 0
        assert annotation["source"] in ids
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        covered[annotation["image_id"]] += mask
    assert max(total.max() for total in covered.values()) == 1
    dicts = load_cosal_json(str(home / "a.json"), str(home / "a"), "composites_of_a_test")
    assert len(dicts) == 12
    for record in dicts:
        assert cv2.imread(record["file_name"]).shape == (*SIZE, 3)
        assert sum(a["cosalient"] for a in record["annotations"]) >= 2
        assert record["cosalient_category"] in set(COLOURS) - {"distractor"}


def test_no_group_has_an_empty_truth(arguments, main, tmp_path):
    assert main([*arguments, "--no-group", "--objects", "2", "4", "--count", "12"]) == 0
    data = json.loads((tmp_path / "root" / "cosal" / "a.json").read_text())
    names = {c["id"]: c["name"] for c in data["categories"]}
    assert {names[a["category_id"]] for a in data["annotations"]} == {"distractor"}
    counts = set()
    for entry in data["images"]:
        assert entry["cosalient_category"] is None
        own = [a["class_name"] for a in data["annotations"] if a["image_id"] == entry["id"]]
        assert len(set(own)) == len(own)
        counts.add(len(own))
    assert counts == {2, 3, 4}


def test_classes_restrict_group_and_distractors(arguments, main, tmp_path):
    listed = tmp_path / "classes.txt"
    listed.write_text("disc\n\n star \n")
    extra = ["--classes", str(listed), "--count", "12", "--distractors", "1", "1"]
    assert main([*arguments, *extra]) == 0
    data = json.loads((tmp_path / "root" / "cosal" / "a.json").read_text())
    assert {a["class_name"] for a in data["annotations"]} == {"disc", "star"}
    assert {i["cosalient_category"] for i in data["images"]} == {"disc", "star"}


@pytest.mark.parametrize(
    ("content", "used"),
    [
        ("disc\nstar\nsprite/a\nsprite/b\n", {"disc", "star", "sprite/a", "sprite/b"}),
        ("disc\n", {"disc", "sprite/a", "sprite/b", "sprite/c"}),
        ("sprite/a\nsprite/b\n", {"sprite/a", "sprite/b"}),
    ],
)
def test_classes_may_list_sprites(arguments, main, tmp_path, content, used):
    listed = tmp_path / "classes.txt"
    listed.write_text(content)
    sprites = write_sprites(tmp_path / "sprites", "abc")
    extra = ["--classes", str(listed), "--sprites", str(sprites), "--distractors", "1", "1"]
    assert main([*arguments, *extra, "--count", "1"]) == 0
    data = json.loads((tmp_path / "root" / "cosal" / "a.json").read_text())
    assert {c["name"] for c in data["categories"]} == used | {"distractor"}


@pytest.mark.parametrize(
    ("content", "named"),
    [("disc\nzebra\nyak\n", "'zebra', 'yak'"), ("\n", "no class"), ("disc\n", "1 usable classes")],
)
def test_bad_classes_are_refused(arguments, main, tmp_path, capsys, content, named):
    listed = tmp_path / "classes.txt"
    listed.write_text(content)
    with pytest.raises(SystemExit):
        main([*arguments, "--classes", str(listed), "--distractors", "1", "2"])
    assert named in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_any_form_of_mask_gives_the_same_pictures(tmp_path, arguments, main):
    digests = []
    for form in ("polygon", "compressed", "uncompressed"):
        json_file, folder = write_source(tmp_path / form, form=form)
        out = tmp_path / f"{form}_out"
        files = ["--json", str(json_file), "--images", str(folder), "--out", str(out)]
        assert main([*arguments, *files]) == 0
        digests.append(_digest(out))
    assert digests[0] == digests[1] == digests[2]


def _without(part, name):
    return lambda content: content[part][1].pop(name)


def _set(part, name, value):
    return lambda content: content[part][1].__setitem__(name, value)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda content: content.pop("categories"), "`categories`"),
        (_without("images", "height"), "images[1] has no `height`"),
        (_without("annotations", "image_id"), "annotations[1] has no `image_id`"),
        (_without("categories", "name"), "categories[1] has no `name`"),
        (_set("annotations", "category_id", 77), "category_id 77"),
        (_set("annotations", "image_id", 77), "image_id 77"),
        (_set("annotations", "segmentation", "text"), "`segmentation` is unreadable"),
        (_set("images", "id", 0), "images[1] repeats the id 0"),
        (
            _set("annotations", "segmentation", {"size": [HEIGHT, WIDTH], "counts": [5]}),
            "do not add up",
        ),
        (
            _set("annotations", "segmentation", compressed(np.zeros((9, 9), np.uint8))),
            "is of size [9, 9]",
        ),
        (_set("images", "width", 9), f"1.png is {HEIGHT} x {WIDTH} pixels"),
    ],
)
def test_bad_json_is_refused(source, tmp_path, arguments, main, capsys, spoil, named):
    content = json.loads(source[0].read_text())
    spoil(content)
    json_file = tmp_path / "spoilt.json"
    json_file.write_text(json.dumps(content))
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--json", str(json_file)])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert named in message
    assert "spoilt.json" in message
    assert not (tmp_path / "root").exists()


def test_missing_files_are_named(source, tmp_path, arguments, main, capsys):
    assert main([*arguments, "--images", str(tmp_path)]) == 1
    assert "is --images right?" in capsys.readouterr().err
    assert main([*arguments, "--json", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(SystemExit):
        main([*arguments, "--json", str(tmp_path / "text.json")])
    assert "text.json is not valid json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--objects", "1", "3"], "--objects"),
        (["--distractors", "3", "2"], "--distractors"),
        (["--no-group", "--distractors", "1", "2"], "--distractors"),
        (["--sprite-share", "1.5"], "--sprite-share"),
        (["--size", "20", "20"], "--size"),
        (["--count", "0"], "--count"),
        (["--seed", "-1"], "--seed"),
        (["--name", "a/b"], "--name"),
        (["--workers", "0"], "--workers"),
        (["--distractors", "9", "9"], "--json"),
    ],
)
def test_bad_arguments_are_named(arguments, capsys, main, tmp_path, extra, named):
    with pytest.raises(SystemExit) as stop:
        main([*arguments, *extra])
    assert stop.value.code == 2
    assert f"argument {named}: " in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_existing_output_is_kept_unless_overwritten(arguments, main, tmp_path, capsys):
    assert main(arguments) == 0
    first = _digest(tmp_path / "root")
    assert main([*arguments, "--seed", "2"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert _digest(tmp_path / "root") == first
    assert main([*arguments, "--seed", "2", "--overwrite"]) == 0
    assert _digest(tmp_path / "root").keys() == first.keys()
    assert _digest(tmp_path / "root") != first


def test_composing_needs_neither_torch_nor_detectron2():
    code = (
        "import sys, cosal_d2.prepare.composites, cosal_d2.prepare.synthetic; "
        "print([m for m in ('torch', 'detectron2') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
