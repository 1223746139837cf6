"""What composites are made of: cut-outs, sprites and backgrounds."""

import json

import cv2
import numpy as np
import pytest
from composites_data import COLOURS, HEIGHT, WIDTH, compressed, mask_of, outline, write_sprites
from hypothesis import given, settings
from hypothesis import strategies as st

from cosal_d2.composites.backgrounds import CELL, Backgrounds, largest_free_box
from cosal_d2.composites.cutouts import load_cutout, photo_cutouts, sprite_cutouts
from cosal_d2.composites.source import read_pictures

pytestmark = pytest.mark.usefixtures("one_thread")


def test_cutouts_have_soft_edges_and_no_halo(pictures):
    for name, cutouts in photo_cutouts(pictures).items():
        pixels = load_cutout(cutouts[0])
        alpha = pixels[:, :, 3]
        assert ((alpha > 0.1) & (alpha < 0.9)).sum() > 0.02 * (alpha > 0.5).sum()
        assert not (alpha[0].any() or alpha[-1].any() or alpha[:, 0].any() or alpha[:, -1].any())
        shown = alpha > 0.3
        colour = pixels[shown, :3] / alpha[shown][:, None]
        assert np.abs(colour - COLOURS[name]).max() < 2


def test_unfit_objects_are_not_cut_out(source, tmp_path):
    content = json.loads(source[0].read_text())
    before = len(content["annotations"])
    used = {c.source for v in photo_cutouts(read_pictures(*source)[0]).values() for c in v}
    assert len(used) == before
    pieces, ring, thread = (np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(3))
    pieces[20:60, 20:60] = pieces[100:140, 20:60] = 1
    cv2.circle(ring, (150, 120), 40, 1, 12)
    cv2.line(thread, (20, 20), (220, 200), 1, 2)
    unfit = [
        compressed(mask_of(outline("disc", 30, 100, 31))),  # reaches the frame
        compressed(mask_of(outline("disc", 100, 100, 12))),
        compressed(pieces),
        compressed(ring),
        compressed(thread),
    ]
    for k, rle in enumerate([*unfit, compressed(mask_of(outline("disc", 150, 120, 50)))]):
        content["annotations"].append(
            {
                "id": 1000 + k,
                "image_id": 0,
                "category_id": 1,
                "segmentation": rle,
                "iscrowd": int(k == len(unfit)),
            }
        )
    json_file = tmp_path / "unfit.json"
    json_file.write_text(json.dumps(content))
    found = photo_cutouts(read_pictures(json_file, source[1])[0])
    assert {c.source for v in found.values() for c in v} == used


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_largest_free_box_is_free_and_largest(data):
    rows, columns = data.draw(st.integers(2, 9)), data.draw(st.integers(2, 9))
    cells = np.array(
        data.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    ).reshape(rows, columns)
    occupied = np.kron(cells, np.ones((CELL, CELL))).astype(np.uint8)
    height, width = data.draw(st.sampled_from([(100, 100), (100, 150), (160, 90)]))
    x, y, w, h = largest_free_box(occupied, height, width)
    assert not occupied[y : y + h, x : x + w].any()
    assert x + w <= occupied.shape[1]
    assert y + h <= occupied.shape[0]
    k = min(w, h) // CELL + 1
    h1 = k if width >= height else round(k * height / width)
    w1 = round(k * width / height) if width >= height else k
    assert all(
        cells[r : r + h1, c : c + w1].any()
        for r in range(rows - h1 + 1)
        for c in range(columns - w1 + 1)
    )


@pytest.mark.parametrize("size", [(60, 80), (300, 400)], ids=["cropped", "inpainted"])
def test_backgrounds_show_no_objects(pictures, size):
    backgrounds = Backgrounds(pictures)
    rng = np.random.default_rng(0)
    for _ in range(10):
        image = backgrounds.draw(rng, *size, {"disc"}).astype(int)
        assert image.shape == (*size, 3)
        assert (image.max(axis=2) - image.min(axis=2)).max() < 25
        assert 95 < image.mean() < 155
        assert image.std() > 1


def test_backgrounds_avoid_the_classes_of_the_scene(pictures):
    shown = []

    class Spy(Backgrounds):
        def _filled(self, rng, k, height, width):
            shown.append(self.pictures[k])
            return super()._filled(rng, k, height, width)

    rng = np.random.default_rng(0)
    for _ in range(10):
        Spy(pictures).draw(rng, 300, 400, {"disc"})
    assert len(shown) == 10
    assert all("disc" not in p.class_names for p in shown)


def test_sprites_of_one_name_are_one_class(tmp_path):
    write_sprites(tmp_path / "one", "ab")
    write_sprites(tmp_path / "two", "bc")
    sprites = sprite_cutouts(tmp_path)
    assert {name: len(found) for name, found in sprites.items()} == {
        "sprite/a": 1,
        "sprite/b": 2,
        "sprite/c": 1,
    }


def test_bad_sprites_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="--sprites"):
        sprite_cutouts(tmp_path / "none")
    cv2.imwrite(str(tmp_path / "opaque.png"), np.zeros((60, 60, 3), np.uint8))
    with pytest.raises(ValueError, match=r"opaque\.png has no alpha"):
        sprite_cutouts(tmp_path)
    (tmp_path / "opaque.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"opaque\.png is not readable"):
        sprite_cutouts(tmp_path)
    cv2.imwrite(str(tmp_path / "opaque.png"), np.full((10, 10, 4), 255, np.uint8))
    with pytest.raises(FileNotFoundError, match="no usable sprites"):
        sprite_cutouts(tmp_path)
