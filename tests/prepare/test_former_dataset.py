"""A conversion that fails, or is not allowed, leaves what was there before."""

import json
import resource
import shutil

import pytest
from converter_data import convert, write_coco, write_labelme, write_voc, write_yolo

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("mine", ["made.json/a.txt", "made", "made/a.txt"])
def test_what_is_no_dataset_is_never_replaced(tmp_path, capsys, mine):
    line, _ = write_coco(tmp_path / "in")
    made = convert(tmp_path, line)
    home = made.parent
    shutil.rmtree(home)
    (home / mine).parent.mkdir(parents=True)
    (home / mine).write_text("mine")
    convert(tmp_path, line, "--overwrite", status=1)
    assert "--overwrite does not replace it" in capsys.readouterr().err
    assert (home / mine).read_text() == "mine"


def test_a_file_where_the_root_has_to_be_is_named(tmp_path, capsys):
    line, _ = write_coco(tmp_path / "in")
    home = convert(tmp_path, line).parent
    shutil.rmtree(home)
    home.write_text("mine")
    convert(tmp_path, line, status=1)
    assert f"{home}: is a file, not a folder; give another --out" in capsys.readouterr().err
    assert home.read_text() == "mine"


def test_a_failed_conversion_leaves_the_former_dataset_and_the_source(tmp_path, capsys):
    line, _ = write_coco(tmp_path / "in")
    pictures = tmp_path / "in" / "pictures"
    source = {p.name: p.read_bytes() for p in pictures.iterdir()}
    made = convert(tmp_path, line)
    former = made.read_bytes()
    convert(tmp_path, line, status=1)
    assert "--overwrite" in capsys.readouterr().err
    # Two pictures get one name here: the second must not be written through the first one's link.
    content = json.loads((tmp_path / "in" / "pictures.json").read_text())
    content["images"][0]["file_name"] = "../pictures/1.png"
    (tmp_path / "in" / "pictures.json").write_text(json.dumps(content))
    convert(tmp_path, line, "--overwrite", "--link", status=1)
    assert "1.png: two pictures would get this file name" in capsys.readouterr().err
    assert made.read_bytes() == former
    assert {p.name: p.read_bytes() for p in made.with_suffix("").iterdir()} == source
    assert {p.name: p.read_bytes() for p in pictures.iterdir()} == source
    assert sorted(p.name for p in made.parent.iterdir()) == ["made", "made.json"]
    (tmp_path / "in" / "pictures.json").write_bytes(former)
    convert(tmp_path, line, "--overwrite", "--max-side", "64")
    assert {i["width"] for i in json.loads(made.read_text())["images"]} == {64}


@pytest.mark.parametrize("write", [write_coco, write_labelme, write_yolo, write_voc])
def test_a_full_disk_is_named_with_its_path_and_keeps_the_former_dataset(tmp_path, capsys, write):
    line, _ = write(tmp_path / "in")
    made = convert(tmp_path, line)
    before = made.read_bytes()
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    pictures = max(p.stat().st_size for p in made.with_suffix("").iterdir())
    for limit in (1, pictures):  # of the pictures, then, where it is larger, of the json
        if limit == pictures >= len(before):
            continue
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, former[1]))
        try:
            convert(tmp_path, line, "--overwrite", status=1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, former)
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert "File too large" in last and str(made.parent) in last
        assert made.read_bytes() == before
