"""What may be given for a picture and a box; of anything else one sentence says what is taken."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from cosal_d2.inference.inputs import check_several, checked_box, named_picture

BGR = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
RGB = Image.fromarray(np.ascontiguousarray(BGR[:, :, ::-1]))
GREY = BGR[:, :, 0]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    RGB.save(path)
    return path


@pytest.mark.parametrize("form", [str, Path, os.fsencode, np.str_])
def test_a_path_may_be_text_bytes_or_an_object(file, form):
    name, pixels = named_picture(form(file))
    assert name == file.name and np.array_equal(pixels, BGR)


class Named:
    """A path object that gives bytes."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return os.fsencode(self.path)


def test_a_path_object_may_give_bytes(file):
    assert named_picture(Named(file))[0] == file.name


@pytest.mark.parametrize(
    "image",
    [
        *(BGR, BGR.copy(order="F"), np.flip(np.flip(BGR, 0).copy(), 0), BGR[::-1][::-1]),
        *(np.repeat(BGR, 2, axis=1)[:, ::2], torch.from_numpy(BGR), RGB, RGB.convert("RGBA")),
        np.ma.masked_array(BGR),
        torch.from_numpy(np.ascontiguousarray(BGR.transpose(2, 0, 1))).permute(1, 2, 0),
    ],
)
def test_arrays_of_any_layout_tensors_and_pil_images_are_pictures(image):
    name, pixels = named_picture(image)
    assert name == "picture" and type(pixels) is np.ndarray
    assert pixels.flags.c_contiguous and np.array_equal(pixels, BGR)


@pytest.mark.parametrize("image", [GREY, GREY[:, :, None], torch.from_numpy(GREY.copy()), GREY.T.T])
def test_grey_arrays_have_three_equal_channels(image):
    assert np.array_equal(named_picture(image)[1], np.dstack([GREY] * 3))


MODES = ("1", "L", "P", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA")


@pytest.mark.parametrize("mode", [*MODES, "I", "F", "I;16", "I;16B"])
def test_pil_images_of_any_mode_are_pictures(mode):
    found = named_picture(Image.new(mode, (5, 4)))[1]
    assert found.shape == (4, 5, 3) and found.dtype == np.uint8


def closed():
    image = Image.open(io.BytesIO(cv2.imencode(".png", BGR)[1].tobytes()))
    image.close()
    return image


def truncated():
    return Image.open(io.BytesIO(cv2.imencode(".png", BGR)[1].tobytes()[:900]))


BAD = {
    "None": (None, "None is no picture; OpenCV's imread gives it"),
    "number": (7, "int64 and shape ()"),
    "dict": ({"image": BGR}, "dict is no picture"),
    "object": (object(), "object is no picture"),
    "ragged": ([[1, 2], [3]], "list is no picture"),
    "file": (io.BytesIO(b"x"), "BytesIO is no picture"),
    "strings": (np.array(["a.jpg"]), "ndarray of shape (1,) is no picture"),
    "unit": (np.float32(BGR) / 255, "type float32 and shape (30, 40, 3); give uint8 BGR"),
    "float": (np.float64(BGR), "0 to 255: picture.round().astype('uint8')"),
    "unit tensor": (torch.from_numpy(BGR) / 255, "0 to 1: (255 * picture).round().astype('uint8')"),
    "paths": (
        ["a.jpg", "b.jpg"],
        "list is no picture; give uint8 BGR (H, W, 3), or a PIL image or a "
        "path; of several pictures: predictor.batch(pictures)",
    ),
    "nan": (np.full((4, 5), np.nan), "type float64"),
    "half": (torch.zeros(4, 5, 3, dtype=torch.bfloat16), "type bfloat16 and shape (4, 5, 3)"),
    "gradient": (torch.zeros(4, 5, 3, requires_grad=True), "type float32"),
    "deep": (np.uint16(GREY), "of 16 bits: a PIL image or a path"),
    "mask": (GREY > 100, "of a mask: picture.astype('uint8') * 255"),
    "integers": (BGR.tolist(), "of values from 0 to 255: picture.astype('uint8')"),
    "first": (BGR.transpose(2, 0, 1), "channels first; give (H, W, 3)"),
    "tensor first": (torch.from_numpy(GREY.copy())[None], "channels first; give (H, W, 3)"),
    "transparent": (np.dstack([BGR, GREY]), "4 channels; give 3, BGR, or a PIL image"),
    "two": (BGR[:, :, :2], "2 channels; give 3"),
    "empty": (BGR[:0], "shape (0, 40, 3)"),
    "row": (BGR[0, :, 0], "shape (40,)"),
    "batch": (BGR[None], "of several pictures: predictor.batch(pictures)"),
    "empty PIL": (Image.new("RGB", (0, 4)), "mode RGB, 0 x 4, has no pixel"),
    "closed PIL": (closed(), "cannot read a PIL image of mode RGB"),
    "truncated PIL": (truncated(), "cannot read a PIL image of mode RGB"),
    "content": (b"\x89PNG\r\n\0\0", "8 bytes are no path; of a file's content"),
    "folder": (os.curdir, ". is a folder; give a picture of it"),
    "no name": ("", "no such picture"),
    "NUL": ("a\0b.jpg", "no such picture"),
    "URL": ("https://example.org/a.jpg", "a.jpg is a URL; fetch the file"),
    "bucket": ("s3://bucket/a.jpg", "is a URL; fetch the file"),
    "data": ("data:image/png;base64," + "A" * 9999, "is a URL; fetch the file"),
}


@pytest.mark.parametrize("name", BAD)
def test_of_anything_else_one_short_sentence_says_what_is_taken(name):
    image, message = BAD[name]
    with pytest.raises((FileNotFoundError, ValueError)) as caught:
        named_picture(image)
    text = str(caught.value)
    assert message in text and len(text) < 400 and "\n" not in text
    assert type(caught.value) in (FileNotFoundError, ValueError)


@pytest.mark.parametrize(
    "images", ["a.jpg", b"a.jpg", Path("a.jpg"), RGB, BGR, torch.from_numpy(BGR), None, 3]
)
def test_one_picture_is_not_taken_for_several(images):
    with pytest.raises(ValueError, match="several pictures are taken here, such as a list of them"):
        check_several(images)


@pytest.mark.parametrize("images", [[], [BGR], (x for x in [BGR]), BGR[None], {"a.jpg": 1}])
def test_several_may_come_in_any_order(images):
    check_several(images)


@pytest.mark.parametrize(
    "box",
    [
        *([1, 2, 30, 20], (1.0, 2, 30, 20), np.array([1, 2, 30, 20]), torch.tensor([1, 2, 30, 20])),
        *(np.float32([1, 2, 30, 20]), torch.tensor([1.0, 2, 30, 20], requires_grad=True)),
        ["1", "2", "30", "20"],
    ],
)
def test_a_box_may_be_a_sequence_an_array_or_a_tensor(box):
    assert checked_box(box, 30, 40).tolist() == [1, 2, 30, 20]


def test_a_box_is_clipped_to_the_picture():
    assert checked_box((-5, -5, 900, 20.5), 30, 40).tolist() == [0, 0, 40, 20.5]


@pytest.mark.parametrize(
    ("box", "message"),
    [
        *[
            (box, "give x0,y0,x1,y1 in pixels")
            for box in (
                *((1, 2, 3), (1, 2, 3, 4, 5), [[1, 2, 30, 20]], "1,2,30,20", {"x0": 1}, 7, True),
                *(
                    (1, 2, float("nan"), 9),
                    (1, 2, float("inf"), 9),
                    (1, None, 3, 4),
                    (1, [2], 3, 4),
                ),
                *(np.zeros((30, 40)), torch.zeros(2, 2), object(), (1j, 2, 30, 20), b"box", ()),
            )
        ],
        *[
            (box, "no pixel of the picture (40 x 30) is inside; give x0,y0,x1,y1 with x0 < x1")
            for box in ((30, 2, 1, 20), (1, 20, 30, 2), (50, 2, 60, 20), (-9, -9, 0, 0))
        ],
        ((0.1, 0.2, 0.5, 0.6), "no pixel of the picture (40 x 30) is inside"),
    ],
)
def test_what_is_no_box_is_refused_in_one_line(box, message):
    with pytest.raises(ValueError) as caught:
        checked_box(box, 30, 40)
    text = str(caught.value)
    assert message in text and text.startswith("like=") and "\n" not in text and len(text) < 250
