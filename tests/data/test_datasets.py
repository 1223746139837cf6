"""Datasets from COCO jsons: their records, their names, and what is wrong with them."""

import json
import logging
import math
import re

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from network_data import rectangle_mask, registered, write_dataset

from cosal_d2.data import register_all_cosal
from cosal_d2.data.datasets import (
    check_registered,
    dataset_name,
    load_cosal_json,
    records_by_map_name,
)
from cosal_d2.evaluation import decode_truth


def edit(json_file, change):
    content = json.loads(json_file.read_text())
    change(content)
    json_file.write_text(json.dumps(content))


def load(json_file):
    return load_cosal_json(str(json_file), str(json_file.with_suffix("")), "cosal_test_load")


@pytest.fixture
def json_file(tmp_path):
    yield write_dataset(tmp_path)
    MetadataCatalog.pop("cosal_test_load", None)


def test_records_are_detectron2s_with_the_flags_of_each_object(json_file):
    records = load(json_file)
    assert [r["image_id"] for r in records] == [1, 2, 3]
    first = records[0]
    assert first["file_name"] == str(json_file.with_suffix("") / "0.png")
    assert (first["height"], first["width"]) == (48, 64)
    assert first["cosalient_category"] is None
    assert first["clean"] is True and first["weak_masks"] is False
    assert [a["category_id"] for a in first["annotations"]] == [0, 0, 1]
    assert [a["cosalient"] for a in first["annotations"]] == [True, True, False]
    assert MetadataCatalog.get("cosal_test_load").thing_classes == ["apple", "distractor"]


def test_truth_is_the_union_of_the_cosalient_objects_for_rle_and_polygons(json_file):
    for i, record in enumerate(load(json_file)):
        size = (record["height"], record["width"])
        union = rectangle_mask(size, (3, 4 + i, 19, 22)) | rectangle_mask(size, (25, 24, 45, 42))
        assert np.array_equal(decode_truth(record).mask, union.astype(bool))


def test_cosalient_category_picks_one_of_several_classes(json_file):
    def change(content):
        content["categories"].append({"id": 3, "name": "pear"})
        content["annotations"][1]["category_id"] = 3
        content["images"][0]["cosalient_category"] = "pear"
        content["images"][1]["cosalient_category"] = None
        content["images"][1].update(clean=False, weak_masks=True)
        content["annotations"][4]["category_id"] = 3

    edit(json_file, change)
    first, second, third = load(json_file)
    assert first["cosalient_category"] == "pear"
    assert [a["cosalient"] for a in first["annotations"]] == [False, True, False]
    assert second["cosalient_category"] is None and second["clean"] is False
    assert second["weak_masks"] is True
    assert [a["cosalient"] for a in second["annotations"]] == [True, True, False]
    assert [a["cosalient"] for a in third["annotations"]] == [True, True, False]


def test_a_group_of_distractors_stays_out_of_the_truth(json_file):
    edit(json_file, lambda c: c["images"][0].update(cosalient_category="distractor"))
    assert not any(a["cosalient"] for a in load(json_file)[0]["annotations"])


def test_an_unknown_cosalient_category_names_file_image_and_field(json_file):
    edit(json_file, lambda c: c["images"][2].update(cosalient_category="plum"))
    with pytest.raises(ValueError, match=r"tiny.json: image 2.png: cosalient_category 'plum'"):
        load(json_file)


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("images", None, None, "the list `images` is missing"),
        ("annotations", None, None, "the list `annotations` is missing"),
        ("categories", None, None, "the list `categories` is missing"),
        ("images", "file_name", None, "images[1] has no `file_name`"),
        ("images", "id", 1, "images[1] repeats the id 1"),
        ("annotations", "id", 1, "annotations[1] repeats the id 1"),
        ("annotations", "segmentation", None, "annotations[1] has no `segmentation`"),
        ("annotations", "image_id", 999, "annotations[1] has the image_id 999, which is none"),
        ("annotations", "category_id", 9, "annotations[1] has the category_id 9, which is none"),
        ("annotations", "bbox", [1, 2], "annotations[1] has the bbox [1, 2]"),
        ("annotations", "bbox", 7, "annotations[1] has the bbox 7"),
        ("annotations", "bbox", [1, 2, -3, 4], "annotations[1] has the bbox [1, 2, -3, 4]"),
        ("annotations", "bbox", [1, 2, math.nan, 4], "annotations[1] has the bbox [1, 2, nan, 4]"),
        ("annotations", "bbox", ["a", 2, 3, 4], "annotations[1] has the bbox ['a', 2, 3, 4]"),
        ("annotations", "id", True, "annotations[1] has the id True"),
        ("annotations", "id", 1.5, "annotations[1] has the id 1.5"),
        ("annotations", "id", "1.0", "annotations[1] repeats the id 1"),
        ("annotations", "image_id", math.inf, "annotations[1] has the image_id inf"),
        ("annotations", "category_id", "apple", "annotations[1] has the category_id 'apple'"),
        ("annotations", "iscrowd", "no", "annotations[1] has the iscrowd 'no'"),
        ("annotations", "iscrowd", 2, "annotations[1] has the iscrowd 2"),
        ("annotations", "iscrowd", [0], "annotations[1] has the iscrowd [0]"),
        ("annotations", "ignore", 1, "annotations[1] has the ignore 1"),
        ("annotations", "area", "big", "annotations[1] has the area 'big'"),
        ("annotations", "area", -4, "annotations[1] has the area -4"),
        ("annotations", "score", math.nan, "annotations[1] has the score nan"),
        ("annotations", "attributes", {"x": [math.inf]}, "annotations[1] has the attributes {"),
        ("annotations", "segmentation", "1 2 3", "annotations[1] has the segmentation '1 2 3'"),
        ("annotations", "segmentation", [[1, 2, math.nan, 4, 5, 6]], "annotations[1] has the seg"),
        ("annotations", "segmentation", {"size": [48, 64], "counts": [7]}, "annotations[1] of 0"),
        ("images", "id", 10**30, "images[1] has the id 1000"),
        ("images", "height", -48, "images[1] has the height -48"),
        ("images", "width", 64.5, "images[1] has the width 64.5"),
        ("images", "width", True, "images[1] has the width True"),
        ("images", "file_name", 7, "images[1] has the file_name 7"),
        ("images", "file_name", "a\0b", "images[1] has the file_name 'a"),
        ("images", "file_name", "\ud800", "images[1] has the file_name '\\ud800'"),
        ("categories", "name", 10**400, "categories[1] has the name 1000"),
        ("images", "clean", "maybe", "images[1] has the clean 'maybe'"),
        ("categories", "id", {"$oid": 2}, "categories[1] has the id {'$oid': 2}"),
        ("categories", "name", None, "categories[1] has no `name`"),
    ],
)
def test_faulty_entries_are_named(json_file, part, field, value, message):
    def change(content):
        if field is None:
            del content[part]
        elif value is None:
            del content[part][1][field]
        else:
            content[part][1][field] = value

    edit(json_file, change)
    with pytest.raises(ValueError, match=f"tiny.json: {re.escape(message)}"):
        load(json_file)


def test_every_spelling_of_a_field_is_read_alike(json_file):
    expected = load(json_file)
    content = json.loads(json_file.read_text())
    for i, annotation in enumerate(content["annotations"]):
        spell = (str, float, lambda v: f" {v}.0")[i % 3]
        for field in ("id", "image_id", "category_id"):
            annotation[field] = spell(annotation[field])
        annotation["bbox"] = [str(v) for v in annotation["bbox"]]
        annotation["iscrowd"] = ("0", False, "false", None)[i % 4]
        annotation["ignore"] = "0"
        if isinstance(annotation["segmentation"], list):
            (polygon,) = annotation["segmentation"]
            pairs = [polygon[k : k + 2] for k in range(0, len(polygon), 2)]
            spellings = (polygon, pairs, [pairs], [[str(v) for v in polygon]])
            annotation["segmentation"] = spellings[i % 4]
    for image in content["images"]:
        image.update(id=str(image["id"]), height=str(image["height"]), clean="true")
        image["width"] = float(image["width"])
    content["categories"][0]["id"] = "1"
    for encoding in ("utf-8-sig", "utf-16"):
        json_file.write_text(json.dumps(content), encoding=encoding)
        for found, record in zip(load(json_file), expected, strict=True):
            assert (found["image_id"], found["clean"]) == (record["image_id"], True)
            assert (found["height"], found["width"]) == (record["height"], record["width"])
            for a, b in zip(found["annotations"], record["annotations"], strict=True):
                assert a["bbox"] == b["bbox"] and a["category_id"] == b["category_id"]
                assert a["iscrowd"] == 0
            assert np.array_equal(decode_truth(found).mask, decode_truth(record).mask)


@pytest.mark.parametrize("value", ["1", 1, True, 1.0, "true"])
def test_a_crowd_is_one_in_every_spelling(json_file, value):
    edit(json_file, lambda c: c["annotations"][0].update(iscrowd=value))
    assert [a["iscrowd"] for a in load(json_file)[0]["annotations"]] == [1, 0, 0]


@pytest.mark.parametrize("size", [{"height": 0, "width": 0}, {"height": None}, {"width": "0"}])
def test_a_missing_size_is_the_pictures(json_file, size):
    def change(content):
        content["images"][1].update(size)
        del content["images"][2]["height"]

    edit(json_file, change)
    assert [(r["height"], r["width"]) for r in load(json_file)] == [(48, 64), (64, 48), (48, 64)]
    (json_file.with_suffix("") / "2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2\.png: no such picture"):
        load(json_file)


@pytest.mark.parametrize("nothing", [[], None, [[]], {}, [[1, 2, 3, 4]], [1, 2], [[1, 2, 3, 4, 5]]])
def test_an_annotation_without_mask_is_left_out_and_its_picture_kept(json_file, caplog, nothing):
    edit(json_file, lambda c: c["annotations"][0].update(segmentation=nothing))
    with caplog.at_level(logging.WARNING):
        first, second, _ = load(json_file)
    assert [a["cosalient"] for a in first["annotations"]] == [True, False]
    assert not first["clean"] and second["clean"]  # its object was large
    assert "1 of 9 annotations have no mask" in caplog.text
    assert "annotations[0] (id 1) of 0.png" in caplog.text
    assert "1 pictures lost a large" in caplog.text


def test_what_little_masks_leave_is_kept_clean_and_a_false_truth_is_left_out(json_file, caplog):
    def change(content):
        small, *_, one, two, _ = content["annotations"]
        small.update(segmentation=[], bbox=[3, 4, 2, 2])
        for entry in (one, two):
            entry["segmentation"] = []

    edit(json_file, change)
    with caplog.at_level(logging.WARNING):
        records = load(json_file)
    assert [r["image_id"] for r in records] == [1, 2] and records[0]["clean"]
    assert "left out: 2.png" in caplog.text


def test_boxes_alone_are_no_dataset(json_file):
    edit(json_file, lambda c: [a.update(segmentation=[]) for a in c["annotations"]])
    with pytest.raises(ValueError, match="tiny.json: no annotation has a mask"):
        load(json_file)


@pytest.mark.parametrize("text", ["{", "", "[1, 2]", "[" * 100_000, '{"images": ' + "1" * 5000])
def test_what_is_no_coco_json_is_named(json_file, text):
    json_file.write_text(text)
    with pytest.raises(ValueError, match="tiny.json"):
        load(json_file)


def test_missing_files_are_named(json_file, tmp_path):
    with pytest.raises(FileNotFoundError, match="none.json: no such file"):
        load(tmp_path / "none.json")
    (tmp_path / "lone.json").write_text(json_file.read_text())
    with pytest.raises(FileNotFoundError, match="no image folder .*lone for .*lone.json"):
        load(tmp_path / "lone.json")


def test_every_json_beside_its_folder_is_registered_once(tmp_path, monkeypatch):
    write_dataset(tmp_path, "one_scene_test")
    write_dataset(tmp_path, "two_scenes_test", count=2)
    (tmp_path / "cosal" / "without_folder.json").write_text("{}")
    (tmp_path / "cosal" / "without_json").mkdir()
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    names = ["cosal_one_scene_test", "cosal_two_scenes_test"]
    try:
        assert register_all_cosal() == names
        assert register_all_cosal(str(tmp_path)) == []
        assert len(DatasetCatalog.get(names[1])) == 2
        metadata = MetadataCatalog.get(names[0])
        assert metadata.evaluator_type == "cosal"
        assert metadata.json_file == str(tmp_path / "cosal" / "one_scene_test.json")
    finally:
        for name in names:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
    assert register_all_cosal(str(tmp_path / "nowhere")) == []


def test_an_image_without_annotations_is_kept(json_file):
    edit(json_file, lambda c: c.update(annotations=c["annotations"][3:]))
    with registered(json_file) as name:
        records = DatasetCatalog.get(name)
    assert len(records) == 3 and records[0]["annotations"] == []
    assert not decode_truth(records[0]).mask.any()


def test_an_unregistered_dataset_is_named_with_the_place_for_its_files(monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "somewhere")
    with pytest.raises(ValueError, match="no dataset 'cosal_nope': put nope.json .* somewhere"):
        check_registered(["cosal_nope"])


def test_a_json_beside_its_folder_is_a_dataset_of_its_own(json_file, tmp_path):
    (tmp_path / "lone.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="lone.json: no folder .*lone with its images"):
        dataset_name(str(tmp_path / "lone.json"))
    with pytest.raises(FileNotFoundError, match="none.json: no such json file"):
        dataset_name(str(tmp_path / "none.json"))
    name = dataset_name(str(json_file))
    try:
        assert dataset_name(str(json_file)) == dataset_name(name) == name == str(json_file)
        assert len(DatasetCatalog.get(name)) == 3
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a.jpg", "b.c.png"], ["a", "b.c"]),
        (["x/a.jpg", "y/b.jpg"], ["a", "b"]),
        (["x/a.jpg", "y/a.jpg"], ["x/a", "y/a"]),
        (["a.jpg", "a.png"], "would both have the map a.png"),
        ([], "it has no picture"),
    ],
)
def test_maps_are_named_after_pictures_and_folders_where_they_have_to(
    dataset, monkeypatch, files, names
):
    root = MetadataCatalog.get(dataset).image_root
    records = [{"file_name": f"{root}/{file}"} for file in files]
    monkeypatch.setattr(DatasetCatalog, "get", lambda name: records)
    if isinstance(names, list):
        assert list(records_by_map_name(dataset)) == names
        return
    with pytest.raises(ValueError, match=names):
        records_by_map_name(dataset)
