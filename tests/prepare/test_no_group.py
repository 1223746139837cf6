"""Why no picture is left, and what would keep some."""

import re
import shlex

import pytest
from converter_data import convert, read_back, write_squares

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("squares", "options", "suggested"),
    [
        (((5, 5, 30),), (), ["--min-instances 1"]),
        (((5, 5, 30), (60, 5, 9)), (), ["--min-area 0.00"]),
        (((5, 5, 15), (60, 5, 15)), (), ["--min-union 0.04"]),
        (((5, 5, 12), (60, 5, 9)), (), ["--min-area 0.00", "--min-union 0.0"]),
        (((0, 0, 90), (80, 0, 95)), (), ["--max-union 0.9"]),
        (((5, 5, 30), (60, 5, 30)), ("--class", "pen"), ["--class cup"]),
        (((5, 5, 30),), ("--min-instances", "3"), ["--min-instances 1"]),
    ],
)
def test_the_options_suggested_keep_the_picture(tmp_path, capsys, squares, options, suggested):
    line = write_squares(tmp_path / "in", "labelme", squares=squares)
    convert(tmp_path, line, *options, status=1)
    error = capsys.readouterr().err
    assert f"labels met: cup ({len(squares)}, at most {len(squares)} in a picture)" in error
    command = re.search(r"; (--[^;]*) would keep 1 of 1;", error)[1]
    assert all(option in command for option in suggested), command
    _, found = read_back(convert(tmp_path, line, *options, *shlex.split(command)))
    assert len(found["a.png"]) == len(squares)
    assert "--keep-empty would keep 1 with an empty truth" in error


def test_pictures_that_need_the_same_options_are_told_of_together(tmp_path, capsys):
    for name, side in (("1", 10), ("2", 8), ("3", 9)):
        squares = ((5, 5, 30), (60, 5, side))
        write_squares(tmp_path / "in" / name, "labelme", squares=squares)
    write_squares(tmp_path / "in" / "4", "labelme", squares=((5, 5, 30),))
    line = ["labelme", "--json", tmp_path / "in"]
    convert(tmp_path, line, status=1)
    error = capsys.readouterr().err
    assert "no picture is left (4 without a group); labels met: cup (7, at most 2" in error
    option = re.search(r"(--min-area \S+) would keep 3 of 4", error)[1]
    assert "--min-instances 1 would keep 1 of 4" in error
    _, found = read_back(convert(tmp_path, line, *option.split()))
    assert len(found) == 3


def test_shapes_that_were_left_out_are_named(tmp_path, capsys):
    line = write_squares(tmp_path / "in", "yolo")
    label = tmp_path / "in" / "labels" / "a.txt"
    label.write_text("0 0.2 0.2 0.3 0.3\n0 0.7 0.7 0.3 0.3\n")
    convert(tmp_path, line, status=1)
    error = capsys.readouterr().err
    assert "shapes left out: 2 with a box but no mask; labels met: none" in error
    assert f"{label}: line 1: a box, not a polygon" in error and "--keep-empty" not in error
    convert(tmp_path, line, "--keep-empty", status=1)  # for its empty truth would be false
    assert "1 with a large shape left out, and without a group" in capsys.readouterr().err


def test_sources_without_pictures_are_named(tmp_path, capsys):
    line = write_squares(tmp_path / "in", "coco", lambda c: c.update(images=[], annotations=[]))
    convert(tmp_path, line, status=1)
    assert "a.json: `images` is empty" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    line = ["masks", "--images", tmp_path / "none", "--masks", tmp_path / "in"]
    convert(tmp_path, line, status=1)
    assert "none: no pictures in it; give" in capsys.readouterr().err


def test_crowds_are_named(tmp_path, capsys):
    line = write_squares(
        tmp_path / "in", "coco", lambda c: [a.update(iscrowd=1) for a in c["annotations"]]
    )
    convert(tmp_path, line, status=1)
    assert "2 regions are crowds (iscrowd 1)" in capsys.readouterr().err


def test_faulty_pictures_are_named_where_none_is_left(tmp_path, capsys):
    line = write_squares(tmp_path / "in", "labelme")
    (tmp_path / "in" / "a.png").write_bytes(b"no picture")
    convert(tmp_path, line, "--skip-bad", status=1)
    error = capsys.readouterr().err
    assert "no picture is left (1 faulty)" in error and "a.png as a picture: it is none" in error
