"""Merging, splitting and describing datasets."""

import base64
import json
import re
from collections import Counter

import cv2
import numpy as np
import pytest
from picture_files import make_odd
from PIL import Image, ImageOps

from cosal_d2.cli import main
from cosal_d2.prepare.check.near_duplicates import SCENE_BITS, near_pairs, picture_hash
from cosal_d2.prepare.check.split import assign
from cosal_d2.prepare.synthetic import DatasetSpec, SceneOptions, render_scene, write_dataset

OPTIONS = SceneOptions(size=(72, 96))
COUNT = 12
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def root(tmp_path):
    """Twelve scenes, of which the last is a copy of the first."""
    made = write_dataset(DatasetSpec(tmp_path, "all", COUNT, seed=5, options=OPTIONS), workers=1)
    first, last = (made.with_suffix("") / f"{i:06d}.jpg" for i in (0, COUNT - 1))
    with Image.open(first) as image:
        image.save(last, quality=70)
    return tmp_path


def read(root, name):
    return json.loads((root / "cosal" / f"{name}.json").read_text())


def groups(content):
    return {i["file_name"]: i["cosalient_category"] for i in content["images"]}


def split(root, *options):
    line = ["data", "split", str(root / "cosal" / "all.json"), "--out", str(root), "--workers", "1"]
    assert main([*line, "--overwrite", *options]) == 0


def test_near_duplicates_stay_on_one_side(root):
    for seed in range(3):
        split(root, "--names", "a", "b", "--shares", "0.5", "0.5", "--seed", str(seed))
        a, b = (groups(read(root, name)) for name in "ab")
        assert {**a, **b} == groups(read(root, "all")) and not a.keys() & b.keys()
        assert len(a) == COUNT // 2
        assert ("000000.jpg" in a) == (f"{COUNT - 1:06d}.jpg" in a)
    split(root, "--names", "a", "b", "--shares", "0.5", "0.5", "--seed", "2")
    assert groups(read(root, "a")) == a


def test_a_split_keeps_annotations_and_categories(root):
    split(root, "--names", "a", "b", "c", "--link")
    whole = read(root, "all")
    parts = [read(root, name) for name in "abc"]
    assert all(p["categories"] == whole["categories"] for p in parts)
    merged = [a for p in parts for a in p["annotations"]]
    assert sorted(merged, key=lambda a: a["id"]) == whole["annotations"]
    assert all(p.is_symlink() for p in (root / "cosal" / "a").iterdir())


def test_classes_are_on_one_side_alone(root):
    split(root, "--by", "class", "--names", "a", "b", "--shares", "2", "1")
    a, b = (set(groups(read(root, name)).values()) for name in "ab")
    assert a and b and not a & b


def test_merge_joins_classes_and_gives_new_ids_and_names(root):
    other = SceneOptions(size=(72, 96), groups=0, distractors=(2, 3))
    write_dataset(DatasetSpec(root, "more", 3, seed=6, options=other), workers=1)
    files = [str(root / "cosal" / f"{n}.json") for n in ("all", "more")]
    assert (
        main(["data", "merge", *files, "--out", str(root), "--name", "both", "--workers", "1"]) == 0
    )
    made, parts = read(root, "both"), [read(root, n) for n in ("all", "more")]
    assert [i["id"] for i in made["images"]] == list(range(1, COUNT + 4))
    assert made["images"][-1]["file_name"] == "more_000002.jpg"
    assert all((root / "cosal" / "both" / i["file_name"]).is_file() for i in made["images"])

    def counted(content):
        names = {c["id"]: c["name"] for c in content["categories"]}
        return Counter(
            (names[a["category_id"]], a["segmentation"]["counts"]) for a in content["annotations"]
        )

    assert counted(made) == counted(parts[0]) + counted(parts[1])
    assert len({a["id"] for a in made["annotations"]}) == len(made["annotations"])


@pytest.mark.parametrize("stem", ["a" * 251, "\u732b" * 83 + "aa"])
def test_names_of_all_their_bytes_are_merged(root, stem):
    content = read(root, "all")
    (root / "cosal" / "all" / content["images"][0]["file_name"]).rename(
        root / "cosal" / "all" / f"{stem}.jpg"
    )
    content["images"][0]["file_name"] = f"{stem}.jpg"
    file = root / "cosal" / "all.json"
    file.write_text(json.dumps(content))
    line = ["data", "merge", str(file), str(file), "--out", str(root), "--name", "both"]
    assert main([*line, "--workers", "1"]) == 0
    names = [image["file_name"] for image in read(root, "both")["images"]]
    assert names[COUNT] == f"all/{stem}.jpg" and names[COUNT + 1] == "all_000001.jpg"


@pytest.mark.parametrize("what", ["pipe", "gone"])
def test_a_split_names_what_is_no_picture_and_ends(root, what, capsys):
    make_odd(root / "cosal" / "all" / "000003.jpg", what)
    line = ["data", "split", str(root / "cosal" / "all.json"), "--out", str(root), "--workers", "1"]
    assert main([*line, "--names", "a", "b"]) == 1
    assert "000003.jpg: no such picture" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["split", "merge", "stats"])
def test_a_faulty_dataset_is_refused(root, verb, capsys):
    content = read(root, "all")
    content["annotations"][1]["id"] = content["annotations"][0]["id"]
    (root / "cosal" / "all.json").write_text(json.dumps(content))
    options = ["--name", "new"] if verb == "merge" else []
    out = root / ("page.html" if verb == "stats" else "out")
    line = ["data", verb, str(root / "cosal" / "all.json"), "--out", str(out), *options]
    assert main(line) == 1
    assert "duplicate id" in (message := capsys.readouterr().err) and "check --fix" in message
    assert not out.is_file()


def test_the_statistics_page_holds_everything(root):
    page = root / "page.html"
    line = ["data", "stats", str(root / "cosal" / "all.json"), "--out", str(page), "--workers", "1"]
    assert main(line) == 0
    text = page.read_text()
    content = read(root, "all")
    distractor = next(c["id"] for c in content["categories"] if c["name"] == "distractor")
    cosalient = sum(a["category_id"] != distractor for a in content["annotations"])
    assert f"<th>images</th><td>{COUNT}</td>" in text
    assert f"<th>co-salient instances</th><td>{cosalient}</td>" in text
    for title in ("Random scenes", "Smallest objects", "Largest objects", "Most crowded scenes"):
        assert f"<h2>{title}</h2>" in text
    for chart in ("instances per image", "areas", "aspect ratios", "classes", "Heat map"):
        assert chart in text
    sources = re.findall(r'src="([^"]+)"', text)
    assert len(sources) == 5 + 4 * COUNT
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    for source in sources:
        kind, code = source.split(",", 1)
        assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
        data = np.frombuffer(base64.b64decode(code), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR).std() > 5


def test_hashes_find_changed_copies_and_tell_scenes_apart():
    pictures = [Image.fromarray(render_scene(9, i, OPTIONS).image[:, :, ::-1]) for i in range(8)]
    hashes = [*map(picture_hash, pictures)]
    same = {(i, i) for i in range(8)}
    assert set(near_pairs(hashes, hashes, SCENE_BITS)) == same
    changes = (
        lambda p: p.resize((200, 150)),
        lambda p: p.point(lambda v: int(v * 0.8)),
        lambda p: p.convert("L"),
        lambda p: p.crop((1, 1, 95, 71)),
        lambda p: p.convert("RGBA"),
    )
    for change in changes:
        assert set(near_pairs(hashes, [picture_hash(change(p)) for p in pictures])) == same
    mirrored = [picture_hash(ImageOps.mirror(p)) for p in pictures]
    assert set(near_pairs(hashes, mirrored, mirrored=True)) == same
    assert not set(near_pairs(hashes, mirrored))


def test_plain_pictures_are_no_copies_of_each_other():
    plain = [picture_hash(Image.new("RGB", (96, 72), colour)) for colour in ("white", "navy")]
    assert not set(near_pairs(plain, plain))


def test_sides_follow_the_shares():
    sides = assign(list(range(100)), [0.7, 0.2, 0.1], seed=1)
    assert Counter(sides) == {0: 70, 1: 20, 2: 10}
    assert sides == assign(list(range(100)), [7, 2, 1], seed=1)
    assert sides != assign(list(range(100)), [7, 2, 1], seed=2)
    with pytest.raises(ValueError, match="stays empty"):
        assign([0, 0, 0], [1, 1], seed=0)
