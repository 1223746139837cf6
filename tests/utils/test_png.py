import io
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from cosal_d2.utils.png import chunk, write_png_rows


def encoded(pixels, *chunks):
    file = io.BytesIO()
    write_png_rows(file, pixels, *chunks)
    return file.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (63, 2), (64, 33), (200, 65)])
@pytest.mark.parametrize("channels", [None, 3, 4])
def test_what_is_written_is_read_back(size, channels):
    shape = size if channels is None else (*size, channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for given in (pixels, pixels[::-1], np.asfortranarray(pixels)):
        found = cv2.imdecode(np.frombuffer(encoded(given), np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(found, given)


def test_chunks_follow_the_header():
    content = encoded(np.zeros((3, 4), np.uint8), chunk(b"tEXt", b"Software\0x"))
    assert content[33:].startswith(chunk(b"tEXt", b"Software\0x"))
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.info == {"Software": "x"}


def test_a_large_picture_is_not_copied(tmp_path):
    pixels = np.zeros((3000, 2000, 4), np.uint8)
    tracemalloc.start()
    with open(tmp_path / "a.png", "wb") as file:
        write_png_rows(file, pixels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < pixels.nbytes / 10
