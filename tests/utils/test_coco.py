"""The one parser of COCO's fields."""

import json
import math

import pytest

from cosal_d2.utils.coco import check_fields, field_faults, is_large, load_coco
from cosal_d2.utils.coco_fields import (
    LARGEST_ID,
    not_finite,
    parse_area,
    parse_box,
    parse_class_name,
    parse_file_name,
    parse_flag,
    parse_id,
    parse_name,
    parse_number,
    parse_segmentation,
    parse_side,
)

SQUARE = [1, 1, 5, 1, 5, 5, 1, 5]
PAIRS = [[1, 1], [5, 1], [5, 5], [1, 5]]


@pytest.mark.parametrize(
    ("parse", "values", "expected"),
    [
        (parse_id, [7, 7.0, "7", " 7 ", "7.0", "+7", "007"], 7),
        (parse_id, [-1, -1.0, "-1"], -1),
        (parse_id, ["a1"], "a1"),
        (parse_id, ["1.5"], "1.5"),
        (parse_id, ["1_0"], "1_0"),
        (parse_flag, [0, 0.0, False, "0", "false", " False "], 0),
        (parse_flag, [1, 1.0, True, "1", "true", "TRUE"], 1),
        (parse_number, [2.5, "2.5", " 2.5", "25e-1"], 2.5),
        (parse_area, [0, "0", 0.0], 0),
        (parse_side, [48, 48.0, "48", "48.0"], 48),
        (parse_box, [[1, 2, 3, 4], ["1", "2", 3.0, "4e0"]], [1, 2, 3, 4]),
        (parse_name, [5, "5"], "5"),
        (parse_class_name, [5, "5"], "5"),
        (parse_class_name, [""], ""),
        (
            parse_segmentation,
            [[SQUARE], SQUARE, PAIRS, [PAIRS], [list(map(str, SQUARE))]],
            [SQUARE],
        ),
        (parse_segmentation, [[]], []),
        (
            parse_segmentation,
            [
                *({"size": [1, 2], "counts": [1, 1]}, {"size": ["1", "2.0"], "counts": ["1", "1"]}),
                [{"size": [1, 2], "counts": [1.0, 1]}],
            ],
            {"size": [1, 2], "counts": [1, 1]},
        ),
        (
            parse_segmentation,
            [{"counts": text} for text in (r"0\1", r"b'0\\1'", r'b"0\\1"')],
            {"counts": r"0\1"},
        ),
    ],
)
def test_spellings_of_one_value(parse, values, expected):
    for value in values:
        found = parse(value)
        assert found == expected and type(found) is not bool


@pytest.mark.parametrize(
    ("parse", "values"),
    [
        (parse_id, [True, None, "", 1.5, math.nan, math.inf, 2**63, -(2**64), 1e30, [1], {}]),
        (parse_flag, [2, -1, 0.5, "yes", "", "2", None, [], math.nan, 10**400]),
        (parse_number, [True, "1_0", "nan", "inf", "1,5", "", None, [], 10**400, 1e300]),
        (parse_area, [-1, "-1", True]),
        (parse_side, [-1, 1.5, True, "a", 10**7, math.nan]),
        (parse_box, [[1, 2, 3], [1, 2, -3, 4], [1, 2, True, 4], "1234", {"x": 1}, [[1], 2, 3, 4]]),
        (parse_name, [True, "", None, math.nan, 10**400, ["a"]]),
        (parse_file_name, [1, "", "  ", "a\0b", "\ud800", None]),
        (
            parse_segmentation,
            ["text", 5, True, [[1, 2, "x"]], [[1, 2, math.nan]], [{}], [SQUARE, 3]],
        ),
    ],
)
def test_what_is_no_value(parse, values):
    for value in values:
        with pytest.raises(ValueError, match=r"give|needs"):
            parse(value)


def test_ids_that_one_parser_makes_equal_repeat(tmp_path):
    content = {"images": [], "annotations": [], "categories": [{"id": "1", "name": "a"}]}
    content["categories"] += [{"id": 1.0, "name": "b"}, {"id": LARGEST_ID, "name": "c"}]
    (tmp_path / "a.json").write_text(json.dumps(content))
    loaded = load_coco(tmp_path / "a.json")
    (fault,) = field_faults(loaded)
    assert fault.repeats and fault.position == 1
    assert list(field_faults(loaded, may_repeat=("categories",))) == []
    with pytest.raises(
        ValueError, match=r"a\.json: categories\[1\] repeats the id 1 of categories"
    ):
        check_fields(loaded, "a.json")


@pytest.mark.parametrize(
    ("content", "where"),
    [({"": math.nan}, ""), ([1.0, {"a": [math.inf]}], "[1].a[0]"), ({"a": [1, None, "nan"]}, None)],
)
def test_the_first_number_that_is_none_is_found(content, where):
    assert not_finite(content) == where


def test_fields_may_lack_or_be_left_unread():
    image = {"id": 1, "file_name": "a.jpg", "height": 0}
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": "x"}
    content = {"images": [image], "annotations": [entry], "categories": []}
    faults = {f.field: f.missing for f in field_faults(content)}
    assert faults == {"height": True, "width": True, "bbox": False, "segmentation": True}
    loose = {"optional": ("height", "width"), "unread": ("bbox", "segmentation")}
    assert list(field_faults(content, **loose)) == []


@pytest.mark.parametrize(
    ("box", "large"),
    [
        ([0, 0, 10, 10], True),
        ([0, 0, 10, 9], False),
        ([0, 0, 0, 5], True),
        (None, True),
        ("x", True),
    ],
)
def test_an_object_without_known_box_may_be_large(box, large):
    assert is_large({"bbox": box}, {"height": 100, "width": 100}) is large
