"""Mask pictures of all kinds, and LabelMe's shapes and pictures."""

import base64
import io
import json

import numpy as np
import pytest
from converter_data import convert, read_back, truth
from PIL import Image

from cosal_d2.prepare.convert.mask_folders import components
from cosal_d2.utils.mask_pictures import read_binary

pytestmark = pytest.mark.usefixtures("one_thread")
INSIDE = np.zeros((40, 60), bool)
INSIDE[5:20, 5:25] = INSIDE[22:38, 30:55] = True


def levels(low, high, kind=np.uint8):
    return Image.fromarray(np.where(INSIDE, high, low).astype(kind))


def palette(background, colour):
    """A palette picture whose index 0 is inside."""
    image = Image.fromarray(np.where(INSIDE, 0, 1).astype(np.uint8), "P")
    image.putpalette([*colour, *background])
    return image


def folders(root, picture_name, mask_name, mask):
    """A picture with its mask in two folders; the command line of their conversion."""
    for name in ("images", "masks"):
        (root / name).mkdir(exist_ok=True)
    Image.new("RGB", mask.size, (90, 90, 90)).save(root / "images" / picture_name)
    mask.save(root / "masks" / mask_name)
    return ["masks", "--images", root / "images", "--masks", root / "masks"]


@pytest.mark.parametrize(
    "image",
    [
        levels(0, 100),
        levels(0, 2),
        levels(20, 240),
        levels(0, 300, np.uint16),
        palette((0, 0, 0), (255, 255, 255)),
        palette((0, 0, 0), (64, 0, 0)),
        levels(0, 255).convert("1"),
        levels(0, 255).convert("RGBA"),
    ],
)
def test_binary_masks_of_any_levels(tmp_path, image):
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_binary(tmp_path / "a.png"), INSIDE)


def test_noise_of_jpeg_is_outside_and_dark_masks_are_read(tmp_path):
    dirt = np.zeros((40, 60), np.uint8)
    dirt[::3, ::5] = 3
    Image.fromarray(dirt).save(tmp_path / "dirt.jpg", quality=100)
    assert not read_binary(tmp_path / "dirt.jpg").any()
    levels(0, 100).save(tmp_path / "dark.jpg", quality=80)
    assert (read_binary(tmp_path / "dark.jpg") != INSIDE).mean() < 0.01


@pytest.mark.parametrize(("high", "suffix"), [(255, ".png"), (1, ".PNG")])
def test_components_of_binary_masks_become_instances(tmp_path, capsys, high, suffix):
    mask = INSIDE * np.uint8(high)
    mask[39, 2] = high  # a speck
    line = folders(tmp_path, "é.JPG", f"é_gt{suffix}", Image.fromarray(mask))
    made = convert(tmp_path, line, "--mask-suffix", "_gt", "--min-area", "0.01")
    _, found = read_back(made)
    assert [m.sum() for _, _, m in found["é.JPG"]] == [16 * 25, 15 * 20]
    np.testing.assert_array_equal(truth(found["é.JPG"]), INSIDE)
    assert "shapes left out: 1 parts of a mask under --min-area" in capsys.readouterr().out


def test_specks_are_no_components():
    mask = np.zeros((200, 200), bool)
    mask[::2, ::2] = True
    mask[50:120, 50:120] = True
    parts, specks = components(mask, 100, 0)
    assert len(parts) == 1 and set(specks) == {1} and len(specks) == 10_000 - 36 * 36


def test_an_opening_parts_objects_that_touch_and_keeps_their_pixels(tmp_path):
    mask = np.zeros((60, 100), np.uint8)
    mask[15:45, 10:40] = mask[15:45, 60:90] = 255
    mask[29:31, 40:60] = 255
    line = folders(tmp_path, "a.png", "a.png", Image.fromarray(mask))
    convert(tmp_path, line, status=1)
    _, found = read_back(convert(tmp_path, line, "--opening", "3"))
    assert len(found["a.png"]) == 2
    np.testing.assert_array_equal(truth(found["a.png"]), mask > 0)


def test_index_masks_with_one_object_do_not_make_the_set_binary(tmp_path):
    values = INSIDE.astype(np.uint8)
    values[22:] *= 2
    values[5, 5] = 3  # touches object 1
    folders(tmp_path, "a.JPG", "a.png", Image.fromarray(INSIDE * np.uint8(5)))
    line = folders(tmp_path, "b.JPG", "b.png", Image.fromarray(values))
    _, found = read_back(convert(tmp_path, line, "--min-instances", "1"))
    assert [len(found[name]) for name in ("a.JPG", "b.JPG")] == [1, 3]
    _, found = read_back(convert(tmp_path, line, "--void", "3", "--overwrite"))
    assert [len(objects) for objects in found.values()] == [2]


def test_grey_masks_with_a_palette_are_binary(tmp_path):
    soft = np.where(INSIDE, 250, 0).astype(np.uint8)
    soft[5, 5:25], soft[30, 30:55] = 251, 255
    line = folders(tmp_path, "a.bmp", "a.gif", Image.fromarray(soft))
    _, found = read_back(convert(tmp_path, line))
    assert len(found["a.bmp"]) == 2


def test_a_picture_without_a_mask_is_named_or_left_out(tmp_path, capsys):
    line = folders(tmp_path, "a.png", "a.png", levels(0, 255))
    Image.new("RGB", (60, 40)).save(tmp_path / "images" / "b.png")
    convert(tmp_path, line, status=1)
    assert "b.png: no mask b.png" in capsys.readouterr().err
    _, found = read_back(convert(tmp_path, line, "--skip-missing"))
    assert found.keys() == {"a.png"}


def as_base64(array):
    data = io.BytesIO()
    Image.fromarray(array).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def labelme(folder, shapes, **fields):
    """A LabelMe file; the command line of its folder's conversion."""
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps({"shapes": shapes, **fields}))
    return ["labelme", "--json", folder]


def test_labelme_groups_rectangles_circles_and_masks(tmp_path):
    mask = as_base64(np.full((10, 12), 255, np.uint8))
    shape = {"label": "cup", "shape_type": "rectangle", "group_id": 3}
    shapes = [
        {**shape, "points": [[5, 5], [24, 24]]},
        {**shape, "points": [[30, 5], [39, 24]]},
        {"label": "cup", "shape_type": "circle", "points": [[80, 30], [80, 40]]},
        {"label": "cup", "shape_type": "mask", "points": [[90, 60], [101, 69]], "mask": mask},
    ]
    labelme(tmp_path / "own" / "deep", shapes, imagePath="a.png")
    Image.new("RGB", (128, 96), (50, 90, 130)).save(tmp_path / "own" / "deep" / "a.png")
    _, found = read_back(convert(tmp_path, ["labelme", "--json", tmp_path / "own"]))
    areas = sorted(int(m.sum()) for _, _, m in found["deep/a.png"])
    assert areas[0] == 120
    assert areas[1] == pytest.approx(np.pi * 10**2, rel=0.12)
    assert areas[2] == 20 * 20 + 10 * 20


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"points": [[0, 0], [9, 9]]}, "three corners"),
        ({"label": "a"}, "three corners"),
        ({"label": "a", "points": [[0, "x"], [9, 9], [9, 0]]}, "no pairs of x and y"),
        ({"label": "a", "points": [[0, 0], [9, 9]]}, "three corners"),
        ({"label": "a", "points": [[0, 0]], "shape_type": "circle"}, "a circle needs two points"),
        ({"label": "a", "points": [[0, 0], [9, 9]], "shape_type": "star"}, "'star' is unknown"),
    ],
)
def test_a_faulty_labelme_shape_is_named(tmp_path, capsys, shape, words):
    line = labelme(tmp_path / "own", [shape], imageHeight=40, imageWidth=60)
    Image.new("RGB", (60, 40)).save(tmp_path / "own" / "a.JPG")
    convert(tmp_path, line, status=1)
    error = capsys.readouterr().err
    assert f"{tmp_path / 'own' / 'a.json'}: shapes[0]" in error and words in error


@pytest.mark.parametrize("options", [[], ["--link"], ["--max-side", "30"]])
def test_labelme_with_the_picture_inside(tmp_path, options):
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    corners = [[5, 5], [24, 5], [24, 19], [5, 19]]
    shapes = [
        {"label": "cup", "shape_type": "rectangle", "points": corners},
        {"label": "cup", "shape_type": "rectangle", "points": [[30, 22], [54, 37]]},
    ]
    fields = {"imagePath": "..\\elsewhere\\ü.png", "imageData": as_base64(noise)}
    made = convert(tmp_path, labelme(tmp_path / "own", shapes, **fields), *options)
    _, found = read_back(made)
    scaled = "--max-side" in options
    with Image.open(made.with_suffix("") / "ü.png") as image:
        assert image.size == ((30, 20) if scaled else (60, 40))
        assert scaled or np.array_equal(np.asarray(image), noise)
    expected = INSIDE[::2, ::2] if scaled else INSIDE
    assert (truth(found["ü.png"]) != expected).mean() < 0.05
