import cv2
import numpy as np
import pytest

from cosal_d2.utils.drawing import draw_overlay, map_to_uint8, save_gallery


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
