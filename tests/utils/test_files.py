import errno
import json
import os

import pytest
from picture_files import ODD, make_odd

from cosal_d2.utils.files import (
    csv_text,
    instead_of_file,
    need_file,
    replacing,
    visible_files,
    write_json,
    write_text,
)


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "é.txt"
    write_text(path, "before\n")
    with pytest.raises(OSError, match="disk full"), replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "before\n"
    with replacing(path) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".txt")
        temporary.write_text("after")
        assert path.read_text() == "before\n"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError, match=f"'{tmp_path}/a.txt'$"):
        write_text(tmp_path / "a.txt", "text")
    with pytest.raises(OSError, match=f"'{tmp_path}/none/a.txt'$"):
        write_text(tmp_path / "none" / "a.txt", "text")
    with pytest.raises(OSError, match=f"space.*'{tmp_path}/b.txt'$"), replacing(tmp_path / "b.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_names_that_are_not_utf8_are_written_and_read_back(tmp_path):
    name = os.fsdecode(b"caf\xe9\xb0\xa1.jpg")
    write_json(tmp_path / "a.json", {name: [name, "\u00e9"]})
    content = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(content) == {name: [name, "\u00e9"]} and "\u00e9" in content
    write_text(tmp_path / "a.csv", csv_text([{"name": name}]))
    assert b"caf\xe9\xb0\xa1.jpg\n" in (tmp_path / "a.csv").read_bytes()


def test_a_name_may_have_all_its_bytes(tmp_path):
    write_text(tmp_path / f"{'a' * 251}.txt", "text")
    assert len(next(tmp_path.iterdir()).name) == 255


def test_json_has_no_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"name": "é", "value": 0.5})
    with pytest.raises(ValueError, match="nan"):
        write_json(path, {"value": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "é", "value": 0.5}


def test_csv_has_all_keys_and_none_is_blank():
    assert csv_text([{"a": 1, "b": None}, {"c": "x,y"}]) == 'a,b,c\n1,,\n,,"x,y"\n'
    assert csv_text([], ["a", "b"]) == "a,b\n"


def test_a_folder_that_cannot_be_read_ends_nothing(tmp_path, monkeypatch):
    for name in ("v1.0", "plain"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()

    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    names = {p.relative_to(tmp_path).as_posix() for p in visible_files(tmp_path)}
    assert names == {"v1.0", "v1.0/a.jpg", "plain/a.jpg"}


def test_what_is_named_like_a_file_is_found_and_told(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    (tmp_path / ".hidden.jpg").touch()
    (tmp_path / "tree.jpg" / "folder").mkdir(parents=True)
    (tmp_path / "tree.jpg" / "b.jpg").touch()
    for name in ODD:
        make_odd(tmp_path / f"{name}.jpg", name)
    (tmp_path / "more").symlink_to("tree.jpg")
    files = {"a.jpg", "link.jpg", "tree.jpg/b.jpg"}
    names = {p.relative_to(tmp_path).as_posix() for p in visible_files(tmp_path)}
    assert names == files | {"more"} | {f"{name}.jpg" for name in ODD}
    assert not any(map(instead_of_file, (tmp_path / name for name in files)))
    for name, what in ODD.items():
        with pytest.raises(FileNotFoundError, match=f"{name}.jpg: no such mask, but {what};"):
            need_file(tmp_path / f"{name}.jpg", "mask")
    for name in ("none.jpg", "a.jpg/none.jpg", "a\0.jpg"):
        with pytest.raises(FileNotFoundError, match="no such file; is its folder right"):
            need_file(tmp_path / name)
    assert instead_of_file(tmp_path / ("a" * 256)) == "File name too long"
