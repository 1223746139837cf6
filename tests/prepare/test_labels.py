"""Labels as people type them, files in the encodings that their programs write."""

import base64
import io
import json

import numpy as np
import pytest
from converter_data import SQUARES, convert, read_back, square, write_squares
from PIL import Image

from cosal_d2.prepare.convert.class_names import class_key, without_number
from cosal_d2.prepare.convert.source_files import read_names

pytestmark = pytest.mark.usefixtures("one_thread")
PLACES = ((5, 5, 30), (5, 60, 30), (60, 5, 25), (60, 60, 25))


def labelled(*labels):
    """A change that gives shapes these labels."""

    def change(content):
        for shape, label in zip(content["shapes"], labels, strict=True):
            shape["label"] = label

    return change


def write_labels(root, *labels):
    return write_squares(root, "labelme", labelled(*labels), PLACES[: len(labels)])


def categories(made):
    content = json.loads(made.read_text())
    return [c["name"] for c in content["categories"]], content["images"]


@pytest.mark.parametrize(
    "labels",
    [
        ("apple", "Apple"),
        ("apple", " apple "),
        ("red apple", "Red\u3000 Apple"),
        ("apple", "APPLE\n"),
        ("apple", "\ufeffapple\u200b"),
        ("1", 1),
        ("1", 1.0),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_case_and_blanks_make_no_difference(tmp_path, labels):
    made = convert(tmp_path, write_labels(tmp_path / "in", *labels))
    names, images = categories(made)
    assert names == [labels[0]] and images[0]["cosalient_category"] == labels[0]


def test_distractor_and_named_classes_too(tmp_path):
    line = write_labels(tmp_path / "in", "cup", "cup", "Distractor ", "distractor")
    made = convert(tmp_path, line, "--class", "CUP")
    _, found = read_back(made)
    assert [name for name, _, _ in found["a.png"]] == ["CUP", "CUP", "distractor", "distractor"]


def test_pictures_agree_on_the_commonest_spelling(tmp_path):
    write_labels(tmp_path / "in" / "1", "apple", "apple", "Pear")
    write_labels(tmp_path / "in" / "2", "Apple", "APPLE", "pear")
    write_labels(tmp_path / "in" / "3", "apple", "apple", "pear")
    made = convert(tmp_path, ["labelme", "--json", tmp_path / "in"])
    names, images = categories(made)
    assert names == ["apple", "distractor"]
    assert {i["cosalient_category"] for i in images} == {"apple"}
    _, found = read_back(made)
    assert {own for objects in found.values() for _, own, _ in objects} == {"apple", "pear"}


@pytest.mark.parametrize(
    "labels", [("apple1", "apple-2"), ("apple_01", "Apple 02"), ("apple (1)", "apple #12"), "12"]
)
def test_numbered_labels_are_one_class_on_demand(tmp_path, capsys, labels):
    line = write_labels(tmp_path / "in", *labels)
    convert(tmp_path, line, status=1)
    suggested = "--strip-number would keep 1 of 1" in capsys.readouterr().err
    assert suggested is (labels != "12")  # which is nothing but a number
    if suggested:
        made = convert(tmp_path, line, "--strip-number")
        assert categories(made)[0] == ["apple"]


def test_numbered_and_twofold_categories_of_coco(tmp_path):
    def number(content):
        content["categories"] = [{"id": 5, "name": "Cup 1"}, {"id": 3, "name": "cup 2"}]
        for entry, category in zip(content["annotations"], (5, 3), strict=True):
            entry["category_id"] = category

    line = write_squares(tmp_path / "in", "coco", number)
    content, found = read_back(convert(tmp_path, line, "--strip-number", "--class", "cup"))
    assert content["categories"] == [{"id": 3, "name": "cup"}]
    assert len(found["a.png"]) == 2


@pytest.mark.parametrize(
    ("label", "left"),
    [
        *(("apple1", "apple"), ("apple-2", "apple"), ("apple_3", "apple"), ("apple 4", "apple")),
        *(("apple(5)", "apple"), ("apple [6]", "apple"), ("apple#7", "apple"), ("12", "12")),
        *(("7up", "7up"), ("apple", "apple"), ("no.8", "no"), ("route 66 sign", "route 66 sign")),
    ],
)
def test_the_number_of_a_label(label, left):
    assert without_number(label) == left


def test_keys_of_classes():
    assert class_key(" Red  Apple") == class_key("red apple") != class_key("redapple")


def test_without_any_label_all_shapes_are_of_one_class(tmp_path):
    def unlabel(content):
        content["shapes"][0]["label"] = None
        del content["shapes"][1]["label"]

    made = convert(tmp_path, write_squares(tmp_path / "in", "labelme", unlabel))
    assert categories(made)[0] == ["object"]


@pytest.mark.parametrize("label", [["apple"], {"name": "apple"}, True, "\ud800"])
def test_what_is_no_label_is_named(tmp_path, capsys, label):
    line = write_labels(tmp_path / "in", "cup", "cup", label)
    assert categories(convert(tmp_path, line))[0] == ["cup"]
    shown = capsys.readouterr().out
    assert "shapes left out: 1 without a label" in shown and f"its label is {label!r}" in shown


@pytest.mark.parametrize(
    "text", ["names: [cup, '']\n", "names:\n  0: cup\n  1:\n", "names: [cup, ' ']"]
)
def test_a_class_without_a_name_is_named(tmp_path, text):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"data\.yaml: the class 1 has no name"):
        read_names(tmp_path / "data.yaml", 0)


@pytest.mark.parametrize(
    "kind",
    [
        "rectangle",
        "Rectangle",
        "rotation",
        "oriented_rectangle",
        "rotated_rectangle",
        "quadrilateral",
    ],
)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (0, 1, 2, 3, 0)])
def test_four_points_of_any_kind_are_corners(tmp_path, capsys, kind, order):
    corners = np.array([[60, 20], [80, 40], [60, 60], [40, 40]])[list(order)].tolist()
    line = write_squares(
        tmp_path / "in",
        "labelme",
        lambda c: c["shapes"].append({"label": "cup", "points": corners, "shape_type": kind}),
    )
    _, found = read_back(convert(tmp_path, line))
    mask = found["a.png"][2][2]
    assert mask[40, 60] and mask.sum() == pytest.approx(800, rel=0.06)
    assert "shapes left out: none" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("kind", ["labelme", "yolo"])
def test_files_in_unicode_are_read(tmp_path, kind, encoding):
    line = write_squares(tmp_path / "in", kind)
    for name in ("a.json", "labels/a.txt", "data.yaml"):
        file = tmp_path / "in" / name
        if file.exists():
            file.write_text(file.read_text().replace("cup", "苹果"), encoding=encoding)
    assert categories(convert(tmp_path, line))[0] == ["苹果"]


@pytest.mark.parametrize("encoding", ["gbk", "big5", "utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize(
    ("kind", "name"), [("labelme", "a.json"), ("coco", "a.json"), ("yolo", "data.yaml")]
)
def test_other_encodings_are_named(tmp_path, capsys, kind, name, encoding):
    line = write_squares(tmp_path / "in", kind)
    file = tmp_path / "in" / name
    name = "cup" if encoding.startswith("utf") else "苹果" if encoding == "gbk" else "蘋果"
    file.write_bytes(file.read_text().replace("cup", name).encode(encoding))
    convert(tmp_path, line, status=1)
    error = capsys.readouterr().err
    assert str(file) in error and "save it as UTF-8" in error
    if kind == "labelme":
        write_squares(tmp_path / "in" / "more", "labelme")
        made = convert(tmp_path, line, "--skip-bad")
        assert [i["file_name"] for i in categories(made)[1]] == ["more/a.png"]


def test_nested_without_end_is_named(tmp_path, capsys):
    for kind, name in (("labelme", "a.json"), ("coco", "a.json"), ("yolo", "data.yaml")):
        line = write_squares(tmp_path / kind, kind)
        (tmp_path / kind / name).write_text("[" * 20_000)
        convert(tmp_path, line, status=1)
        assert f"{tmp_path / kind / name} is not valid" in capsys.readouterr().err


def test_what_yaml_has_words_for_stays_a_name(tmp_path):
    file = tmp_path / "data.yaml"
    file.write_text("names: [yes, No, on, off, null, ~, 007, 1.0, 1e3, true, 2001-01-01]\n")
    names = ["yes", "No", "on", "off", "null", "~", "007", "1.0", "1e3", "true", "2001-01-01"]
    assert read_names(file, 0) == dict(enumerate(names))
    file.write_text("names:\n  0: on\n  1: 'off'\n")
    assert read_names(file, 0) == {0: "on", 1: "off"}


@pytest.mark.parametrize("count", [3, 0, "two"])
def test_another_number_of_classes_than_names_is_named(tmp_path, caplog, count):
    line = write_squares(tmp_path / "in", "yolo")
    (tmp_path / "in" / "data.yaml").write_text(f"nc: {count}\nnames: [cup]\n")
    convert(tmp_path, line)
    assert f"data.yaml: `nc` is '{count}', but `names` has 1, which are taken" in caplog.text


@pytest.mark.parametrize("size", [(96.0, 128.0), ("96", "128"), (None, None), (0, 0)])
def test_sizes_of_labelme_in_any_spelling(tmp_path, size):
    line = write_squares(tmp_path / "in", "labelme", stated=size)
    _, found = read_back(convert(tmp_path, line))
    assert len(found["a.png"]) == len(SQUARES)


def test_a_mask_may_be_the_url_of_its_data(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.full((30, 20), 255, np.uint8)).save(buffer, "PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    shape = {"label": "cup", "shape_type": "mask", "points": [[60, 5], [79, 34]]}
    more = [{**shape, "mask": f"{start}{text}"} for start in ("data:image/png;base64,", "\n")]
    more[1]["points"] = [[60, 60], [79, 89]]
    line = write_squares(tmp_path / "in", "labelme", lambda c: c["shapes"].extend(more))
    _, found = read_back(convert(tmp_path, line))
    assert [int(mask.sum()) for _, _, mask in found["a.png"][2:]] == [600, 600]


@pytest.mark.parametrize("data", ["!!!", "aGVsbG8=", 7])
def test_image_data_that_is_no_picture_is_named(tmp_path, capsys, data):
    line = write_squares(
        tmp_path / "in", "labelme", lambda c: c.update(imagePath="b.png", imageData=data)
    )
    (tmp_path / "in" / "a.png").unlink()
    convert(tmp_path, line, status=1)
    error = capsys.readouterr().err
    assert "a.json: no file fits `imagePath` 'b.png', and imageData is no picture" in error


def test_group_ids_join_shapes_of_one_spelling(tmp_path):
    more = [{"label": "cup", "points": square(60, y, 20), "group_id": 1} for y in (5, 50)]
    line = write_squares(tmp_path / "in", "labelme", lambda c: c["shapes"].extend(more))
    _, found = read_back(convert(tmp_path, line))
    assert len(found["a.png"]) == 3


@pytest.mark.parametrize(
    ("groups", "objects"),
    [((1, 1.0), 3), (("1", 1), 3), (("a", "a"), 3), ((None, ""), 4), (("", ""), 4), ((1, 2), 4)],
)
def test_group_ids_in_any_spelling(tmp_path, groups, objects):
    more = [
        {"label": "cup", "points": square(60, y, 20), "group_id": group}
        for y, group in zip((5, 50), groups, strict=True)
    ]
    line = write_squares(tmp_path / "in", "labelme", lambda c: c["shapes"].extend(more))
    assert len(read_back(convert(tmp_path, line))[1]["a.png"]) == objects


@pytest.mark.parametrize("group", [True, [1], 1.5, {}])
def test_a_group_id_that_is_none_is_named(tmp_path, capsys, group):
    shape = {"label": "cup", "points": square(60, 50, 20), "group_id": group}
    line = write_squares(tmp_path / "in", "labelme", lambda c: c["shapes"].append(shape))
    convert(tmp_path, line)
    assert f"shapes[2]: its group_id is {group!r}; give a whole number" in capsys.readouterr().out
