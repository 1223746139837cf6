"""Mask pictures of all kinds, and LabelMe files that hold their picture themselves."""

import base64
import io
import json

import numpy as np
import pytest
from converter_data import read_back
from PIL import Image
from tool_loading import load_tool

from cosal_d2.prepare.convert import index_masks
from cosal_d2.prepare.convert.index_masks import components, read_binary
from cosal_d2.prepare.convert.masks import MaskSource

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


def test_a_mask_of_many_specks_takes_no_memory_for_them(monkeypatch):
    mask = np.zeros((200, 200), bool)
    mask[::2, ::2] = True
    mask[50:120, 50:120] = True
    made = []
    original = index_masks.mask_rle
    monkeypatch.setattr(index_masks, "mask_rle", lambda m: made.append(m) or original(m))
    assert len(components(mask, 100, 0)) == len(made) == 1


def test_index_masks_with_one_object_do_not_make_the_set_binary(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    values = INSIDE.astype(np.uint8)
    values[22:] *= 2
    for name, array in (("a", INSIDE * np.uint8(5)), ("b", values)):
        Image.fromarray(array).save(tmp_path / "masks" / f"{name}.png")
        Image.new("RGB", (60, 40)).save(tmp_path / "images" / f"{name}.JPG")
    assert MaskSource(tmp_path / "images", tmp_path / "masks").kind == "index"


@pytest.mark.parametrize("options", [[], ["--link"], ["--max-side", "30"]])
def test_labelme_with_the_picture_inside(tmp_path, options):
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "PNG")
    corners = [[5, 5], [24, 5], [24, 19], [5, 19]]
    shapes = [
        {"label": "cup", "shape_type": "rectangle", "points": corners},
        {"label": "cup", "shape_type": "rectangle", "points": [[30, 22], [54, 37]]},
    ]
    content = {"shapes": shapes, "imagePath": "..\\elsewhere\\ü.png"}
    content["imageData"] = base64.b64encode(data.getvalue()).decode()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.json").write_text(json.dumps(content))
    line = ["labelme", "--json", str(tmp_path / "own"), "--out", str(tmp_path), "--name", "m"]
    assert load_tool("tools/prepare_dataset.py").main([*line, "--workers", "1", *options]) == 0
    _, found = read_back(tmp_path / "cosal" / "m.json")
    with Image.open(tmp_path / "cosal" / "m" / "ü.png") as image:
        scaled = "--max-side" in options
        assert image.size == ((30, 20) if scaled else (60, 40))
        assert scaled or np.array_equal(np.asarray(image), noise)
    union = np.any([m for _, _, m in found["ü.png"]], axis=0)
    assert (union != (INSIDE[::2, ::2] if scaled else INSIDE)).mean() < 0.05


def test_grey_masks_with_a_palette_are_binary(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    soft = np.where(INSIDE, 250, 0).astype(np.uint8)
    soft[5, 5:25], soft[30, 30:55] = 251, 255
    Image.fromarray(soft).save(tmp_path / "masks" / "a.gif")
    Image.new("RGB", (60, 40)).save(tmp_path / "images" / "a.bmp")
    made = MaskSource(tmp_path / "images", tmp_path / "masks")
    assert made.kind == "binary"
    assert len(made.read(made.pairs[0]).objects) == 2
