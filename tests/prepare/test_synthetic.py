"""Synthetic scenes: what the writer promises about images, masks and files."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tool_loading import load_tool

from cosal_d2.prepare import series as series_module
from cosal_d2.prepare.synthetic import (
    CLASSES,
    DISTRACTOR,
    DatasetSpec,
    SceneOptions,
    render_scene,
    siblings,
    write_dataset,
)
from cosal_d2.prepare.synthetic import writer as writer_module

SMALL = (96, 128)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def main():
    return load_tool("datasets/make_synthetic.py").main


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(root, json content) of eight scenes of varied size."""
    root = tmp_path_factory.mktemp("written")
    json_file = write_dataset(DatasetSpec(root, "scenes", 8, seed=4), workers=1)
    return root, json.loads(json_file.read_text())


def _digest(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def test_output_does_not_depend_on_workers_or_run(tmp_path):
    options = SceneOptions(size=SMALL)
    digests = []
    for workers in (1, 2, 1):
        root = tmp_path / str(len(digests))
        write_dataset(DatasetSpec(root, "a", 6, seed=3, options=options), workers=workers)
        digests.append(_digest(root))
    assert len(digests[0]) == 7
    assert digests[0] == digests[1] == digests[2]


def test_scenes_depend_on_seed_and_index_alone():
    options = SceneOptions(size=SMALL)
    scene = render_scene(1, 5, options)
    np.testing.assert_array_equal(scene.image, render_scene(1, 5, options).image)
    assert not np.array_equal(scene.image, render_scene(2, 5, options).image)
    assert not np.array_equal(scene.image, render_scene(1, 6, options).image)


def test_json_is_coco_and_agrees_with_the_images(written):
    root, data = written
    names = {c["id"]: c["name"] for c in data["categories"]}
    assert len(names) == len(data["categories"]) == len(CLASSES) + 1
    assert DISTRACTOR in names.values()
    assert [i["id"] for i in data["images"]] == list(range(1, 9))
    assert len({a["id"] for a in data["annotations"]}) == len(data["annotations"])
    for entry in data["images"]:
        image = cv2.imread(str(root / "cosal" / "scenes" / entry["file_name"]))
        assert image.shape == (entry["height"], entry["width"], 3)
        assert 256 <= entry["height"] <= 1078
        assert 450 <= entry["width"] <= 808
        own = [a for a in data["annotations"] if a["image_id"] == entry["id"]]
        group = [a for a in own if names[a["category_id"]] != DISTRACTOR]
        assert {names[a["category_id"]] for a in group} == {entry["cosalient_category"]}
        assert {a["class_name"] for a in group} == {entry["cosalient_category"]}
        assert {a["image_id"] for a in own} == {entry["id"]}


def test_masks_are_disjoint_and_boxes_tight(written):
    _, data = written
    shapes = {i["id"]: (i["height"], i["width"]) for i in data["images"]}
    covered = {k: np.zeros(s, int) for k, s in shapes.items()}
    for annotation in data["annotations"]:
        rle = annotation["segmentation"]
        assert isinstance(rle["counts"], str)
        mask = coco_mask.decode(rle)
        assert mask.shape == shapes[annotation["image_id"]]
        rows, columns = np.nonzero(mask)
        x, y, w, h = annotation["bbox"]
        assert (x, y) == (columns.min(), rows.min())
        assert (x + w, y + h) == (columns.max() + 1, rows.max() + 1)
        assert annotation["area"] == mask.sum() > 0
        assert annotation["iscrowd"] == 0
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        covered[annotation["image_id"]] += mask
    for total in covered.values():
        assert total.max() == 1
        assert 0.05 < total.mean() < 0.7


@pytest.mark.parametrize("distractors", [(0, 0), (0, 4), (3, 3)])
def test_counts_and_classes(distractors):
    options = SceneOptions(distractors=distractors, size=SMALL)
    groups, singles, near = set(), set(), 0
    for index in range(30):
        scene = render_scene(7, index, options)
        categories = Counter(i.category for i in scene.instances)
        classes = Counter(i.class_name for i in scene.instances)
        assert classes[scene.cosalient_category] == categories[scene.cosalient_category]
        assert set(categories) <= {scene.cosalient_category, DISTRACTOR}
        others = [i.class_name for i in scene.instances if i.category == DISTRACTOR]
        assert len(set(others)) == len(others)
        assert scene.cosalient_category not in others
        groups.add(categories[scene.cosalient_category])
        singles.add(len(others))
        near += len(set(others) & set(siblings(scene.cosalient_category)))
    assert groups == {2, 3, 4, 5, 6}
    assert singles == set(range(distractors[0], distractors[1] + 1))
    assert (near > 0) == (distractors[1] > 0)


def test_no_group_has_an_empty_truth(tmp_path, main):
    arguments = ["--out", str(tmp_path), "--name", "single", "--count", "6", "--no-group"]
    assert main([*arguments, "--size", "96", "128", "--workers", "1"]) == 0
    data = json.loads((tmp_path / "cosal" / "single.json").read_text())
    names = {c["id"]: c["name"] for c in data["categories"]}
    assert {names[a["category_id"]] for a in data["annotations"]} == {DISTRACTOR}
    for entry in data["images"]:
        assert entry["cosalient_category"] is None
        own = [a["class_name"] for a in data["annotations"] if a["image_id"] == entry["id"]]
        assert 2 <= len(own) <= 6
        assert len(set(own)) == len(own)


def test_no_object_is_hidden_by_more_than_two_fifths():
    hidden = []
    for index in range(25):
        for instance in render_scene(11, index, SceneOptions(size=(180, 240))).instances:
            hidden.append(1 - instance.mask.sum() / instance.full_area)
    assert max(hidden) <= 0.4
    assert max(hidden) > 0.05


def test_distractors_are_as_large_and_as_late_as_the_group():
    sizes = {True: [], False: []}
    order = {True: [], False: []}
    for index in range(60):
        scene = render_scene(13, index, SceneOptions(distractors=(2, 4), size=SMALL))
        n = len(scene.instances)
        mean = np.mean([i.full_area for i in scene.instances])
        for position, instance in enumerate(scene.instances):
            single = instance.category == DISTRACTOR
            sizes[single].append(np.log(instance.full_area / mean))
            order[single].append(position / (n - 1))
    assert abs(np.mean(sizes[True]) - np.mean(sizes[False])) < 0.15
    assert abs(np.mean(order[True]) - np.mean(order[False])) < 0.08


def test_catalogue_has_siblings_and_unlike_instances():
    assert len(CLASSES) >= 24
    assert "green_apple" in siblings("red_apple")
    assert "dotted_ball" in siblings("striped_ball")
    assert "heart_cushion" in siblings("star_cushion")
    assert all(name not in siblings(name) for name in CLASSES)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--distractors", "4", "2"], "--distractors"),
        (["--distractors", "1", "2", "3"], "--distractors"),
        (["--distractors", "-1"], "--distractors"),
        (["--no-group", "--distractors", "0"], "--distractors"),
        (["--size", "10", "10"], "--size"),
        (["--count", "0"], "--count"),
        (["--seed", "-1"], "--seed"),
        (["--name", "a/b"], "--name"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_bad_arguments_are_named(tmp_path, capsys, main, extra, named):
    base = ["--out", str(tmp_path / "root"), "--name", "a", "--count", "1"]
    with pytest.raises(SystemExit) as stop:
        main([*base, *extra])
    assert stop.value.code == 2
    assert f"argument {named}: " in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_existing_output_is_kept_unless_overwritten(tmp_path, capsys, main):
    base = ["--out", str(tmp_path), "--name", "a", "--count", "2", "--size", "96", "128"]
    base += ["--workers", "1"]
    assert main([*base, "--seed", "1"]) == 0
    first = _digest(tmp_path)
    assert main([*base, "--seed", "2"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert _digest(tmp_path) == first
    assert main([*base, "--seed", "2", "--overwrite"]) == 0
    second = _digest(tmp_path)
    assert second.keys() == first.keys()
    assert second != first


@pytest.mark.parametrize("broken", ["draw", "json", "replace"])
def test_an_interrupted_overwrite_loses_nothing(tmp_path, monkeypatch, broken):
    spec = DatasetSpec(tmp_path, "a", 2, options=SceneOptions(size=SMALL))
    write_dataset(spec, workers=1)
    before = _digest(tmp_path)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    if broken == "draw":
        monkeypatch.setattr(writer_module, "render_scene", stop)
    elif broken == "json":
        monkeypatch.setattr(series_module.json, "dumps", stop)
    else:
        real = series_module.os.replace

        def replace(source, target):
            new_json = Path(source).suffix == ".json" and Path(target).name == "a.json"
            return stop() if new_json else real(source, target)

        monkeypatch.setattr(series_module.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(
            DatasetSpec(tmp_path, "a", 3, seed=9, options=SceneOptions(size=SMALL)),
            workers=1,
            overwrite=True,
        )
    monkeypatch.undo()
    assert _digest(tmp_path) == before
    assert sorted(p.name for p in (tmp_path / "cosal").iterdir()) == ["a", "a.json"]
