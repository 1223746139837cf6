"""No path of a json leads out of its image folder, whichever verb reads it."""

import json
import os
import shutil

import pytest
from network_data import write_dataset

from cosal_d2.cli import main
from cosal_d2.data.datasets import load_cosal_json
from cosal_d2.utils.image_paths import picture_path, stays_inside


@pytest.mark.parametrize(
    "name", ["a.jpg", "b/a.jpg", "b/../a.jpg", "./a.jpg", "..a/...jpg", "a:b.jpg", "b\\a.jpg"]
)
def test_names_inside(name):
    assert stays_inside(name)


OUTSIDE = ["../a.jpg", "/a.jpg", "b/../../a.jpg", "..\\a.jpg", "\\a.jpg", "C:\\a.jpg", "c:/a.jpg"]


@pytest.mark.parametrize("name", [*OUTSIDE, ".."])
def test_names_outside(name):
    assert not stays_inside(name)


@pytest.fixture
def stolen(tmp_path):
    """A json of five pictures, and what makes the first of them a secret one: given the name in the
    json, or LINK for a link to its folder."""
    json_file = write_dataset(tmp_path / "data", count=5)
    folder = json_file.with_suffix("")
    (tmp_path / "secret").mkdir()
    shutil.move(folder / "0.png", tmp_path / "secret" / "private.png")

    def steal(how):
        name = how.replace("ROOT", str(tmp_path))
        if how == "LINK":
            (folder / "inner").symlink_to(tmp_path / "secret")
            name = "inner/private.png"
        content = json.loads(json_file.read_text())
        content["images"][0]["file_name"] = name
        json_file.write_text(json.dumps(content))
        return json_file

    return steal


SAID = ("leads out of the image folder", "path inside the image folder", "outside the image folder")


@pytest.mark.parametrize("how", ["../a.png", "ROOT/secret/private.png", "x\\..\\..\\a.png", "LINK"])
def test_a_dataset_with_a_picture_elsewhere_is_not_loaded(stolen, how):
    json_file = stolen(how)
    with pytest.raises(ValueError, match="|".join(SAID)):
        load_cosal_json(str(json_file), str(json_file.with_suffix("")))


@pytest.mark.parametrize("how", ["../../../secret/private.png", "LINK"])
def test_nothing_outside_the_image_folder_is_read(stolen, tmp_path, capsys, how):
    json_file = stolen(how)
    out = ["--out", str(tmp_path / "out")]
    pictures = ["--json", str(json_file), "--images", str(json_file.with_suffix(""))]
    for line in (
        ["check", str(json_file), "--alone", "--report", str(tmp_path / "report")],
        ["merge", str(json_file), *out, "--name", "merged", "--workers", "1"],
        ["split", str(json_file), *out, "--workers", "1"],
        ["stats", str(json_file), "--out", str(tmp_path / "stats.html"), "--workers", "1"],
        ["composites", *pictures, *out, "--name", "made", "--count", "1", "--workers", "1"],
        ["coco", *pictures, *out, "--name", "converted", "--workers", "1"],
    ):
        capsys.readouterr()
        assert main(["data", *line]) == 1, line
        text = "".join(capsys.readouterr())
        assert any(part in text for part in (*SAID, "no such picture")), text
    made = tmp_path / "out" / "cosal"
    assert not made.exists() or not list(made.glob("*.json"))
    # A repaired copy does without the picture.
    line = ["check", str(json_file), "--alone", "--fix", *out, "--report", str(tmp_path / "report")]
    assert main(["data", *line]) == 1
    fixed = json.loads((made / "tiny_fixed.json").read_text())
    assert [image["file_name"] for image in fixed["images"]] == ["1.png", "2.png", "3.png", "4.png"]


def test_the_folder_may_be_a_link_and_so_may_its_pictures(tmp_path):
    (tmp_path / "photos" / "inner").mkdir(parents=True)
    (tmp_path / "folder").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "inner" / "a.png").symlink_to(tmp_path / "elsewhere.png")
    path = picture_path(tmp_path / "folder", "inner/a.png")
    assert path == tmp_path / "folder" / "inner" / "a.png"
    assert os.path.realpath(path) == str(tmp_path / "elsewhere.png")
