"""Annotations of pictures that EXIF turns: which way up they were drawn."""

import json

import numpy as np
import pytest
from converter_data import convert, read_back, save_picture, square, truth, write_squares
from PIL import Image

from cosal_d2.prepare.convert.drawing_frame import drawing_frame
from cosal_d2.utils.masks import mask_rle

pytestmark = pytest.mark.usefixtures("one_thread")
STORED, UPRIGHT = (96, 128), (128, 96)
LOW = ((5, 5, 30), (5, 90, 30))  # leaves the stored picture below
RIGHT = ((5, 5, 30), (90, 5, 30))  # leaves the upright one
BOTH = ((5, 5, 30), (50, 50, 30))  # fits both


def drawn(squares, size):
    mask = np.zeros(size, bool)
    for x, y, side in squares:
        mask[y : y + side, x : x + side] = True
    return mask


def turned(mask):
    """A mask of the stored picture, upright by orientation 6."""
    return np.rot90(mask, -1)


def converted(tmp_path, kind, squares, stated, orientation=6, change=None):
    line = write_squares(
        tmp_path / "in", kind, change, squares, stated, size=STORED, orientation=orientation
    )
    made = convert(tmp_path, line)
    _, found = read_back(made)
    return json.loads(made.read_text())["images"][0], truth(found["a.png"])


@pytest.mark.parametrize("kind", ["coco", "labelme"])
@pytest.mark.parametrize(
    ("squares", "stated", "expected"),
    [
        (LOW, STORED, drawn(LOW, UPRIGHT)),  # stored size, upright corners
        (RIGHT, STORED, turned(drawn(RIGHT, STORED))),
        (LOW, UPRIGHT, drawn(LOW, UPRIGHT)),
        (BOTH, UPRIGHT, drawn(BOTH, UPRIGHT)),
        (RIGHT, UPRIGHT, turned(drawn(RIGHT, STORED))),  # upright size, corners as stored
        (LOW, (0, 0), drawn(LOW, UPRIGHT)),  # the file knows
        (RIGHT, (0, 0), turned(drawn(RIGHT, STORED))),
        # A little beyond the picture that they were drawn on, far beyond the other.
        ((*LOW, (70, 60, 30)), STORED, drawn((*LOW, (70, 60, 30)), UPRIGHT)),
    ],
)
def test_corners_tell_which_way_up_they_were_drawn(
    tmp_path, capsys, kind, squares, stated, expected
):
    image, found = converted(tmp_path, kind, squares, stated)
    assert (image["height"], image["width"]) == UPRIGHT
    assert (found != expected).mean() < 0.03
    assert "EXIF" not in capsys.readouterr().out and "clean" not in image


@pytest.mark.parametrize("kind", ["coco", "labelme"])
def test_what_fits_both_ways_is_named_and_not_clean(tmp_path, capsys, kind):
    image, found = converted(tmp_path, kind, BOTH, STORED)
    assert (found != turned(drawn(BOTH, STORED))).mean() < 0.03
    shown = capsys.readouterr().out
    assert "marked not clean: EXIF rotation, the stored size stated" in shown
    assert "a.png" in shown.split("marked not clean")[1] and image["clean"] is False


def test_what_fits_neither_way_is_told_so(tmp_path, capsys):
    image, _ = converted(tmp_path, "coco", ((5, 5, 30), (90, 90, 30)), STORED)
    assert "and corners that fit neither way up; taken as drawn on" in capsys.readouterr().out
    assert image["clean"] is False


def test_a_tool_that_states_stored_sizes_of_upright_pictures_does_so_for_all(tmp_path, capsys):
    """What fits both ways is upright where another picture of the json surely is; it is named."""

    def add_another(content):
        content["images"].append({**content["images"][0], "id": 2, "file_name": "b.png"})
        for number, (x, y, side) in enumerate(LOW, 10):
            own = {"id": number, "image_id": 2, "bbox": [x, y, side, side]}
            own["segmentation"] = [np.ravel(square(x, y, side)).tolist()]
            content["annotations"].append({**content["annotations"][0], **own})

    save_picture(tmp_path / "in" / "images" / "b.png", STORED, orientation=6)
    image, found = converted(tmp_path, "coco", BOTH, STORED, change=add_another)
    assert (found != drawn(BOTH, UPRIGHT)).mean() < 0.03 and "clean" not in image
    shown = capsys.readouterr().out
    assert "taken as drawn on it upright, as others here are" in shown and "a.png" in shown


@pytest.mark.parametrize(
    ("kind", "stated", "orientation"),
    [("coco", STORED, 3), ("labelme", STORED, 4), ("coco", (0, 0), 8), ("yolo", UPRIGHT, 6)],
)
def test_rotations_that_nothing_tells_of_are_named(tmp_path, capsys, kind, stated, orientation):
    upright = STORED if orientation < 5 else UPRIGHT
    image, found = converted(tmp_path, kind, BOTH, stated, orientation)
    assert (found != drawn(BOTH, upright)).mean() < 0.03
    shown = capsys.readouterr().out
    assert "taken as drawn on it upright: " in shown and "clean" not in image


def test_a_json_of_the_former_size_of_a_picture_that_was_turned(tmp_path):
    """No EXIF any more: the picture was saved upright, the json still has the stored size."""
    line = write_squares(tmp_path / "in", "coco", None, LOW, STORED, size=UPRIGHT)
    _, found = read_back(convert(tmp_path, line))
    assert (truth(found["a.png"]) != drawn(LOW, UPRIGHT)).mean() < 0.03


@pytest.mark.parametrize("kind", ["coco", "labelme"])
@pytest.mark.parametrize(
    ("squares", "stated"),
    [
        (BOTH, STORED),
        (LOW, (50, 50)),  # but for one, beyond the size stated
        (((60, 60, 20), (60, 90, 20)), (40, 30)),
    ],
)
def test_a_size_of_neither_is_an_error(tmp_path, capsys, kind, squares, stated):
    line = write_squares(tmp_path / "in", kind, None, squares, stated, size=UPRIGHT)
    convert(tmp_path, line, status=1)
    said = f"is 128 x 96 pixels (height x width), its annotation {stated[0]} x {stated[1]}; correct"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("made_of", [UPRIGHT, STORED])
def test_rle_tells_by_its_own_size(tmp_path, capsys, made_of):
    def give_rle(content):
        for entry, own in zip(content["annotations"], BOTH, strict=True):
            rle = mask_rle(drawn([own], made_of))
            entry["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}

    image, found = converted(tmp_path, "coco", BOTH, STORED, change=give_rle)
    expected = drawn(BOTH, made_of)
    np.testing.assert_array_equal(found, expected if made_of == UPRIGHT else turned(expected))
    assert "EXIF" not in capsys.readouterr().out and "clean" not in image


@pytest.mark.parametrize("made_of", [UPRIGHT, STORED])
def test_masks_that_are_pictures_tell_by_their_size(tmp_path, made_of):
    root = tmp_path / "VOC"
    save_picture(root / "JPEGImages" / "a.png", STORED, orientation=6)
    values = np.zeros(made_of, np.uint8)
    for number, own in enumerate(BOTH, 1):
        values[drawn([own], made_of)] = number
    for part, array in (("Object", values), ("Class", values > 0)):
        (root / f"Segmentation{part}").mkdir()
        Image.fromarray(array.astype(np.uint8)).save(root / f"Segmentation{part}" / "a.png")
    _, found = read_back(convert(tmp_path, ["voc", "--voc", root]))
    expected = drawn(BOTH, made_of)
    expected = expected if made_of == UPRIGHT else turned(expected)
    np.testing.assert_array_equal(truth(found["a.png"]), expected)


def test_a_picture_is_opened_only_where_corners_leave_the_stated_size(tmp_path):
    missing = tmp_path / "missing.jpg"
    assert drawing_frame(missing, STORED, (96.5, 128)).size == STORED
    assert drawing_frame(missing, STORED, (96.5, 128), others_upright=True).size == STORED
    with pytest.raises(FileNotFoundError, match="missing.jpg"):
        drawing_frame(missing, STORED, (120, 90))
