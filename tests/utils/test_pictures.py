import io
import logging
import sys
import types

import cv2
import numpy as np
import pytest
from picture_files import tiff
from PIL import Image, ImageFile, PngImagePlugin

from cosal_d2.utils import pictures
from cosal_d2.utils.mask_pictures import read_grey
from cosal_d2.utils.pictures import (
    encoded,
    open_picture,
    picture_size,
    read_image,
    upright_bgr,
    upright_size,
    write_png,
)
from cosal_d2.utils.pixel_values import say_once

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 17, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (12, 17), dtype=np.uint8)


def saved(path, array_or_image, **options):
    image = array_or_image
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    image.save(path, **options)
    return str(path)


@pytest.fixture
def said(caplog):
    """What was said, and nothing of it earlier."""
    say_once.cache_clear()
    caplog.set_level(logging.WARNING)
    return caplog


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


def content_of(kind):
    buffer = io.BytesIO()
    noise = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000"]
)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5])
def test_a_damaged_file_is_named(tmp_path, kind, share):
    content = content_of(kind)
    path = tmp_path / "broken.img"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="cannot read .*broken.img as a picture"):
        read_image(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.png: no such picture"):
        read_image(str(tmp_path / "missing.png"))


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ValueError, match=r"a\.jpg as a picture: the file is empty"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.avif", "a.JFIF", "a.ppm", "a.pbm", "a.jp2", "a.webp", "a.jpe"])
def test_formats_are_read_and_known_by_their_suffix(tmp_path, name):
    kind = {"jfif": "JPEG", "jpe": "JPEG", "pbm": "PPM", "jp2": "JPEG2000"}
    suffix = name.split(".")[1].lower()
    kind = kind.get(suffix, suffix.upper())
    image = Image.fromarray(np.full((40, 60, 3), (200, 60, 10), np.uint8))
    expected = np.full((40, 60, 3), (10, 60, 200))
    if suffix == "pbm":
        image, expected = Image.new("1", (60, 40), 1), np.full((40, 60, 3), 255)
    image.save(tmp_path / name, kind)
    assert np.abs(read_image(tmp_path / name) - expected.astype(int)).max() <= 4
    assert f".{suffix}" in pictures.PICTURE_SUFFIXES


@pytest.mark.parametrize("mode", ["LAB", "YCbCr", "CMYK", "RGBX", "1", "PA", "LA"])
def test_colour_modes_look_as_they_do_elsewhere(tmp_path, mode):
    opaque = Image.fromarray(RGB).resize((60, 40))
    image = opaque.convert("P" if mode == "PA" else mode)
    image = image.convert("PA") if mode == "PA" else image
    options = {"compression": "jpeg", "quality": 95} if mode == "YCbCr" else {}
    path = saved(tmp_path / "a.tif", image, **options)
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(read_image(path)[:, :, ::-1] - expected).mean() < 3


def jpeg(progressive, subsampling=0):
    buffer = io.BytesIO()
    noise = RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    image.save(buffer, "JPEG", progressive=progressive, subsampling=subsampling)
    return buffer.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("ending", [b"", b"\xff", b"\xff\xff", bytes(100)])
def test_a_jpeg_may_lack_its_end_marker_alone(tmp_path, said, progressive, ending):
    for subsampling in (0, 2):
        whole = jpeg(progressive, subsampling)
        path = tmp_path / f"{subsampling}.jpg"
        path.write_bytes(whole[:-2] + ending)
        expected = np.asarray(Image.open(io.BytesIO(whole)))[:, :, ::-1]
        np.testing.assert_array_equal(read_image(path), expected)
        assert f"{path}: the JPEG lacks its end marker" in said.text
    with open_picture(whole[:-2], "inside") as image:
        image.load()
    assert "inside: the JPEG lacks" in said.text


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [4, 30, 1500])
def test_a_jpeg_that_lacks_pixels_is_truncated(tmp_path, progressive, lost):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(progressive)[:-lost])
    with pytest.raises(ValueError, match="truncated"):
        read_image(path)


def test_megabytes_of_text_are_no_part_of_a_picture(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", "x" * 3_000_000, zip=True)
    text.add_itxt("workflow", "y" * 2_000_000, zip=True)
    text.add_text("plain", "z" * 70_000_000)
    check(saved(tmp_path / "a.png", RGB, pnginfo=text), RGB[:, :, ::-1])


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif", "a.avif"])
def test_of_several_frames_the_first_is_read_which_is_said_once(tmp_path, said, name):
    frames = [Image.fromarray(np.full((12, 17, 3), v, np.uint8)) for v in (40, 120, 200)]
    path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    for _ in range(2):
        assert np.abs(read_image(path).astype(int) - 40).max() <= 3
    assert said.messages == [f"{path}: it has several frames or pages; the first is read"]


def test_the_first_picture_of_a_phones_mpo_is_read_without_a_word(tmp_path, said):
    frames = [Image.fromarray(np.full((16, 16, 3), v, np.uint8)) for v in (40, 120)]
    path = saved(tmp_path / "a.jpg", frames[0], format="MPO", save_all=True, append_images=frames)
    assert (read_image(path) == 40).all() and not said.messages


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "p.png", "deep.png", "deep.tif", "turned.jpg"])
def test_pictures_over_the_limit_are_read_at_reduced_scale(tmp_path, said, monkeypatch, name):
    smooth = np.tile(np.linspace(0, 255, 80), (60, 1)).astype(np.uint8)
    image = Image.fromarray(smooth.astype(np.uint16) * 257 if "deep" in name else smooth)
    exif = Image.Exif()
    exif[0x0112] = 6 if name == "turned.jpg" else 1
    image = image.convert("P") if name == "p.png" else image
    options = {"exif": exif} if name.endswith("jpg") else {}
    path = saved(tmp_path / name, image, **options)
    monkeypatch.setenv("COSAL_MAX_MEGAPIXELS", "0.002")
    got = read_image(path).astype(int)
    turned = name == "turned.jpg"
    assert got.shape == ((40, 30, 3) if turned else (30, 40, 3))
    expected = np.rot90(smooth, -1) if turned else smooth
    expected = cv2.resize(expected, got.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(got - grey(expected)).max() <= 3
    assert f"{path}: over 0.002 megapixels" in said.text and "COSAL_MAX_MEGAPIXELS" in said.text
    assert picture_size(path) == ((80, 60) if turned else (60, 80))


def test_pictures_far_over_the_limit_are_refused_and_jpeg_is_not(tmp_path, monkeypatch):
    png, jpg = (
        saved(tmp_path / f"a.{kind}", Image.new("RGB", (80, 60))) for kind in ("png", "jpg")
    )
    monkeypatch.setenv("COSAL_MAX_MEGAPIXELS", "0.0005")
    assert read_image(jpg).shape == (15, 20, 3)
    with pytest.raises(ValueError, match="a.png.*over 4 times the limit.*COSAL_MAX_MEGAPIXELS"):
        read_image(png)
    with pytest.raises(ValueError, match="a.png.*over 4 times the limit"):
        picture_size(png)  # to find how it is turned Pillow decodes it
    monkeypatch.setenv("COSAL_MAX_MEGAPIXELS", "0.004")  # masks are not made smaller
    assert read_image(png).shape == (30, 40, 3)
    with pytest.raises(ValueError, match="a.png.*over the limit of 0.004"):
        read_grey(png)
    monkeypatch.setenv("COSAL_MAX_MEGAPIXELS", "many")
    with pytest.raises(ValueError, match="COSAL_MAX_MEGAPIXELS is 'many'"):
        read_image(png)


def test_two_hundred_megapixels_are_within_what_is_opened(tmp_path):
    path = tmp_path / "a.png"
    Image.new("1", (16000, 12500)).save(path)
    assert picture_size(path) == (12500, 16000)


def test_a_tiff_that_opencv_reads_has_a_size(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(GREY.astype(np.float64) / 255))
    assert picture_size(tmp_path / "a.tif") == read_image(tmp_path / "a.tif").shape[:2]
    (tmp_path / "b.tif").write_bytes(b"II*\0")
    with pytest.raises(ValueError, match="b.tif"):
        picture_size(tmp_path / "b.tif")


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_turned_tiff_is_upright_as_its_size_says(tmp_path, orientation):
    path = saved(tmp_path / "a.tif", GREY, tiffinfo={274: orientation})
    expected = UPRIGHT[orientation](GREY)
    check(path, grey(expected))
    assert picture_size(path) == expected.shape
    with open_picture(path) as image:
        assert upright_size(image) == expected.shape
        image.load()
        assert upright_size(image) == expected.shape


HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(40)


def test_heic_is_named_with_the_fix_where_nothing_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "a.HEIC").write_bytes(HEIC)
    with pytest.raises(ValueError, match="a.HEIC.*it is HEIC; pip install pillow-heif"):
        read_image(tmp_path / "a.HEIC")


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path, monkeypatch):
    class Stub(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self):
            self._mode, self._size, self.tile = "RGB", (6, 4), []

        def load(self):
            self.im = Image.new("RGB", (6, 4), (9, 8, 7)).im
            return super().load()

    def register():
        Image.register_open("HEIF", Stub, lambda start: start[8:12] == b"heic")

    (tmp_path / "a.jpg").write_bytes(HEIC)  # as phones and messengers name it
    module = types.SimpleNamespace(register_heif_opener=register)
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    monkeypatch.setattr(pictures.importlib.util, "find_spec", lambda name: module)
    try:
        assert (read_image(tmp_path / "a.jpg") == (7, 8, 9)).all()
    finally:
        Image.ID.remove("HEIF")
        del Image.OPEN["HEIF"]


def test_any_name_is_written_and_read(tmp_path):
    for name in (b"\xb0\xa1.png", "é 猫.png".encode(), b"a\nb.png"):
        path = tmp_path / name.decode("utf-8", "surrogateescape")
        write_png(path, RGB)
        check(str(path), RGB)
        assert path.exists() and len(list(tmp_path.glob(".*"))) == 0


def test_a_picture_is_encoded_as_its_suffix_says():
    assert encoded(RGB, ".jpg", 50)[:2] == b"\xff\xd8"
    assert len(encoded(RGB, ".jpg", 10)) < len(encoded(RGB, ".jpg", 90))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000"])
def test_a_file_with_wrong_bytes_is_read_or_named(tmp_path, kind):
    """Whatever a reader raises on damaged files becomes a ValueError."""
    content, path = content_of(kind), tmp_path / "a.img"
    for number in range(40):
        random = np.random.default_rng(number)
        damaged = np.frombuffer(content, np.uint8).copy()
        places = random.integers(0, min(len(damaged), 400), 1 + number % 5)
        damaged[places] = random.integers(0, 256, len(places))
        path.write_bytes(damaged.tobytes())
        try:
            assert read_image(path).dtype == np.uint8
        except ValueError as error:
            assert "a.img" in str(error)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "CMYK", "1"])
def test_rows_are_converted_as_the_whole_picture_is(mode, monkeypatch):
    rgba = RNG.integers(0, 256, (50, 7, 4), dtype=np.uint8)
    image = Image.fromarray(rgba).convert("RGB" if mode == "CMYK" else "RGBA").convert(mode)
    if mode == "P":
        image.info["transparency"] = 3
    whole = upright_bgr(image)
    sizes = []
    crop = Image.Image.crop
    monkeypatch.setattr(Image.Image, "crop", lambda x, box: sizes.append(box) or crop(x, box))
    monkeypatch.setattr(pictures, "ROWS", 8)
    assert np.array_equal(upright_bgr(image), whole) and len(np.unique(whole)) > 1
    assert len(sizes) == 7
