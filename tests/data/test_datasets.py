import json

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from network_data import rectangle_mask, registered, write_dataset

from cosal_d2.data import register_all_cosal
from cosal_d2.data.datasets import check_registered, load_cosal_json
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
    assert first["cosalient_category"] is None and first["clean"] is True
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
        content["images"][1]["clean"] = False
        content["annotations"][4]["category_id"] = 3

    edit(json_file, change)
    first, second, third = load(json_file)
    assert first["cosalient_category"] == "pear"
    assert [a["cosalient"] for a in first["annotations"]] == [False, True, False]
    assert second["cosalient_category"] is None and second["clean"] is False
    assert [a["cosalient"] for a in second["annotations"]] == [True, True, False]
    assert [a["cosalient"] for a in third["annotations"]] == [True, True, False]


def test_a_group_of_distractors_stays_out_of_the_truth(json_file):
    edit(json_file, lambda c: c["images"][0].update(cosalient_category="distractor"))
    assert not any(a["cosalient"] for a in load(json_file)[0]["annotations"])


def test_an_unknown_cosalient_category_names_file_image_and_field(json_file):
    edit(json_file, lambda c: c["images"][2].update(cosalient_category="plum"))
    with pytest.raises(ValueError, match=r"tiny.json: image 2.png: cosalient_category 'plum'"):
        load(json_file)


@pytest.mark.parametrize("field", ["images", "annotations", "categories"])
def test_a_missing_list_is_named(json_file, field):
    edit(json_file, lambda c: c.pop(field))
    with pytest.raises(ValueError, match=f"tiny.json: the field `{field}` is missing"):
        load(json_file)


@pytest.mark.parametrize("field", ["id", "file_name", "height", "width"])
def test_a_missing_field_of_an_image_is_named(json_file, field):
    edit(json_file, lambda c: c["images"][1].pop(field))
    with pytest.raises(ValueError, match=rf"tiny.json: images\[1\] has no `{field}`"):
        load(json_file)


@pytest.mark.parametrize("field", ["image_id", "category_id", "bbox", "segmentation"])
def test_a_missing_field_of_an_annotation_is_named(json_file, field):
    edit(json_file, lambda c: c["annotations"][4].pop(field))
    with pytest.raises(ValueError, match=rf"tiny.json: annotations\[4\] has no `{field}`"):
        load(json_file)


def test_an_annotation_of_an_unknown_category_is_named(json_file):
    edit(json_file, lambda c: c["annotations"][2].update(category_id=9))
    with pytest.raises(ValueError, match=r"tiny.json: annotations\[2\].*category_id 9"):
        load(json_file)


def test_missing_files_are_named(json_file, tmp_path):
    with pytest.raises(FileNotFoundError, match="no annotation file .*none.json.*DETECTRON2_DATAS"):
        load(tmp_path / "none.json")
    (tmp_path / "lone.json").write_text(json_file.read_text())
    with pytest.raises(FileNotFoundError, match="no image folder .*lone beside .*lone.json"):
        load(tmp_path / "lone.json")


@pytest.mark.parametrize("text", ["{", "", "[1, 2]"])
def test_what_is_no_coco_json_is_named(json_file, text):
    json_file.write_text(text)
    with pytest.raises(ValueError, match="tiny.json"):
        load(json_file)


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


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("annotations", "id", None, "annotations.1. has no `id`"),
        ("annotations", "id", "first", "annotations.1. repeats the id"),
        ("annotations", "image_id", 999, "annotations.1. has the image_id 999"),
        ("annotations", "bbox", [1, 2], "annotations.1. has the bbox"),
        ("annotations", "bbox", 7, "annotations.1. has the bbox 7"),
        ("images", "id", "first", "images.1. repeats the id"),
        ("categories", "name", None, "categories.1. has no `name`"),
    ],
)
def test_faulty_entries_are_named(json_file, part, field, value, message):
    def change(content):
        entry = content[part][1]
        if value is None:
            del entry[field]
        else:
            entry[field] = content[part][0][field] if value == "first" else value

    edit(json_file, change)
    with pytest.raises(ValueError, match=message):
        load(json_file)


def test_an_unregistered_dataset_is_named_with_the_place_for_its_files(monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "somewhere")
    with pytest.raises(ValueError, match="no dataset 'cosal_nope': put nope.json .* somewhere"):
        check_registered(["cosal_nope"])
