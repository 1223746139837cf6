import json

import pytest

from cosal_d2.utils.files import csv_text, replacing, write_json, write_text


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


def test_json_has_no_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"name": "é", "value": 0.5})
    with pytest.raises(ValueError, match="nan"):
        write_json(path, {"value": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "é", "value": 0.5}


def test_csv_has_all_keys_and_none_is_blank():
    assert csv_text([{"a": 1, "b": None}, {"c": "x,y"}]) == 'a,b,c\n1,,\n,,"x,y"\n'
    assert csv_text([], ["a", "b"]) == "a,b\n"
