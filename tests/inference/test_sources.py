"""What a command line names, and what must not be taken or overwritten."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from cosal_d2.inference.saving import write_result
from cosal_d2.inference.sources import find_pictures


def touch(root, *names):
    """Files of no content: finding looks at names alone."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(inputs, output="out", **options):
    return [
        source.name for source in find_pictures(list(map(str, inputs)), output, **options).pictures
    ]


@pytest.fixture
def tree(tmp_path):
    touch(tmp_path / "in[1]", "b.jpg", "a.PNG", "notes.txt", "raw.HEIC", "x/a.jpg", "x/y/c.tif")
    touch(tmp_path / "in[1]", "x/more.heic", "LICENSE", ".hidden.jpg", ".thumbnails/d.jpg")
    return tmp_path / "in[1]"


def test_a_folder_gives_its_pictures_and_with_recursive_those_of_its_folders(tree):
    assert names([tree]) == ["a.PNG", "b.jpg"]
    assert names([tree], recursive=True) == ["a.PNG", "b.jpg", "x/a.jpg", "x/y/c.tif"]


def test_other_formats_are_counted_by_suffix(tree):
    found = find_pictures([str(tree)], "out", recursive=True)
    assert found.passed_over == {".txt": 1, ".heic": 2, "without a suffix": 1}
    counts, _, advice = found.passed_over_text().partition("; ")
    assert counts == "2 .heic, 1 .txt, 1 without a suffix" and "pillow-heif" in advice
    assert found.unfound == []


def test_heic_pictures_are_counted_with_what_reads_them(tmp_path):
    touch(tmp_path, "a.HEIC", "b.heic")
    with pytest.raises(FileNotFoundError, match="2 .heic; pip install pillow-heif"):
        find_pictures([str(tmp_path)], "out")


def test_files_and_patterns_are_found_once_and_files_whatever_their_suffix(tree):
    one, other = str(tree / "b.jpg"), str(tree / "raw.HEIC")
    pattern = str(tree.parent / "in*" / "*.*")
    again = str(tree / "x" / ".." / "b.jpg")
    found = find_pictures([one, other, pattern, again, one], "out").pictures
    assert [source.name for source in found] == ["b.jpg", "raw.HEIC", "a.PNG"]
    assert names([tree.parent / "**" / "c.*"]) == ["c.tif"]


def test_a_list_names_inputs_a_line_each_and_the_line_of_one_that_is_missing(tree, tmp_path):
    lines = [tree / "b.jpg", "", tmp_path / "gone.jpg", tree / "x"]
    content = "\ufeff" + "\r\n".join(map(str, lines))
    (tmp_path / "list.txt").write_text(content, encoding="utf-8", newline="")
    found = find_pictures([f"@{tmp_path}/list.txt"], "out")
    assert [source.name for source in found.pictures] == ["b.jpg", "a.jpg"]
    (sentence,) = found.unfound
    assert sentence.startswith(f"{tmp_path}/list.txt, line 3: {tmp_path}/gone.jpg: no such picture")


def test_a_list_comes_on_standard_input_too(tree, monkeypatch):
    name = os.path.join(os.fsencode(tree), b"caf\xe9.jpg")
    Path(os.fsdecode(name)).touch()
    lines = b"\n".join([name, os.fsencode(tree / "none.png")])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    found = find_pictures(["-"], "out")
    assert [os.fsencode(source.path) for source in found.pictures] == [name]
    assert found.unfound[0].startswith("standard input, line 2: ")


def test_a_picture_may_begin_with_the_sign_of_a_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "@a.jpg")
    assert names(["@a.jpg"]) == ["@a.jpg"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("nowhere", "--input nowhere: no such picture, or none in it$"),
        ("*.gif", r"--input \*.gif: no such picture, or none in it$"),
        ("empty", "--input empty: no such picture, .*; --recursive looks into its folders too"),
        ("@none.txt", "--input @none.txt: no list of pictures: .*none.txt"),
        ("@gone.txt", "no picture in --input: gone.txt, line 1: gone.jpg: no such picture"),
    ],
)
def test_an_input_that_names_nothing_is_an_error(tmp_path, monkeypatch, entry, message):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "empty/notes.txt", "empty/x/a.jpg")
    (tmp_path / "gone.txt").write_text("gone.jpg\n")
    for option in ("--input", "SOURCE"):
        with pytest.raises(FileNotFoundError, match=message.replace("--input", option)):
            find_pictures([entry], "out", option=option)


def test_results_of_an_earlier_run_are_passed_over_wherever_they_lie(tree):
    before = names([tree], recursive=True)
    for name in ("a_map", "x/a_object_01", "x/a_object_123", "maps/z_cutout"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        write_result(tree / f"{name}.png", np.zeros((3, 4), np.uint8))
    touch(tree, "objects.json", "counts.csv", "objects.jsonl")
    for output in (tree, tree / "maps", "elsewhere"):
        found = find_pictures([str(tree)], str(output), recursive=True)
        assert [source.name for source in found.pictures] == before
        assert found.passed_over["results of an earlier run"] == 4
        assert found.passed_over[".json"] + found.passed_over[".csv"] == 0
    by_the_shell = [*sorted(tree.glob("[a-z]*.png")), tree / "maps", tree / "x"]
    pattern = tree.parent / "in*" / "*_map.png"
    assert names([tree / "b.jpg", *by_the_shell, pattern]) == ["b.jpg", "a.jpg"]
    with pytest.raises(FileNotFoundError, match="no picture.*: 1 results of an earlier run"):
        find_pictures([str(tree / "a_map.png")], "out")


def test_a_users_own_picture_of_a_results_name_is_a_picture(tree):
    touch(tree, "a_mask.png", "a_object_01.png")
    assert names([tree]) == ["a.PNG", "a_mask.png", "a_object_01.png", "b.jpg"]


def stems(inputs, **options):
    found = find_pictures(list(map(str, inputs)), "out", **options).pictures
    return {source.name: source.stem for source in found}


def test_pictures_whose_names_differ_by_their_suffix_alone_keep_it(tree):
    touch(tree, "b.png", "x/b.bmp")
    assert stems([tree]) == {"a.PNG": "a", "b.jpg": "b.jpg", "b.png": "b.png"}
    assert stems([tree / "b.jpg", tree / "x" / "b.bmp"]) == {"b.jpg": "b.jpg", "b.bmp": "b.bmp"}
    assert stems([tree], recursive=True)["x/b.bmp"] == "x/b"  # the only one of its folder
    touch(tree, "b.png.gif")  # whose results would have the name of b.png's, then
    own = stems([tree])
    assert own["b.png.gif"] == "b.png.gif" and len(set(own.values())) == len(own) == 4


def test_of_two_pictures_of_one_name_the_second_is_named_and_left_out(tree):
    found = find_pictures([str(tree / "x"), str(tree / "b.jpg"), str(tree / "x" / "a.jpg")], "out")
    assert len(found.pictures) == 2 and not found.unfound  # twice the same
    touch(tree, "y/a.jpg")
    found = find_pictures([str(tree / "x"), str(tree / "y" / "a.jpg"), str(tree / "b.jpg")], "out")
    assert [source.name for source in found.pictures] == ["a.jpg", "b.jpg"]
    (sentence,) = found.unfound
    assert sentence.startswith(f"{tree}/y/a.jpg and {tree}/x/a.jpg have one name")


@pytest.fixture
def odd(tmp_path):
    """One picture, and what is named like one but is none."""
    folder = tmp_path / "odd"
    touch(folder, "good.jpg", "notes.fifo")
    (folder / "folder.jpg").mkdir()
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "one.png").symlink_to("other.png")
    (folder / "other.png").symlink_to("one.png")
    os.mkfifo(folder / "pipe.jpg")
    os.mkfifo(folder / "pipe_map.png")
    (folder / "null.tif").symlink_to("/dev/null")
    return folder


ODD = {
    **{"folder.jpg": "a folder", "gone.jpg": "a link to nowhere.jpg, which is not there"},
    **dict.fromkeys(("circle.jpg", "one.png", "other.png"), "a link in a circle"),
    **dict.fromkeys(("pipe.jpg", "pipe_map.png", "null.tif"), "a pipe, device or socket"),
}


@pytest.mark.parametrize("way", ["folder", "shell", "pattern", "list", "recursive"])
def test_what_is_named_like_a_picture_but_is_none_is_named_and_left_out(odd, tmp_path, way):
    shell = [str(path) for path in sorted(odd.iterdir()) if path.suffix != ".fifo"]
    (tmp_path / "list.txt").write_text("\n".join(shell))
    inputs = {"shell": shell, "pattern": [f"{odd}/*.*"], "list": [f"@{tmp_path}/list.txt"]}
    found = find_pictures(inputs.get(way, [str(odd)]), "out", recursive=way == "recursive")
    assert [source.name for source in found.pictures] == ["good.jpg"]
    said = "\n".join(sorted(found.unfound))
    expected = dict(ODD)
    if way in ("shell", "list"):
        expected["folder.jpg"] = ""  # it is looked into as any folder
    for name, what in expected.items():
        assert (
            f"{odd}/{name}: no picture, but {what}" in said if what else f"{odd}/{name}: " in said
        )
    assert len(found.unfound) == len(ODD)


def test_a_folder_named_like_a_picture_is_looked_into_with_its_tree(odd):
    touch(odd, "folder.jpg/in.png")
    found = find_pictures([str(odd)], "out", recursive=True)
    assert [source.name for source in found.pictures] == ["good.jpg", "folder.jpg/in.png"]
    assert not [x for x in found.unfound if "folder.jpg" in x]


def test_one_input_that_names_nothing_leaves_the_others(tree):
    found = find_pictures([str(tree / "b.jpg"), str(tree / "gone.jpg"), "*.none"], "out")
    assert [source.name for source in found.pictures] == ["b.jpg"]
    assert found.unfound == [
        f"--input {tree}/gone.jpg: no such picture, or none in it",
        "--input *.none: no such picture, or none in it",
    ]


def test_no_input_is_overwritten_by_a_result(tree, tmp_path):
    touch(tree, "a_overlay.png", "x/y/c_object_07.png")
    (tmp_path / "link").symlink_to(tree)
    for output in (tree, tmp_path / "link"):
        with pytest.raises(ValueError, match="result of .*a.PNG would overwrite .*a_overlay.png"):
            find_pictures([str(tree)], str(output))
        with pytest.raises(ValueError, match="c.tif would overwrite .*/x/y/c_object_07.png"):
            find_pictures([str(tree / "x")], str(output / "x"), recursive=True)
    assert names([tree / "x"], str(tree / "elsewhere"), recursive=True) == [
        *("a.jpg", "y/c.tif", "y/c_object_07.png")
    ]
    assert names([tree / "a.PNG"], str(tree)) == ["a.PNG"]


def test_no_input_is_overwritten_through_a_link(tree, tmp_path):
    touch(tmp_path / "out", "b_map.png")
    (tree / "b.jpg").unlink()
    (tree / "b.jpg").symlink_to(tmp_path / "out" / "b_map.png")
    with pytest.raises(ValueError, match=r"result of .*b.jpg would overwrite .*b.jpg, which is"):
        find_pictures([str(tree)], str(tmp_path / "out"))


def test_no_list_is_overwritten_by_a_file_of_the_run(tree, tmp_path):
    (tmp_path / "counts.csv").write_text(f"{tree}\n")
    with pytest.raises(ValueError, match="a result would overwrite .*counts.csv"):
        find_pictures([f"@{tmp_path}/counts.csv"], str(tmp_path))


def test_links_to_folders_are_followed_and_circles_end(tree, tmp_path):
    touch(tmp_path / "store", "far.jpg")
    (tree / "x" / "store").symlink_to(tmp_path / "store")
    (tree / "x" / "circle").symlink_to(tree)
    assert names([tree / "x"], recursive=True) == [
        *("a.jpg", "circle/a.PNG", "circle/b.jpg", "store/far.jpg", "y/c.tif")
    ]


def test_a_folder_that_cannot_be_read_is_named(tree, monkeypatch):
    scandir = os.scandir

    def refusing(path):  # root reads every folder
        if os.fspath(path).endswith(os.path.join("x", "y")):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_pictures([str(tree)], "out", recursive=True)
    assert len(found.pictures) == 3 and "x/y" in found.unfound[0]
