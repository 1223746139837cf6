"""Conversions that were interrupted or killed go on, and nothing that was there is lost."""

import json
import os
import shutil

import pytest
from converter_data import write_coco
from tool_loading import load_tool

from cosal_d2.prepare.convert import writer as writer_module
from cosal_d2.prepare.convert.entries import Entry

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def main():
    return load_tool("tools/prepare_dataset.py").main


class Interrupted(RuntimeError):
    pass


def test_an_interrupted_run_goes_on_and_ends_as_if_it_had_not(main, tmp_path, monkeypatch):
    json_file, images = write_coco(tmp_path / "in")
    line = ["coco", "--json", str(json_file), "--images", str(images), "--name", "a"]
    line += ["--min-area", "0.001", "--workers", "1", "--out"]
    assert main([*line, str(tmp_path / "whole")]) == 0
    placed = []
    original = writer_module.entry_line

    def breaking(entry):
        if len(placed) == 2:
            raise Interrupted
        placed.append(entry.name)
        return original(entry)

    monkeypatch.setattr(writer_module, "entry_line", breaking)
    with pytest.raises(Interrupted):
        main([*line, str(tmp_path / "parts")])
    home = tmp_path / "parts" / "cosal"
    assert not list(home.glob("*.json")) and placed == ["0.png", "1.png"]
    journal = home / ".a.converting" / "journal.jsonl"
    with journal.open("a") as lines:
        lines.write('"2.png"\tnull\t{"hei')  # as a run that was killed while writing leaves it
    placed = []
    monkeypatch.setattr(writer_module, "entry_line", lambda e: placed.append(e.name) or original(e))
    assert main([*line, str(tmp_path / "parts")]) == 0
    assert placed == ["2.png", "3.png"]
    whole = tmp_path / "whole" / "cosal" / "a.json"
    assert (home / "a.json").read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in home.iterdir()) == ["a", "a.json"]


class Killed(BaseException):
    pass


def stop_while_installing(main, line, monkeypatch, moves):
    """Run a conversion as if it were killed after so many moves of the finished dataset."""

    def killed(new_folder, new_json, folder, json_file):
        former = [(p, p.with_name(f".{p.name}.9.former")) for p in (json_file, folder)]
        steps = [(a, b) for a, b in former if a.exists()]
        for source, target in [*steps, (new_folder, folder), (new_json, json_file)][:moves]:
            os.replace(source, target)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(writer_module, "install_dataset", killed)
        with pytest.raises(Killed):
            main(line)


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("moves", [1, 2, 3, 4])
def test_killed_while_replacing_a_dataset(main, tmp_path, monkeypatch, moves, again):
    json_file, images = write_coco(tmp_path / "in")
    line = ["coco", "--json", str(json_file), "--images", str(images), "--name", "a"]
    line += ["--min-area", "0.001", "--workers", "1", "--out", str(tmp_path), "--overwrite"]
    assert main(line) == 0
    home = tmp_path / "cosal"
    former = (home / "a.json").read_bytes()
    changed = [*line, "--max-side", "64"]
    stop_while_installing(main, changed, monkeypatch, moves)
    if again:
        assert main(changed) == 0
        assert {i["width"] for i in json.loads((home / "a.json").read_text())["images"]} == {64}
    else:  # another command: what was there is back, unless all was in place already
        assert main([x for x in changed if x != "--overwrite"]) == 1
        assert ((home / "a.json").read_bytes() == former) == (moves < 4)
        shutil.rmtree(home / ".a.converting", ignore_errors=True)
    content = json.loads((home / "a.json").read_text())
    assert all((home / "a" / i["file_name"]).is_file() for i in content["images"])
    assert sorted(p.name for p in home.iterdir()) == ["a", "a.json"]


def test_killed_while_replacing_then_run_on_a_damaged_index(main, tmp_path, monkeypatch):
    json_file, images = write_coco(tmp_path / "in")
    line = ["coco", "--json", str(json_file), "--images", str(images), "--name", "a"]
    line += ["--workers", "1", "--out", str(tmp_path)]
    stop_while_installing(main, line, monkeypatch, 0)
    index = tmp_path / "cosal" / ".a.converting" / "index.sqlite"
    index.write_bytes(index.read_bytes()[:5000] + bytes(5000))
    assert main(line) == 0


def test_a_picture_never_goes_through_a_link_into_the_source(tmp_path):
    _, images = write_coco(tmp_path / "in")
    before = {p.name: p.read_bytes() for p in images.iterdir()}
    work = tmp_path / "images"
    work.mkdir()
    for picture in images.iterdir():
        (work / picture.name).symlink_to(picture)
    entry = Entry(images / "0.png", "0.png", {"id": 1}, [], b"new")
    writer_module._Placer(lambda task: entry, False, work)(0)
    assert {p.name: p.read_bytes() for p in images.iterdir()} == before
    assert (work / "0.png").read_bytes() == b"new" and not (work / "0.png").is_symlink()


def test_a_json_that_is_cut_off_is_named(main, tmp_path, capsys):
    json_file, images = write_coco(tmp_path / "in")
    json_file.write_bytes(json_file.read_bytes()[:-40])
    line = ["coco", "--json", str(json_file), "--images", str(images), "--name", "a"]
    assert main([*line, "--out", str(tmp_path), "--workers", "1"]) == 1
    assert "pictures.json is not valid json" in capsys.readouterr().err
