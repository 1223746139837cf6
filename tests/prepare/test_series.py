"""A written series: files, json and masks, alike for synthetic scenes and composites."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Instances
from pycocotools import mask as coco_mask

from cosal_d2.cli import main
from cosal_d2.data.datasets import load_cosal_json
from cosal_d2.evaluation.instances import score_instances
from cosal_d2.prepare.series import DatasetSpec, write_series
from cosal_d2.prepare.synthetic import SceneOptions, write_dataset
from cosal_d2.prepare.target import install
from cosal_d2.utils.coco import DISTRACTOR

SIZE = (96, 128)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=["synthetic", "composites"])
def arguments(request, source, tmp_path):
    """Command line of a small series."""
    files = ["--json", str(source[0]), "--images", str(source[1])]
    return [
        *("data", request.param, *(files if request.param == "composites" else [])),
        *("--out", str(tmp_path / "root"), "--name", "a", "--count", "6"),
        *("--size", *map(str, SIZE), "--workers", "1"),
    ]


def digest(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def test_output_does_not_depend_on_workers(arguments, tmp_path):
    assert main(arguments) == 0
    assert main([*arguments, "--out", str(tmp_path / "other"), "--workers", "2"]) == 0
    first = digest(tmp_path / "root")
    assert len(first) == 7
    assert digest(tmp_path / "other") == first


def test_existing_output_is_kept_unless_overwritten(arguments, tmp_path, capsys):
    assert main([*arguments, "--seed", "1"]) == 0
    first = digest(tmp_path)
    assert main([*arguments, "--seed", "2"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert digest(tmp_path) == first
    assert main([*arguments, "--seed", "2", "--overwrite"]) == 0
    second = digest(tmp_path)
    assert second.keys() == first.keys()
    assert not set(second.values()) & set(first.values())
    assert sorted(p.name for p in (tmp_path / "root" / "cosal").iterdir()) == ["a", "a.json"]


def test_json_is_coco_and_agrees_with_the_pictures(arguments, tmp_path):
    assert main(arguments) == 0
    home = tmp_path / "root" / "cosal"
    data = json.loads((home / "a.json").read_text())
    names = {c["id"]: c["name"] for c in data["categories"]}
    assert len(set(names.values())) == len(data["categories"])
    assert [i["id"] for i in data["images"]] == list(range(1, 7))
    assert len({a["id"] for a in data["annotations"]}) == len(data["annotations"])
    for image in data["images"]:
        assert (image["height"], image["width"]) == SIZE
        assert cv2.imread(str(home / "a" / image["file_name"])).shape == (*SIZE, 3)
        own = [a for a in data["annotations"] if a["image_id"] == image["id"]]
        group = [a for a in own if names[a["category_id"]] != DISTRACTOR]
        assert len(group) >= 2
        assert {names[a["category_id"]] for a in group} == {image["cosalient_category"]}
        assert {a["class_name"] for a in group} == {image["cosalient_category"]}
        masks = [coco_mask.decode(a["segmentation"]) for a in own]
        for annotation, mask in zip(own, masks, strict=True):
            rows, columns = np.nonzero(mask)
            x, y, w, h = annotation["bbox"]
            assert (x, y, x + w, y + h) == (
                *(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1),
            )
            assert annotation["area"] == mask.sum() > 0
            assert annotation["iscrowd"] == 0
            assert not mask[[0, -1]].any() and not mask[:, [0, -1]].any()
        assert sum(masks).max() == 1
        assert 0.05 < sum(masks).mean() < 0.7


def test_no_group_has_an_empty_truth(arguments, tmp_path):
    assert main([*arguments, "--no-group"]) == 0
    data = json.loads((tmp_path / "root" / "cosal" / "a.json").read_text())
    names = {c["id"]: c["name"] for c in data["categories"]}
    assert {names[a["category_id"]] for a in data["annotations"]} == {DISTRACTOR}
    for image in data["images"]:
        assert image["cosalient_category"] is None
        own = [a["class_name"] for a in data["annotations"] if a["image_id"] == image["id"]]
        assert 2 <= len(own) == len(set(own)) <= 6


def test_two_groups_are_the_truth_and_each_is_counted(arguments, tmp_path):
    extra = ["--groups", "2", "--objects", "3", "3", "--distractors", "1"]
    assert main([*arguments, *extra]) == 0
    json_file = tmp_path / "root" / "cosal" / "a.json"
    report = ["--report", str(tmp_path / "report")]
    assert main(["data", "check", str(json_file), *report]) == 0
    for record in load_cosal_json(str(json_file), str(json_file.with_suffix(""))):
        truth = [a for a in record["annotations"] if a["cosalient"]]
        assert record["cosalient_category"] is None
        assert (len(record["annotations"]), len(truth)) == (7, 6)
        classes = [a["class_name"] for a in truth]
        perfect = Instances(
            SIZE,
            pred_masks=torch.from_numpy(
                np.array([coco_mask.decode(a["segmentation"]) for a in truth], bool)
            ),
            scores=torch.ones(6),
            group_ids=torch.tensor([sorted(set(classes)).index(c) for c in classes]),
        )
        scored = score_instances(perfect, np.zeros(SIZE), record)
        assert scored.true_counts == scored.counts == (3, 3)
        assert scored.matched == scored.pure == 6


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--groups", "7"], "groups: 7"),
        (["--groups", "-1"], "groups: -1"),
        (["--groups", "2", "--objects", "3", "201"], "objects: 3 to 201"),
        (["--groups", "0", "--distractors", "1"], "--objects counts all objects"),
        (["--distractors", "4", "2"], "distractors: 4 to 2"),
        (["--distractors", "1", "2", "3"], "--distractors: "),
        (["--no-group", "--distractors", "0"], "distractors: "),
        (["--size", "10", "10"], "size: 10 x 10"),
        (["--count", "0"], "count: 0"),
        (["--seed", "-1"], "seed: -1"),
        (["--name", "a/b"], "name: 'a/b'"),
        (["--workers", "0"], "workers: 0"),
    ],
)
def test_bad_arguments_are_named(arguments, tmp_path, capsys, extra, named):
    assert main([*arguments, *extra]) == 1
    assert named in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_a_stopped_overwrite_loses_nothing(tmp_path):
    def stop(index):
        raise KeyboardInterrupt

    spec = DatasetSpec(tmp_path, "a", 2, options=SceneOptions(size=SIZE))
    write_dataset(spec, workers=1)
    before = digest(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write_series(spec, stop, ["pear"], "", workers=1, overwrite=True)
    assert digest(tmp_path) == before
    assert sorted(p.name for p in (tmp_path / "cosal").iterdir()) == ["a", "a.json"]


def test_a_failed_installation_puts_the_former_dataset_back(tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        (folder / "a").mkdir(parents=True)
        (folder / "a" / "picture").write_text(folder.name)
    (home / "a.json").write_text("former")
    before = digest(tmp_path)
    moves = ((work / "a", home / "a"), (work / "a.json", home / "a.json"))
    with pytest.raises(FileNotFoundError):
        install(*moves)
    assert digest(tmp_path) == before
    (work / "a.json").write_text("new")
    install(*moves)
    assert (home / "a" / "picture").read_text() == "work"
    assert (home / "a.json").read_text() == "new"
    assert not list(work.iterdir())
