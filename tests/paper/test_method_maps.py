"""Folders of maps of classical methods and networks."""

import json

import cv2
import numpy as np
import pytest
from network_data import registered, tiny_config, tiny_model, write_dataset
from PIL import Image

from cosal_d2.cli import main
from cosal_d2.engine import CoSaliencyCheckpointer
from cosal_d2.paper.method_maps import write_baseline_maps, write_network_maps

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


def test_maps_of_a_network_are_made_once(tmp_path, dataset):
    CoSaliencyCheckpointer(tiny_model(), str(tmp_path)).save("model")
    cfg = tiny_config("MODEL.WEIGHTS", str(tmp_path / "model.pth"))
    out = tmp_path / "maps"
    assert write_network_maps(cfg, dataset, out) == 3
    before = maps_of(out)
    assert write_network_maps(cfg, dataset, out) == 0
    (out / "1.png").unlink()
    assert write_network_maps(cfg, dataset, out) == 1
    assert maps_of(out) == before
    other = tiny_config("MODEL.WEIGHTS", str(tmp_path / "model.pth"), "INPUT.MIN_SIZE_TEST", "48")
    with pytest.raises(ValueError, match="made with"):
        write_network_maps(other, dataset, out)


def test_a_folder_of_other_maps_is_not_mixed_up(tmp_path, dataset):
    write_baseline_maps("FT", dataset, tmp_path / "ft", workers=1)
    with pytest.raises(ValueError, match="'FT'.*another folder"):
        write_baseline_maps("CWS", dataset, tmp_path / "ft", workers=1)
    with pytest.raises(ValueError, match="seed is -1"):
        write_baseline_maps("CWS", dataset, tmp_path / "cws", seed=-1)
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


def test_the_command_takes_a_json_beside_its_folder(tmp_path, capsys):
    json_file, out = write_dataset(tmp_path, name="tëst"), tmp_path / "maps"
    line = ["paper", "baselines", "FT", "--dataset", str(json_file), "--out", str(out)]
    assert main([*line, "--workers", "1"]) == 0
    assert "3 maps of FT" in capsys.readouterr().out and len(maps_of(out)) == 3


def test_pictures_that_cannot_be_worked_on_are_named(tmp_path):
    json_file = write_dataset(tmp_path)
    content = json.loads(json_file.read_text())

    def refused(field, value, error, message, workers=1):
        image = content["images"][2]
        before, image[field] = image[field], value
        json_file.write_text(json.dumps(content))
        image[field] = before
        with registered(json_file) as name, pytest.raises(error, match=message):
            write_baseline_maps("FT", name, tmp_path / name, workers=workers)

    refused("width", 65, ValueError, "2.png.*48, 64.*48, 65")
    refused("file_name", "0.jpg", ValueError, "0.png.*0.jpg.*rename")
    refused("file_name", "gone.png", FileNotFoundError, "gone.png", workers=2)
    refused("width", 64, ValueError, "workers", workers=0)
