import json

import cv2
import numpy as np
import pytest
from network_data import registered, write_dataset
from PIL import Image
from tool_loading import load_tool

from cosal_d2.paper.baseline_maps import write_baseline_maps

pytestmark = pytest.mark.usefixtures("one_thread")


def maps_of(folder):
    return {p.name: p.read_bytes() for p in folder.glob("*.png")}


def test_maps_do_not_depend_on_the_number_of_workers(tmp_path, dataset):
    assert write_baseline_maps("CWS", dataset, tmp_path / "one", workers=1) == 3
    assert write_baseline_maps("CWS", dataset, tmp_path / "two", workers=2) == 3
    assert maps_of(tmp_path / "one") == maps_of(tmp_path / "two")
    assert {p.name for p in (tmp_path / "two").iterdir()} == {
        *("0.png", "1.png", "2.png", ".maps.json")
    }
    written = cv2.imread(str(tmp_path / "one" / "1.png"), cv2.IMREAD_UNCHANGED)
    assert written.dtype == np.uint8 and written.shape == (64, 48) and written.max() == 255


def test_a_stopped_run_goes_on_and_damaged_maps_are_made_anew(tmp_path, dataset):
    out = tmp_path / "out"
    write_baseline_maps("FT", dataset, out, workers=1)
    before = maps_of(out)
    (out / "0.png").unlink()
    (out / "2.png").write_bytes(before["2.png"][:40])
    assert write_baseline_maps("FT", dataset, out, workers=1) == 2
    assert write_baseline_maps("FT", dataset, out, workers=1) == 0
    assert maps_of(out) == before
    assert write_baseline_maps("FT", dataset, out, workers=1, overwrite=True) == 3


def test_a_folder_of_other_maps_is_not_mixed_up(tmp_path, dataset):
    write_baseline_maps("FT", dataset, tmp_path / "ft", workers=1)
    with pytest.raises(ValueError, match="'FT'.*another folder"):
        write_baseline_maps("CWS", dataset, tmp_path / "ft", workers=1)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    Image.new("L", (64, 48)).save(theirs / "0.png")
    with pytest.raises(ValueError, match="no .maps.json.*another folder"):
        write_baseline_maps("FT", dataset, theirs, workers=1)
    assert [p.name for p in theirs.iterdir()] == ["0.png"]


def test_pictures_of_one_name_in_two_folders_keep_their_folders(tmp_path):
    json_file = write_dataset(tmp_path)
    folder = json_file.with_suffix("")
    content = json.loads(json_file.read_text())
    for image, name in zip(content["images"], ("a/x.png", "b/x.png", "b/y.PNG"), strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / image["file_name"]).rename(folder / name)
        image["file_name"] = name
    json_file.write_text(json.dumps(content))
    with registered(json_file) as name:
        assert write_baseline_maps("FT", name, tmp_path / "maps", workers=1) == 3
    found = {
        p.relative_to(tmp_path / "maps").as_posix() for p in (tmp_path / "maps").rglob("*.png")
    }
    assert found == {"a/x.png", "b/x.png", "b/y.png"}


def run_tool(*argv):
    return load_tool("tools/baselines.py").main([*map(str, argv)])


def test_the_tool_takes_a_json_beside_its_folder(tmp_path, capsys):
    json_file = write_dataset(tmp_path, name="tëst")
    out = tmp_path / "maps"
    assert run_tool("FT", "--dataset", json_file, "--out", out, "--workers", 1) == 0
    assert "3 maps of FT" in capsys.readouterr().out and len(maps_of(out)) == 3


def test_the_tool_names_what_is_wrong(tmp_path, capsys):
    json_file = write_dataset(tmp_path)
    content = json.loads(json_file.read_text())
    out = tmp_path / "maps"

    def refused(*words, dataset=json_file, changed=None):
        if changed is not None:
            json_file.with_name("bad.json").write_text(json.dumps(changed))
            dataset = json_file.with_name("bad.json")
        assert run_tool("FT", "--dataset", dataset, "--out", out, "--workers", 1) == 1
        said = capsys.readouterr().err
        assert all(word in said for word in words), said

    refused("cosal_nowhere", "DETECTRON2_DATASETS", dataset="cosal_nowhere")
    refused("none.json", "no such json", dataset=tmp_path / "none.json")
    refused("bad", "no folder", changed=content)
    json_file.with_name("bad").symlink_to(json_file.with_suffix(""))
    refused("bad.json", "no picture", changed={**content, "images": [], "annotations": []})


def test_pictures_that_cannot_be_worked_on_are_named(tmp_path):
    json_file = write_dataset(tmp_path)
    content = json.loads(json_file.read_text())
    content["images"][1]["width"] += 1
    json_file.write_text(json.dumps(content))
    with registered(json_file) as name, pytest.raises(ValueError, match="1.png.*64x48.*64x49"):
        write_baseline_maps("FT", name, tmp_path / "maps", workers=1)
    content["images"][1]["width"] -= 1
    content["images"][2]["file_name"] = "0.jpg"
    json_file.write_text(json.dumps(content))
    with registered(json_file) as name, pytest.raises(ValueError, match="0.png.*0.jpg.*rename"):
        write_baseline_maps("FT", name, tmp_path / "maps", workers=1)
    content["images"][2]["file_name"] = "gone.png"
    json_file.write_text(json.dumps(content))
    with registered(json_file) as name, pytest.raises(FileNotFoundError, match="gone.png"):
        write_baseline_maps("FT", name, tmp_path / "gone", workers=2)
    with registered(json_file) as name, pytest.raises(ValueError, match="workers"):
        write_baseline_maps("FT", name, tmp_path / "maps", workers=0)
