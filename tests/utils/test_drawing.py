import tracemalloc

import cv2
import numpy as np
import pytest

from cosal_d2.utils.drawing import (
    GROUP_COLORS,
    SCREEN_SIDE,
    Outline,
    draw_overlay,
    map_to_uint8,
    save_gallery,
)


def test_a_map_becomes_round_255_p():
    levels = np.arange(256, dtype=np.float32) / 255
    assert np.array_equal(map_to_uint8(levels.reshape(16, 16)).ravel(), np.arange(256))
    p = np.array([[0.0, 0.499 / 255, 0.501 / 255, 100.4 / 255, 100.6 / 255, 1.0]])
    assert map_to_uint8(p).tolist() == [[0, 0, 1, 100, 101, 255]]
    assert map_to_uint8(np.array([[-0.1, 1.1]])).tolist() == [[0, 255]]
    assert map_to_uint8(p).dtype == np.uint8


@pytest.mark.parametrize("size", [(37, 23), (64, 48), (1, 1), (100, 301)])
@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_an_overlay_has_the_pictures_size_and_leaves_it_untouched(size, level):
    image = np.full((*size, 3), 90, np.uint8)
    overlay = draw_overlay(image, np.full(size, level, np.float32))
    assert overlay.shape == image.shape and overlay.dtype == np.uint8
    assert (image == 90).all()
    if level == 0.0:
        assert (overlay == image).all()


def test_the_map_is_tinted_red_where_it_is_and_outlined():
    image = np.full((60, 80, 3), 100, np.uint8)
    cosal_map = np.zeros((60, 80), np.float32)
    cosal_map[20:40, 30:60] = 1
    overlay = draw_overlay(image, cosal_map).astype(int)
    inside, outside = overlay[25:35, 35:55], overlay[:12, :20]
    assert (inside[:, :, 2] > 150).all() and (inside[:, :, :2] < 75).all()
    assert (outside == 100).all()
    edge = overlay[18:23, 45]
    yellow = (edge[:, 2] > 180) & (edge[:, 1] > 130) & (edge[:, 0] < 110)
    assert yellow.any()


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((3000, 4000), (1440, 1920)), ((4000, 30), (1920, 14)), ((1920, 9), (1920, 9))],
)
def test_a_large_picture_is_drawn_at_the_screens_size(size, drawn):
    image, cosal_map = np.full((*size, 3), 90, np.uint8), np.zeros(size, np.float32)
    assert draw_overlay(image, cosal_map).shape == (*drawn, 3)
    assert draw_overlay(image, cosal_map, longest=None).shape == image.shape
    assert draw_overlay(image, cosal_map, longest=700).shape[0] <= 700


@pytest.mark.parametrize("longest", [None, SCREEN_SIDE, 640])
def test_objects_are_outlined_where_they_are_whatever_the_size(longest):
    image, cosal_map = np.zeros((2400, 3200, 3), np.uint8), np.zeros((2400, 3200), np.float32)
    boxes = [(100, 200, 900, 1000), (3000, 2300, 3200, 2400), (2000, 500, 2002, 503), (0, 0, 1, 1)]
    objects = [
        Outline(np.ones((y1 - y0, x1 - x0), bool), (x0, y0), group)
        for group, (x0, y0, x1, y1) in enumerate(boxes)
    ]
    drawn = draw_overlay(image, cosal_map, objects, longest)
    scale = drawn.shape[1] / 3200
    width = min(drawn.shape[:2]) / 240 + 2
    for (x0, y0, x1, y1), color in zip(boxes, GROUP_COLORS, strict=False):
        own = (np.abs(drawn.astype(int) - [round(255 * c) for c in color[::-1]]) < 40).all(axis=2)
        ys, xs = np.nonzero(own)
        found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        assert np.abs(found - np.array([x0, y0, x1, y1]) * scale).max() <= width
    assert not drawn[round(600 * scale), round(500 * scale)].any()  # inside of the first


def test_a_large_map_becomes_grey_without_copies():
    cosal_map = np.full((3000, 2000), 0.5, np.float32)
    tracemalloc.start()
    grey = map_to_uint8(cosal_map)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (grey == 128).all() and peak < 2 * grey.nbytes


def test_a_gallery_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "gallery.png"
    path.write_bytes(b"old")
    picture = np.zeros((20, 30, 3), np.uint8)
    with pytest.raises(ValueError, match="longer"):
        save_gallery(path, ["one", "two"], [[picture]])
    assert path.read_bytes() == b"old"
    save_gallery(path, ["picture", "grey"], [[picture, picture[..., 0]]] * 2)
    assert cv2.imread(str(path)).std() > 0
    assert list(tmp_path.iterdir()) == [path]
