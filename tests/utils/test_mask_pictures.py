"""What a map or a mask means: levels, labels of a palette or of colours, an alpha."""

import cv2
import numpy as np
import pytest
from picture_files import png16, tiff
from PIL import Image

from cosal_d2.utils.mask_pictures import (
    deepest,
    read_binary,
    read_grey,
    read_truth,
    read_values,
)
from cosal_d2.utils.pixel_values import say_once

INSIDE = np.zeros((40, 60), bool)
INSIDE[5:20, 5:25] = INSIDE[22:38, 30:55] = True
LABELS = INSIDE.astype(np.uint8)
LABELS[22:] *= 2
RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
DARK = [0, 0, 0, 9, 0, 0, 0, 9, 0]  # colours whose luminance is under 128


def palette(indices, colours):
    image = Image.fromarray(indices, "P")
    image.putpalette(colours)
    return image


def with_alpha(colours, alpha):
    return Image.fromarray(np.dstack([colours, alpha.astype(np.uint8)]))


def saved(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def voc(void):
    colours = np.zeros((256, 3), np.uint8)
    colours[1:3] = (128, 0, 0), (0, 128, 0)
    colours[255] = (224, 224, 192)
    indices = LABELS.copy()
    indices[21] = 255 if void else 0
    return palette(indices, colours.ravel().tolist())


TRUTHS = {
    "labels whose colours are dark": (palette(LABELS, DARK), "palette"),
    "labels of a black palette": (palette(LABELS, [0] * 768), "palette"),
    "VOC's labels": (voc(False), "palette"),
    "VOC's labels and border": (voc(True), "without VOC's border"),
    "a palette ordered anew": (
        palette(1 - INSIDE.astype(np.uint8), [0, 0, 90, 0, 0, 0]),
        "palette",
    ),
    "a palette of black and white": (
        palette(1 - INSIDE.astype(np.uint8), [255, 255, 255, 0, 0, 0]),
        "",
    ),
    "labels of colours": (
        Image.fromarray(np.array([[0, 0, 0], [9, 0, 0], [0, 0, 80]], np.uint8)[LABELS]),
        "every colour but black",
    ),
    "a cut-out": (with_alpha(PHOTO, 255 * INSIDE), "alpha"),
    "a grey cut-out": (with_alpha(PHOTO[:, :, :1], 255 * INSIDE), "alpha"),
    "a black silhouette": (with_alpha(0 * PHOTO, 255 * INSIDE), "alpha"),
    "a white silhouette": (with_alpha(0 * PHOTO + 255, 255 * INSIDE), "alpha"),
    "a grey silhouette": (with_alpha(0 * PHOTO[:, :, :1], 255 * INSIDE), "alpha"),
    "an opaque mask": (
        with_alpha(np.dstack([255 * INSIDE.astype(np.uint8)] * 3), 255 + 0 * LABELS),
        "",
    ),
    "16 bits": (255 * 257 * INSIDE.astype(np.uint16), ""),
    "12 of 16 bits": (4095 * INSIDE.astype(np.uint16), ""),
    "1 bit": (INSIDE, ""),
    "labels as grey": (LABELS, "no pixel above 128"),
    "labels of 16 bits": (LABELS.astype(np.uint16), "no pixel above 128"),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_masks_of_a_truth(tmp_path, name):
    image, note = TRUTHS[name]
    mask, said = read_truth(saved(tmp_path / "a.png", image))
    np.testing.assert_array_equal(mask, INSIDE)
    assert note in said and bool(said) == bool(note)


@pytest.mark.parametrize("name", [name for name in TRUTHS if not name.startswith("labels")])
def test_the_same_masks_are_binary(tmp_path, name):
    path = saved(tmp_path / "a.png", TRUTHS[name][0])
    np.testing.assert_array_equal(read_binary(path), INSIDE)


@pytest.mark.parametrize("name", [name for name in TRUTHS if name.startswith(("labels", "VOC"))])
def test_labels_are_told_apart(tmp_path, name):
    values = read_values(saved(tmp_path / "a.png", TRUTHS[name][0]))
    assert (values[~INSIDE & (values != 255)] == 0).all()
    assert len(np.unique(values[INSIDE])) == 2


def test_silhouettes_are_one_label(tmp_path):
    for name in ("a black silhouette", "a grey silhouette"):
        path = saved(tmp_path / "a.png", TRUTHS[name][0])
        np.testing.assert_array_equal(read_values(path), INSIDE)


def test_transparent_palettes(tmp_path):
    image = palette(LABELS, [200, 10, 10, 90, 0, 0, 0, 0, 90])
    path = saved(tmp_path / "a.png", image, transparency=0)
    mask, note = read_truth(path)
    np.testing.assert_array_equal(mask, INSIDE)
    assert "alpha" in note
    path = saved(tmp_path / "b.gif", image, transparency=0)
    np.testing.assert_array_equal(read_truth(path)[0], INSIDE)
    np.testing.assert_array_equal(read_binary(path), INSIDE)


@pytest.mark.parametrize("scale", [1, 255])
def test_truths_of_floats_and_of_16_bit_alphas(tmp_path, scale):
    path = tmp_path / "a.tif"
    for kind in (np.float32, np.float64):
        path.write_bytes(tiff(INSIDE.astype(kind) * scale))
        np.testing.assert_array_equal(read_truth(path)[0], INSIDE)
        np.testing.assert_array_equal(read_binary(path), INSIDE)
    silhouette = np.dstack([0 * LABELS, 65535 * INSIDE.astype(np.uint16)])
    (tmp_path / "a.png").write_bytes(png16(silhouette))
    np.testing.assert_array_equal(read_truth(tmp_path / "a.png")[0], INSIDE)


def test_what_is_no_mask_is_named(tmp_path):
    photo = saved(tmp_path / "photo.png", PHOTO)
    heat = np.linspace(0, 255, 2400).reshape(40, 60).astype(np.uint8)
    jet = saved(tmp_path / "jet.png", cv2.applyColorMap(heat, cv2.COLORMAP_JET)[:, :, ::-1])
    for path in (photo, jet):
        with pytest.raises(ValueError, match=f"{path.name}: it is coloured.*black and white"):
            read_truth(path)
        with pytest.raises(ValueError, match=f"{path.name}: it is coloured.*save it as grey"):
            read_grey(path)
    mask = np.dstack([255 * INSIDE.astype(np.uint8)] * 3)
    both = saved(tmp_path / "both.png", with_alpha(mask, 255 * np.roll(INSIDE, 9)))
    both16 = tmp_path / "both16.png"
    both16.write_bytes(png16(np.dstack([mask[:, :, 0], np.roll(INSIDE, 9)]) * np.uint16(257)))
    for read in (read_truth, read_binary, read_grey):
        for path in (both, both16):
            with pytest.raises(
                ValueError, match=f"{path.name}: both its grey levels and its alpha"
            ):
                read(path)


def test_a_mask_with_a_white_border_is_noted(tmp_path):
    assert "invert" in read_truth(saved(tmp_path / "a.png", 255 * (~INSIDE).astype(np.uint8)))[1]
    assert not read_truth(saved(tmp_path / "b.png", np.full((9, 9), 255, np.uint8)))[1]


@pytest.mark.parametrize(
    "levels", [(0, 85, 170), (0, 1, 255), (0, 128, 255), (9, 100, 200), (0, 300, 600)]
)
def test_grey_levels_that_may_be_labels_are_named(tmp_path, caplog, levels):
    say_once.cache_clear()
    kind = np.uint8 if levels[2] < 256 else np.uint16
    path = saved(tmp_path / "a.png", np.array(levels, kind)[LABELS])
    mask, note = read_truth(path)
    np.testing.assert_array_equal(mask, LABELS == 2)
    assert note.startswith(f"its grey levels {levels[1]} are taken as outside; if they are labels")
    if levels[1] != 128:  # of the range, 128 is over its half
        np.testing.assert_array_equal(read_binary(path), LABELS == 2)
        assert f"{path}: {note}" in caplog.text


def test_a_mask_without_black_and_white_has_the_lowest_level_outside(tmp_path):
    for low, high in ((1, 2), (10, 100), (0, 3)):
        path = saved(tmp_path / "a.png", np.where(INSIDE, high, low).astype(np.uint8))
        mask, note = read_truth(path)
        np.testing.assert_array_equal(mask, INSIDE)
        np.testing.assert_array_equal(read_binary(path), INSIDE)
        assert f"no pixel above 128, so every pixel above {low} is taken" in note
    path = saved(tmp_path / "b.png", LABELS)
    np.testing.assert_array_equal(read_binary(path), INSIDE)


def test_soft_masks_of_any_depth_are_parted_at_half(tmp_path):
    soft = np.where(INSIDE, 0.8, 0.1)
    soft[0, 0], soft[1, 1] = 1, 0
    for bits in (8, 12, 16):
        path = tmp_path / f"{bits}.png"
        path.write_bytes(png16(np.rint(soft * (2**bits - 1)).astype(np.uint16)))
        np.testing.assert_array_equal(read_binary(path)[2:], INSIDE[2:])
        np.testing.assert_array_equal(read_truth(path)[0][2:], INSIDE[2:])
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(soft.astype(np.float32)))
    np.testing.assert_array_equal(read_binary(path)[2:], INSIDE[2:])


LEVELS = RNG.integers(0, 256, (40, 60), dtype=np.uint8)
LEVELS[0, :2] = 0, 255


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1 / 255, 1.0])
def test_maps_of_floats(tmp_path, kind, scale):
    (tmp_path / "a.tif").write_bytes(tiff((LEVELS * scale).astype(kind)))
    np.testing.assert_array_equal(read_grey(tmp_path / "a.tif"), LEVELS)


def test_a_faint_map_of_16_bits_stays_faint(tmp_path):
    (tmp_path / "a.png").write_bytes(png16(LEVELS.astype(np.uint16) * 8))
    assert read_grey(tmp_path / "a.png").max() == 8
    (tmp_path / "a.png").write_bytes(png16(LEVELS * np.uint16(16), (b"sBIT", bytes([12]))))
    assert np.abs(read_grey(tmp_path / "a.png").astype(int) - LEVELS).max() <= 1


def test_maps_of_one_method_tell_their_bits_together(tmp_path):
    def write(name, values, *chunks):
        (tmp_path / name).write_bytes(png16(values.astype(np.uint16), *chunks))
        return tmp_path / name

    deep = LEVELS.astype(np.uint16)
    strong, faint = write("a.png", deep * 16), write("b.png", deep)
    full, stated = write("c.png", deep * 257), write("d.png", deep, (b"sBIT", b"\x0c"))
    eight = saved(tmp_path / "e.png", LEVELS)
    assert deepest([strong, faint]) == 12
    assert np.abs(read_grey(strong, 12).astype(int) - LEVELS).max() <= 1
    assert read_grey(faint, 12).max() == 16
    for others in ([full], [stated], [eight], []):
        assert deepest([strong, *others]) == (16 if others else 12)
    assert deepest([]) == deepest([faint]) == 16


def test_maps_in_an_alpha(tmp_path):
    for colours in (PHOTO, 0 * PHOTO, 0 * PHOTO + 255):
        path = saved(tmp_path / "a.png", with_alpha(colours, LEVELS))
        np.testing.assert_array_equal(read_grey(path), LEVELS)
    path = saved(tmp_path / "a.png", with_alpha(PHOTO[:, :, :1], LEVELS))
    with pytest.raises(ValueError, match="both its grey levels and its alpha vary"):
        read_grey(path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((4, 5), np.nan), "no numbers"),
        (np.array([[0.0, np.inf]]), "no numbers"),
        (np.array([[-0.5, 0.5]]), "below 0"),
        (np.array([[0.0, 1.7]]), "highest value is 1.7"),
        (np.array([[0.5, 1e6]]), "highest value is 1e"),
        (np.array([[-3, 9]], np.int16), "below 0"),
    ],
)
def test_maps_with_values_of_no_map_are_named(tmp_path, values, words):
    kinds = (np.float32, np.float64) if values.dtype.kind == "f" else (np.int16, np.int32)
    for kind in kinds:
        (tmp_path / "a.tif").write_bytes(tiff(values.astype(kind)))
        for read in (read_grey, read_truth, read_binary):
            with pytest.raises(ValueError, match=f"a.tif.*{words}"):
                read(tmp_path / "a.tif")


def test_maps_of_a_compressed_format_may_be_slightly_coloured(tmp_path):
    smooth = np.tile(np.linspace(0, 255, 60), (40, 1)).astype(np.uint8)
    tinted = np.dstack([smooth, np.maximum(smooth, 3) - 3, smooth])
    path = saved(tmp_path / "a.jpg", tinted, quality=95)
    assert np.abs(read_grey(path).astype(int) - smooth).max() <= 6


def test_a_missing_or_broken_map_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such map or mask"):
        read_grey(tmp_path / "a.png")
    (tmp_path / "a.png").touch()
    for read in (read_grey, read_truth, read_binary, read_values):
        with pytest.raises(ValueError, match=r"a\.png as a picture: the file is empty"):
            read(tmp_path / "a.png")


LOSSY = {"webp": {}, "avif": {}, "jpg": {}, "tif": {"compression": "jpeg"}}


@pytest.mark.parametrize("suffix", LOSSY)
def test_what_compression_changes_is_no_label(tmp_path, suffix):
    mask = np.zeros((40, 60), np.uint8)
    mask[5:20, 5:25] = 255
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.dstack([mask] * 3)).save(path, **LOSSY[suffix])
    np.testing.assert_array_equal(read_binary(path), mask > 0)
    np.testing.assert_array_equal(read_truth(path)[0], mask > 0)
    with pytest.raises(ValueError, match="changes indices of objects; save it as PNG"):
        read_values(path)


def test_webp_without_loss_keeps_labels(tmp_path):
    labels = np.zeros((40, 60, 3), np.uint8)
    labels[5:20, 5:25], labels[22:38, 30:55] = (90, 0, 0), (0, 200, 0)
    Image.fromarray(labels).save(tmp_path / "a.webp", lossless=True)
    assert len(np.unique(read_values(tmp_path / "a.webp"))) == 3
    np.testing.assert_array_equal(read_truth(tmp_path / "a.webp")[0], labels.any(axis=2))


@pytest.mark.parametrize(("value", "words"), [(np.nan, "no numbers"), (0.5, "whole numbers")])
def test_indices_that_are_no_whole_numbers_are_named(tmp_path, value, words):
    values = np.zeros((40, 60), np.float32)
    values[:9], values[9:20] = 2, value
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=f"a.tif.*{words}"):
        read_values(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("objects", [(255, 0, 0), (200, 200, 200), (90, 150, 90)])
def test_objects_on_a_white_ground_that_are_not_black_are_named(tmp_path, suffix, objects):
    path = tmp_path / f"a.{suffix}"
    pixels = np.where(INSIDE[:, :, None], objects, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=95)
    with pytest.raises(ValueError, match=f"a.{suffix}: all of it is inside.*--threshold.*--invert"):
        read_binary(path)
    if objects == (200, 200, 200):
        assert (read_binary(path, 230) != ~INSIDE).mean() < 0.02
        assert "none is 128 or less, so all of it is truth" in read_truth(path)[1]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_mask_may_cover_all(tmp_path, suffix):
    Image.fromarray(np.full((40, 60), 255, np.uint8)).save(tmp_path / f"a.{suffix}")
    assert read_binary(tmp_path / f"a.{suffix}").all()
    assert read_truth(tmp_path / f"a.{suffix}")[1] == ""
