import io

import cv2
import numpy as np
import pytest
from PIL import Image

from cosal_d2.utils.pictures import read_image

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 17, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (12, 17), dtype=np.uint8)


def saved(path, array_or_image, **options):
    image = array_or_image
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    image.save(path, **options)
    return str(path)


def grey(values):
    return np.repeat(values[:, :, None], 3, axis=2)


def check(path, expected):
    got = read_image(path)
    assert got.dtype == np.uint8 and got.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(got, expected)


def test_colour_becomes_bgr(tmp_path):
    check(saved(tmp_path / "a.png", RGB), RGB[:, :, ::-1])
    jpeg = saved(tmp_path / "a.jpg", RGB, quality=95)
    check(jpeg, np.asarray(Image.open(jpeg).convert("RGB"))[:, :, ::-1])


def test_grey_is_repeated(tmp_path):
    check(saved(tmp_path / "a.png", GREY), grey(GREY))
    check(saved(tmp_path / "b.png", Image.fromarray(GREY > 99)), grey((GREY > 99) * np.uint8(255)))


def on_white(colour, alpha):
    a = alpha.astype(np.float64)[:, :, None] / 255
    return colour * a + 255 * (1 - a)


def test_transparent_pictures_lie_on_white(tmp_path):
    alpha = RNG.integers(0, 256, (12, 17), dtype=np.uint8)
    alpha[:4], alpha[4:8] = 0, 255
    rgba = saved(tmp_path / "rgba.png", np.dstack([RGB, alpha]))
    got = read_image(rgba)[:, :, ::-1].astype(int)
    assert (got[:4] == 255).all() and (got[4:8] == RGB[4:8]).all()
    assert np.abs(got - on_white(RGB, alpha)).max() <= 1
    la = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    got = read_image(saved(tmp_path / "la.png", la)).astype(int)
    assert np.abs(got - on_white(grey(GREY), alpha)).max() <= 1


def test_transparent_palette_entries_lie_on_white(tmp_path):
    palette = Image.frombytes("P", (17, 12), (GREY % 3).tobytes())
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    colours = np.array([[30, 20, 10], [60, 50, 40], [90, 80, 70]], np.uint8)
    check(saved(tmp_path / "opaque.png", palette), colours[GREY % 3])
    colours[1] = 255
    check(saved(tmp_path / "a.png", palette, transparency=1), colours[GREY % 3])
    check(saved(tmp_path / "a.gif", palette, transparency=1), colours[GREY % 3])


def test_cmyk_is_converted(tmp_path):
    ink = np.zeros((12, 17, 4), np.uint8)
    ink[:, :8, 0] = 255
    ink[6:, :, 3] = 255
    image = Image.frombytes("CMYK", (17, 12), ink.tobytes())
    got = read_image(saved(tmp_path / "a.tif", image))
    assert (got[6:] == 0).all() and (got[:6, 8:] == 255).all()
    assert (got[:6, :8] == [255, 255, 0]).all()
    jpeg = read_image(saved(tmp_path / "a.jpg", image, quality=95))
    assert jpeg.shape == (12, 17, 3) and jpeg[9:].max() < 60 and jpeg[:3, 12:].min() > 200


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_grey_is_scaled_not_saturated(tmp_path, name):
    deep = RNG.integers(0, 65536, (12, 17)).astype(np.uint16)
    deep[0, :4] = (0, 255, 256, 65535)
    path = str(tmp_path / name)
    assert cv2.imwrite(path, deep)
    check(path, grey(np.floor(deep / 65535 * 255 + 0.5).astype(np.uint8)))


def test_sixteen_bit_colour_is_scaled(tmp_path):
    deep = RNG.integers(0, 65536, (12, 17, 3)).astype(np.uint16)
    path = str(tmp_path / "a.png")
    assert cv2.imwrite(path, deep)
    assert np.abs(read_image(path) - deep / 257).max() <= 1


@pytest.mark.parametrize("high", [1.0, 255.0, 65535.0])
def test_float_pictures_of_each_usual_range_are_scaled(tmp_path, high):
    values = (GREY / 255 * high).astype(np.float32)
    values[0, 0] = high
    path = saved(tmp_path / "a.tif", values)
    expected = GREY.copy()
    expected[0, 0] = 255
    assert np.abs(read_image(path).astype(int) - grey(expected)).max() <= 1


UPRIGHT = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x, 1),
}


@pytest.mark.parametrize("orientation", list(UPRIGHT))
def test_exif_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", RGB, exif=exif)
    check(path, UPRIGHT[orientation](RGB)[:, :, ::-1])


def encoded(kind):
    buffer = io.BytesIO()
    noise = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5])
def test_a_damaged_file_is_named(tmp_path, kind, share):
    content = encoded(kind)
    path = tmp_path / "broken.img"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="cannot read .*broken.img as a picture"):
        read_image(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such picture: .*missing.png"):
        read_image(str(tmp_path / "missing.png"))
