"""Masks named as labelling tools do, one a picture or one an object."""

import numpy as np
import pytest
from converter_data import convert, read_back, truth, write_squares
from PIL import Image

from cosal_d2.prepare.convert.mask_names import pair_masks
from cosal_d2.utils.pixel_values import say_once

pytestmark = pytest.mark.usefixtures("one_thread")
ONE, TWO = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
ONE[5:20, 5:25], TWO[22:38, 30:55] = True, True


@pytest.fixture(autouse=True)
def unsaid():
    say_once.cache_clear()


def folders(root, pictures, masks):
    """Pictures, masks by name, and the command line of their conversion."""
    for name in pictures:
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), (90, 90, 90)).save(path)
    for name, mask in masks.items():
        path = root / "masks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = Image.fromarray(mask) if isinstance(mask, np.ndarray) else mask
        mask.save(path)
    return ["masks", "--images", root / "images", "--masks", root / "masks"]


def white(mask):
    return np.where(mask, 255, 0).astype(np.uint8)


@pytest.mark.parametrize(
    "name",
    [
        *("a.png", "a.jpg.png", "a.JPG.png", "a_mask.png", "a-mask.PNG", "a_gt.bmp", "a.mask.png"),
        *("a_segmentation.png", "a_jpg_mask.png", "a_something.tif"),
        *("mask_a.png", "GT-a.png", "ground_truth_a.png", "mask_a.jpg.png", "a.webp", "a.avif"),
    ],
)
def test_one_mask_of_a_picture(tmp_path, name):
    picture = "a_jpg.jpg" if name.startswith("a_jpg") else "a.jpg"
    if name == "a.JPG.png":
        picture = "a.JPG"
    line = folders(tmp_path, [picture], {name: white(ONE | TWO)})
    _, found = read_back(convert(tmp_path, line))
    assert len(found[picture]) == 2
    np.testing.assert_array_equal(truth(found[picture]), ONE | TWO)


@pytest.mark.parametrize("name", ["A_MASK.PNG", "A.jpg.png", "A.png", "CAFE\u0301_gt.png"])
def test_case_makes_no_difference_where_one_name_fits(tmp_path, name):
    picture = "caf\u00e9.JPG" if name.startswith("CAFE") else "a.JPG"
    line = folders(tmp_path, [picture], {name: white(ONE | TWO)})
    assert len(read_back(convert(tmp_path, line))[1][picture]) == 2


def test_names_that_differ_by_case_alone_have_their_own_masks(tmp_path):
    line = folders(tmp_path, ["a.jpg", "A.jpg"], {"a.png": white(ONE), "A.png": white(TWO)})
    pairs = pair_masks(line[2], line[4], "", skip_missing=False)
    assert {p.stem: [m.name for m in own] for p, own in pairs} == {"a": ["a.png"], "A": ["A.png"]}


@pytest.mark.parametrize(
    "names",
    [
        ("a_1.png", "a_2.png"),
        ("a-apple-0.png", "a-apple-1.png"),
        ("a.jpg_0.png", "a.jpg_1.png"),
        ("a/0.png", "a/1.png"),
        ("a (1).png", "a (2).png"),
        ("sub/../a.0.png", "a.1.png"),
        ("mask_a_0.png", "mask_a_1.png"),
    ],
)
def test_one_mask_an_object(tmp_path, names):
    (tmp_path / "masks" / "sub").mkdir(parents=True)
    both = [white(ONE | TWO), white(np.roll(ONE, 33, 1))]
    line = folders(tmp_path, ["a.jpg"], dict(zip(names, both, strict=True)))
    _, found = read_back(convert(tmp_path, line))
    sizes = sorted(m.sum() for _, _, m in found["a.jpg"])
    assert sizes == [ONE.sum(), ONE.sum() + TWO.sum()]  # no file is parted


def test_masks_go_to_the_longest_name(tmp_path):
    masks = {f"{name}.png": white(ONE) for name in ("a_1", "a_1_1", "a_1_2", "b.jpg", "a_x_mask")}
    folders(tmp_path, ["a.jpg", "a_1.jpg", "b.jpg", "a_x.jpg"], masks)
    pairs = pair_masks(tmp_path / "images", tmp_path / "masks", "", skip_missing=True)
    assert {picture.name: [m.name for m in masks] for picture, masks in pairs} == {
        "a_1.jpg": ["a_1.png"],
        "a_x.jpg": ["a_x_mask.png"],
        "b.jpg": ["b.jpg.png"],
    }


def test_other_products_beside_a_mask_are_counted(tmp_path, caplog):
    masks = {"a_mask.png": white(ONE | TWO), "a_edge.png": white(TWO), "zz.png": white(TWO)}
    _, found = read_back(convert(tmp_path, folders(tmp_path, ["a.jpg"], masks)))
    np.testing.assert_array_equal(truth(found["a.jpg"]), ONE | TWO)
    assert "2 masks are of no picture" in caplog.text


@pytest.mark.parametrize("word", ["mask_{}", "{}_mask", "gt-{}"])
def test_words_before_and_after_names_in_one_folder(tmp_path, word):
    for name in ("a", "b_1"):
        Image.new("RGB", (60, 40), (90, 90, 90)).save(tmp_path / f"{name}.jpg")
        Image.fromarray(white(ONE | TWO)).save(tmp_path / f"{word.format(name)}.png")
    pairs = pair_masks(tmp_path, tmp_path, "", skip_missing=False)
    assert {p.stem: [m.stem for m in masks] for p, masks in pairs} == {
        name: [word.format(name)] for name in ("a", "b_1")
    }


def test_an_object_without_a_pixel_is_counted(tmp_path, capsys):
    masks = {"a_1.png": white(ONE), "a_2.png": white(TWO), "a_3.png": white(ONE & TWO)}
    _, found = read_back(convert(tmp_path, folders(tmp_path, ["a.jpg"], masks)))
    assert len(found["a.jpg"]) == 2
    assert "shapes left out: 1 without a pixel in the picture" in capsys.readouterr().out


def test_two_masks_of_one_picture_are_named(tmp_path, capsys):
    line = folders(tmp_path, ["a.jpg"], {"a_mask.png": white(ONE), "a_gt.png": white(TWO)})
    convert(tmp_path, line, status=1)
    assert "are two masks of a.jpg" in capsys.readouterr().err


def test_pictures_and_masks_in_one_folder(tmp_path):
    for name in ("a_jpg.rf.12.jpg", "a_2.jpg"):
        Image.new("RGB", (60, 40), (90, 90, 90)).save(tmp_path / name)
        Image.fromarray(white(ONE | TWO)).save(tmp_path / f"{name[:-4]}_mask.png")
    line = ["masks", "--images", tmp_path, "--masks", tmp_path]
    (tmp_path / "out").mkdir()
    pairs = pair_masks(tmp_path, tmp_path, "", skip_missing=False)
    assert [picture.name for picture, _ in pairs] == ["a_2.jpg", "a_jpg.rf.12.jpg"]
    _, found = read_back(convert(tmp_path / "out", line))
    assert all(len(objects) == 2 for objects in found.values()) and len(found) == 2


def test_masks_of_one_picture_of_two_sizes_are_named(tmp_path, capsys):
    masks = {"a_1.png": white(ONE), "a_2.png": white(ONE)[:, :50]}
    convert(tmp_path, folders(tmp_path, ["a.jpg"], masks), status=1)
    assert "a_2.png: (40, 50) pixels" in capsys.readouterr().err


def test_masks_named_by_task_are_explained(tmp_path, capsys):
    name = "task-3-annotation-7-by-1-tag-apple-0.png"
    convert(tmp_path, folders(tmp_path, ["a.jpg"], {name: white(ONE)}), status=1)
    error = capsys.readouterr().err
    assert "no picture has a mask" in error and name in error and "Label Studio" in error


def test_heic_pictures_are_counted(tmp_path, caplog):
    line = folders(tmp_path, ["a.jpg"], {"a.png": white(ONE | TWO)})
    for name in ("b.HEIC", "c.heic"):
        (tmp_path / "images" / name).write_bytes(b"\0" * 9)
    convert(tmp_path, line)
    assert "2 HEIC pictures are passed over; pip install pillow-heif" in caplog.text


def test_pictures_and_labels_of_yolo_that_are_alone_are_counted(tmp_path, caplog, capsys):
    line = write_squares(tmp_path / "in", "yolo")
    (tmp_path / "in" / "images" / "b.heic").write_bytes(b"\0" * 9)
    (tmp_path / "in" / "labels" / "b.txt").write_text("0 0.1 0.1 0.3 0.1 0.3 0.3\n")
    convert(tmp_path, line)
    assert "1 HEIC pictures are passed over; pip install pillow-heif" in caplog.text
    (tmp_path / "in" / "labels" / "classes.txt").write_text("cup\n")
    convert(tmp_path, line, "--overwrite")
    assert "2 text files" not in caplog.text
    assert "1 text files are of no picture" in caplog.text and "such as b.txt" in caplog.text
    (tmp_path / "in" / "images" / "a.png").unlink()
    convert(tmp_path, line, "--overwrite", status=1)
    assert "images: no pictures in it" in capsys.readouterr().err


def test_black_objects_on_white_are_named_and_inverted(tmp_path, capsys):
    line = folders(tmp_path, ["a.jpg", "b.jpg"], {f"{n}.png": white(~(ONE | TWO)) for n in "ab"})
    convert(tmp_path, line, status=1)
    error = capsys.readouterr().err
    assert "2 of the first 2 masks have a white border" in error and "--invert" in error
    _, found = read_back(convert(tmp_path, line, "--invert"))
    np.testing.assert_array_equal(truth(found["a.jpg"]), ONE | TWO)


def test_one_mask_with_a_white_border_is_named_alone(tmp_path, caplog):
    masks = {f"{n}.png": white(ONE | TWO) for n in "abc"} | {"d.png": white(~ONE)}
    line = folders(tmp_path, [f"{n}.jpg" for n in "abcd"], masks)
    convert(tmp_path, line)
    named = [message for message in caplog.messages if "border is white" in message]
    assert len(named) == 1 and "d.png" in named[0]


def test_cut_outs_and_silhouettes_are_masks(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    alpha = white(ONE | TWO)
    masks = {"a.png": np.dstack([noise, alpha]), "b.png": np.dstack([0 * noise, alpha])}
    _, found = read_back(convert(tmp_path, folders(tmp_path, ["a.jpg", "b.jpg"], masks)))
    for name in ("a.jpg", "b.jpg"):
        assert len(found[name]) == 2
        np.testing.assert_array_equal(truth(found[name]), ONE | TWO)


def test_a_broken_mask_among_the_first_is_left_out_where_asked(tmp_path):
    masks = {f"{n}.png": white(ONE | TWO) for n in "ab"}
    line = folders(tmp_path, ["a.jpg", "b.jpg"], masks)
    (tmp_path / "masks" / "a.png").write_bytes(b"")
    _, found = read_back(convert(tmp_path, line, "--skip-bad"))
    assert found.keys() == {"b.jpg"}
