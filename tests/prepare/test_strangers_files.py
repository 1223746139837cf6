"""Small files that would take all memory are refused."""

import json

import pytest
from converter_data import convert, write_squares
from network_data import write_dataset
from PIL import Image

from cosal_d2.cli import main
from cosal_d2.data.datasets import load_cosal_json
from cosal_d2.prepare.convert.source_files import read_names


@pytest.mark.timeout(60)
def test_a_size_of_a_million_megapixels_is_refused(tmp_path, capsys):
    json_file = write_dataset(tmp_path / "data", count=1)
    content = json.loads(json_file.read_text())
    content["images"][0] |= {"height": 10**6, "width": 10**6}
    for entry in content["annotations"]:
        entry["segmentation"] = [[0, 0, 9, 0, 9, 9]]
    json_file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="0.png: `height` 1000000 and .* megapixels, over 4 times"):
        load_cosal_json(str(json_file), str(json_file.with_suffix("")))
    line = ["data", "stats", str(json_file), "--out", str(tmp_path / "page.html")]
    assert main([*line, "--workers", "1"]) == 1
    assert "megapixels, over 4 times the limit" in capsys.readouterr().err
    # A check compares it with the picture's.
    report = ["--report", str(tmp_path / "report")]
    assert main(["data", "check", str(json_file), "--alone", *report]) == 1
    assert "the picture has 48 x 64 pixels" in capsys.readouterr().out


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["coco", "labelme"])
def test_masks_of_a_stated_size_of_gigapixels_are_not_drawn(tmp_path, capsys, kind):
    line = write_squares(tmp_path / "in", kind, stated=(100_000, 100_000))
    convert(tmp_path, line, status=1)
    error = capsys.readouterr().err
    assert "a.png: its annotations state a size of 100000 x 100000, but it has 10000 meg" in error


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_json_has_not_is_named_where_it_would_be_written(tmp_path, capsys, value):
    json_file = write_dataset(tmp_path / "data", count=1)
    content = json.loads(json_file.read_text())
    content["annotations"][0]["iscrowd"] = "no"  # to be repaired
    text = json.dumps(content).replace("{", f'{{"licenses": [{{"id": [0.5, {value}]}}], ', 1)
    json_file.write_text(text)
    line = ["data", "check", str(json_file), "--alone", "--report", str(tmp_path / "report")]
    assert main([*line, "--fix", "--out", str(tmp_path / "out"), "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert "from tiny.json: licenses[0].id[1] is NaN or infinite" in error and "correct" in error


@pytest.mark.timeout(60)
def test_aliases_of_yaml_do_not_grow(tmp_path):
    lists = [f"b{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    lines = ["b0: &a0 [x]", *lists, "names: [*a9, apple]"]
    (tmp_path / "data.yaml").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="data.yaml: `names` maps something else than numbers"):
        read_names(tmp_path / "data.yaml", 0)


@pytest.mark.timeout(60)
def test_entities_of_xml_do_not_grow(tmp_path, capsys):
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "JPEGImages" / "a.jpg")
    entities = [f'<!ENTITY b{i} "{f"&b{i - 1};" * 10}">' for i in range(1, 12)]
    text = f'<!DOCTYPE a [<!ENTITY b0 "{"x" * 50}">{"".join(entities)}]>'
    text += "<annotation><filename>&b11;</filename></annotation>"
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    line = ["data", "voc", "--voc", str(tmp_path), "--out", str(tmp_path / "out"), "--name", "x"]
    assert main([*line, "--masks-from-boxes", "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert "a.xml is not valid XML" in error and "amplification" in error
