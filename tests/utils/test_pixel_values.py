"""Pictures of more than 8 bits a channel."""

import logging

import cv2
import numpy as np
import pytest
from picture_files import grey, png16, tiff
from PIL import Image

from cosal_d2.utils.pictures import read_image
from cosal_d2.utils.pixel_values import say_once

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def said(caplog):
    say_once.cache_clear()
    caplog.set_level(logging.WARNING)
    return caplog


def noise(bits, *channels):
    values = RNG.integers(0, 2**bits, (12, 17, *channels)).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    return values


def read(path, content):
    path.write_bytes(content)
    return read_image(path).astype(int)


def levels(values, bits):
    return grey(np.floor(values / (2**bits - 1) * 255 + 0.5).astype(int))


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_bits_that_no_file_states_are_the_fewest_that_hold_the_values(tmp_path, bits, order):
    values = noise(bits)
    np.testing.assert_array_equal(read(tmp_path / "a.png", png16(values)), levels(values, bits))
    for kind in (np.uint16, np.int32, np.uint32):
        if kind != np.uint32 or order == "<":
            content = tiff(values.astype(kind), order=order)
            np.testing.assert_array_equal(read(tmp_path / "a.tif", content), levels(values, bits))


def test_a_16_bit_file_of_8_bit_values_is_read_as_they_are(tmp_path):
    values = noise(8)
    np.testing.assert_array_equal(read(tmp_path / "a.png", png16(values)), levels(values, 8))


def test_bits_that_a_file_states_count_also_where_the_picture_is_dark(tmp_path):
    dark = noise(9)
    expected = levels(dark, 12)
    ome = b'<OME><Image><Pixels SignificantBits="12"/></Image></OME>\0'
    contents = {
        "sbit.png": png16(dark, (b"sBIT", bytes([12]))),
        "most.tif": tiff(dark, tags=[(281, "H", 4095)]),
        "ome.tif": tiff(dark, tags=[(270, "s", ome)]),
        "a.pgm": b"P5\n17 12\n4095\n" + dark.astype(">u2").tobytes(),
    }
    for name, content in contents.items():
        assert np.abs(read(tmp_path / name, content) - expected).max() <= 1, name


def test_sbit_of_values_that_already_span_all_bits_changes_nothing(tmp_path):
    values = noise(16)
    content = png16(values, (b"sBIT", bytes([12])))
    np.testing.assert_array_equal(read(tmp_path / "a.png", content), levels(values, 16))


@pytest.mark.parametrize("bits", [12, 16])
def test_deep_colours_keep_their_order_and_are_scaled(tmp_path, bits):
    values = noise(bits, 3)
    expected = values[:, :, ::-1] / (2**bits - 1) * 255
    contents = {
        "a.png": png16(values),
        "le.tif": tiff(values),
        "be.tif": tiff(values, order=">"),
        "a.ppm": b"P6\n17 12\n65535\n" + values.astype(">u2").tobytes(),
    }
    for name, content in contents.items():
        assert np.abs(read(tmp_path / name, content) - expected).max() <= 1, name
    path = str(tmp_path / "lzw.tif")
    assert cv2.imwrite(path, values[:, :, ::-1])
    assert np.abs(read_image(path) - expected).max() <= 1


def test_deep_alpha_lies_on_white(tmp_path):
    values, alpha = noise(12, 3), np.full((12, 17, 1), 65535, np.uint16)
    alpha[:4], alpha[4:8] = 0, 32768
    expected = values[:, :, ::-1] / 4095 * 255
    expected[:4], expected[4:8] = 255, (expected[4:8] + 255) / 2
    rgba = np.dstack([values, alpha])
    for name, content in {"a.png": png16(rgba), "a.tif": tiff(rgba)}.items():
        assert np.abs(read(tmp_path / name, content) - expected).max() <= 1, name
    la = np.dstack([values[:, :, :1], alpha])
    got = read(tmp_path / "la.png", png16(la))
    assert (got[:4] == 255).all() and np.abs(got[8:, :, 0] - la[8:, :, 0] / 4095 * 255).max() <= 1


def test_a_fourth_channel_that_is_no_alpha_is_left_out(tmp_path):
    values = noise(16, 4)
    content = tiff(values, tags=[(338, "H", 0)])
    expected = values[:, :, 2::-1] / 257
    assert np.abs(read(tmp_path / "a.tif", content) - expected).max() <= 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_deep_pictures_are_held_upright(tmp_path, orientation):
    values = noise(16, 3)
    turned = np.rot90(values, {1: 0, 3: 2, 6: -1, 8: 1}[orientation])
    expected = turned[:, :, ::-1] / 257
    exif = Image.Exif()
    exif[0x0112] = orientation
    contents = {
        "a.tif": tiff(values, tags=[(274, "H", orientation)]),
        "a.png": png16(values, (b"eXIf", exif.tobytes()[6:])),
    }
    for name, content in contents.items():
        got = read(tmp_path / name, content)
        assert got.shape == expected.shape and np.abs(got - expected).max() <= 1, name
    got = read(tmp_path / "g.tif", tiff(values[:, :, 0], tags=[(274, "H", orientation)]))
    np.testing.assert_array_equal(got, levels(turned[:, :, 0], 16))


def test_values_of_which_0_is_white_are_turned_over(tmp_path):
    values = noise(16)
    got = read(tmp_path / "a.tif", tiff(values, inverted=True))
    np.testing.assert_array_equal(got, levels(65535 - values.astype(int), 16))


def stretched(values):
    return grey((values - values.min()) / np.ptp(values) * 255)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_heights_are_stretched_from_the_lowest_to_the_highest(tmp_path, kind, order):
    for low, high in ((300, 2500), (-400, 100), (130.2, 140.9), (-1, 1)):
        heights = (RNG.random((12, 17)) * (high - low) + low).astype(kind)
        got = read(tmp_path / "a.tif", tiff(heights, order=order))
        assert np.abs(got - stretched(heights)).max() <= 1, (low, high)


def test_whole_numbers_below_0_are_stretched(tmp_path):
    for kind in (np.int16, np.int32):
        values = RNG.integers(-300, 2000, (12, 17)).astype(kind)
        got = read(tmp_path / "a.tif", tiff(values))
        assert np.abs(got - stretched(values.astype(float))).max() <= 1


@pytest.mark.parametrize("mark", [np.nan, np.inf, -np.inf, -3.4028235e38, "stated"])
def test_what_is_no_number_is_black_and_the_file_is_named_once(tmp_path, said, mark):
    heights = (RNG.random((12, 17)) * 2000 + 300).astype(np.float32)
    tags = [(42113, "s", b"-9999 \0")] if mark == "stated" else []
    holed = heights.copy()
    holed[2:4] = -9999 if tags else mark
    content = tiff(holed, tags=tags)
    for _ in range(2):
        got = read(tmp_path / "a.tif", content)
    assert (got[2:4] == 0).all()
    rest = np.delete(heights, [2, 3], axis=0)
    assert np.abs(np.delete(got, [2, 3], axis=0) - stretched(rest)).max() <= 1
    assert len(said.messages) == 1
    assert "a.tif" in said.text and "16.7 % of its values are no numbers" in said.text


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("mark", [-9999, -32768])
def test_marks_far_below_all_others_are_no_numbers(tmp_path, said, kind, mark):
    heights = RNG.integers(-20, 3000, (12, 17)).astype(kind)
    heights[0, 0] = -20
    holed = heights.copy()
    holed[2:4] = mark
    got = read(tmp_path / "a.tif", tiff(holed))
    rest = np.delete(heights, [2, 3], axis=0).astype(float)
    assert np.abs(np.delete(got, [2, 3], axis=0) - stretched(rest)).max() <= 1
    assert (got[2:4] == 0).all() and "16.7 % of its values are no numbers" in said.text
    above = read(tmp_path / "c.tif", tiff(np.where(holed == mark, mark, holed + 100).astype(kind)))
    assert (above[2:4] == 0).all()
    if np.dtype(kind).kind == "f":
        holed[2] = np.nan
        assert (read(tmp_path / "d.tif", tiff(holed)) == got).all()
    near = np.tile(np.array([mark, mark + 40, mark + 90], kind), (4, 1))
    got = read(tmp_path / "b.tif", tiff(near))
    assert got[0, :, 0].tolist() == [0, 113, 255] and "b.tif" not in said.text


@pytest.mark.parametrize(
    "values",
    [
        RNG.random((4, 5)).astype(np.float32) * 0.01,
        RNG.integers(0, 9, (4, 5), np.uint16),
        np.stack([RNG.integers(0, 4096, (4, 5), np.uint16)] * 2, 2),
    ],
    ids=["float", "16 bits", "two channels"],
)
def test_a_picture_that_is_nearly_black_is_named_once(tmp_path, said, values):
    for _ in range(2):
        assert read(tmp_path / "a.tif", tiff(values)).max() < 16
    assert said.text.count("a.tif: it is black, or nearly so") == 1


def test_a_picture_without_any_number_is_refused_by_name(tmp_path):
    content = tiff(np.full((4, 5), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"a\.tif.*none of its values is a number"):
        read(tmp_path / "a.tif", content)


def test_kinds_that_nothing_reads_are_named_with_a_fix(tmp_path):
    with pytest.raises(ValueError, match=r"a\.tif.*a TIFF of an unusual kind.*8 or 16 bits"):
        read(tmp_path / "a.tif", tiff(RNG.random((4, 5)).astype(np.float16)))


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_deep_pictures_are_named(tmp_path, share):
    values = noise(16, 3)
    contents = {
        "a.png": png16(values),
        "a.tif": tiff(values),
        "b.tif": tiff(values.astype(np.float64)),
        "a.ppm": b"P6\n17 12\n65535\n" + values.astype(">u2").tobytes(),
    }
    for name, content in contents.items():
        with pytest.raises(ValueError, match=name):
            read(tmp_path / name, content[: int(len(content) * share)])
