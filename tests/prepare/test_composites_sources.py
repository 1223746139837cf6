"""What composites are made of: cut-outs, sprites and backgrounds."""

import json
import re

import cv2
import numpy as np
import pytest
from composites_data import COLOURS, HEIGHT, WIDTH, mask_of, outline, write_sprites
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from cosal_d2.prepare.composites.backgrounds import CELL, Backgrounds, largest_free_box
from cosal_d2.prepare.composites.cutouts import LONGEST, usable_box
from cosal_d2.prepare.composites.pasting import Look, render, solid_pixels
from cosal_d2.prepare.composites.sources import (
    load_sprite,
    photo_cutouts,
    read_pictures,
    sprite_cutouts,
)
from cosal_d2.utils.masks import mask_rle

pytestmark = pytest.mark.usefixtures("one_thread")


def write_json(root, images, annotations, names=("thing",)):
    """A json in `root` beside its pictures, with categories 1, 2 and so on."""
    categories = [{"id": k, "name": name} for k, name in enumerate(names, 1)]
    file = root / "some.json"
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return file


def entry(root, name, height, width, colour=(120, 120, 120), **extra):
    """An image entry, and a plain picture for it."""
    cv2.imwrite(str(root / name), np.full((height, width, 3), colour, np.uint8))
    return {"id": name, "file_name": name, "height": height, "width": width, **extra}


def box(image, number, x, y, w, h, **extra):
    """An annotation of a rectangle."""
    polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    common = {"id": number, "image_id": image, "category_id": 1, "bbox": [x, y, w, h]}
    return {**common, "segmentation": polygon, **extra}


def test_cutouts_have_soft_edges_and_no_halo(pictures):
    for name, cutouts in photo_cutouts(pictures).items():
        pixels = load_sprite(cutouts[0]).pixels
        alpha = pixels[:, :, 3]
        assert ((alpha > 0.1) & (alpha < 0.9)).sum() > 0.02 * (alpha > 0.5).sum()
        assert not (alpha[0].any() or alpha[-1].any() or alpha[:, 0].any() or alpha[:, -1].any())
        shown = alpha > 0.3
        colour = pixels[shown, :3] / alpha[shown][:, None]
        assert np.abs(colour - COLOURS[name]).max() < 2


def test_only_whole_objects_inside_the_frame_are_cut_out():
    pieces, ring, thread = (np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(3))
    pieces[20:60, 20:60] = pieces[100:140, 20:60] = 1
    cv2.circle(ring, (150, 120), 40, 1, 12)
    cv2.line(thread, (20, 20), (220, 200), 1, 2)
    cut, small, fit = (outline("disc", *c) for c in ((30, 100, 31), (100, 100, 12), (150, 120, 50)))
    for mask in (pieces, ring, thread, mask_of(cut), mask_of(small)):
        assert usable_box(mask_rle(mask)) is None
    assert usable_box(mask_rle(mask_of(fit))) == (100, 70, 100, 100)


def test_masks_may_be_run_lengths_and_crowds_are_not_cut_out(tmp_path):
    images = [entry(tmp_path, "a.png", 100, 200)]
    objects = [box("a.png", k, 20 + 80 * k, 20, 60, 60, iscrowd=k) for k in range(2)]
    counts = [2020, *[60, 40] * 59, 60, 12020]
    objects[0]["segmentation"] = {"size": [100, 200], "counts": counts}
    pictures, _ = read_pictures(write_json(tmp_path, images, objects), tmp_path)
    (cutout,) = photo_cutouts(pictures)["thing"]
    assert (cutout.source, cutout.box) == (0, (20, 20, 60, 60))


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


def test_backgrounds_avoid_the_classes_of_the_scene(tmp_path):
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
    images = [entry(tmp_path, f"{k}.png", 200, 200, c) for k, c in enumerate(colours)]
    objects = [box(f"{k}.png", k, 4, 4, 40, 40, category_id=1 + k) for k in range(3)]
    json_file = write_json(tmp_path, images, objects, ("disc", "star", "wedge"))
    backgrounds = Backgrounds(read_pictures(json_file, tmp_path)[0])
    for seed in range(10):
        image = backgrounds.draw(np.random.default_rng(seed), 100, 150, {"disc", "wedge"})
        assert np.abs(image.mean(axis=(0, 1)) - colours[1]).max() < 3


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


def test_a_large_sprite_is_shrunk_and_looks_the_same(tmp_path):
    sprite = np.zeros((1000, 2000, 4), np.uint8)
    cv2.ellipse(sprite, (1000, 500), (990, 480), 0, 0, 360, (10, 80, 200, 255), -1)
    cv2.imwrite(str(tmp_path / "large.png"), sprite)
    cv2.imwrite(str(tmp_path / "small.png"), cv2.resize(sprite, (400, 200)))
    large, small = (sprite_cutouts(tmp_path)[f"sprite/{n}"][0] for n in ("large", "small"))
    assert max(load_sprite(large).pixels.shape) == LONGEST
    one, two = (solid_pixels(render(load_sprite(c), Look(100.0), 1000.0)) for c in (large, small))
    assert np.abs(np.subtract(one.shape, two.shape)).max() <= 1
    assert abs(int(one.sum()) - int(two.sum())) < 0.02 * two.sum()


def test_a_picture_full_of_objects_leaves_nothing_of_them(tmp_path):
    image = entry(tmp_path, "full.png", 120, 160, (20, 20, 230))
    stripes = np.tile(np.uint8([[[20, 20, 230], [230, 20, 20]]]), (120, 80, 1))
    cv2.imwrite(str(tmp_path / "full.png"), stripes)
    full = [box("full.png", 1, 4, 4, 152, 112)]
    pictures, _ = read_pictures(write_json(tmp_path, [image], full), tmp_path)
    drawn = Backgrounds(pictures).draw(np.random.default_rng(0), 120, 160, set()).astype(int)
    assert drawn.std(axis=(0, 1)).max() < 4
    other = entry(tmp_path, "free.png", 120, 160, (40, 200, 40))
    pictures, _ = read_pictures(write_json(tmp_path, [image, other], full), tmp_path)
    for seed in range(5):
        drawn = Backgrounds(pictures).draw(np.random.default_rng(seed), 120, 160, {"x"})
        assert np.abs(drawn.mean(axis=(0, 1)) - (40, 200, 40)).max() < 3


@pytest.mark.parametrize("shape", [(2, 400), (400, 2)])
def test_thin_pictures_serve_where_there_are_no_others(tmp_path, shape):
    image = entry(tmp_path, "thin.png", *shape)
    objects = [box("thin.png", 1, 0, 0, 2, 2)]
    pictures, _ = read_pictures(write_json(tmp_path, [image], objects), tmp_path)
    rng = np.random.default_rng(0)
    for size in ((100, 150), (96, 2048), (2048, 96)):
        assert Backgrounds(pictures).draw(rng, *size, set()).shape == (*size, 3)
    other = entry(tmp_path, "wide.png", 100, 150, (40, 200, 40))
    pictures, _ = read_pictures(write_json(tmp_path, [image, other], objects), tmp_path)
    for _ in range(5):
        drawn = Backgrounds(pictures).draw(rng, 100, 150, set())
        assert np.abs(drawn.mean(axis=(0, 1)) - (40, 200, 40)).max() < 3


def test_objects_without_mask_are_kept_out_of_everything(tmp_path, caplog):
    names = [f"{k}.png" for k in range(7)]
    images = [entry(tmp_path, name, 100, 100) for name in names]
    masks = [None, [], {}, [[1, 2, 3, 4]], [[20, 20, 60, 60, 20, 20]]]
    broken = [
        box(name, k, 20, 20, 40, 40, segmentation=mask)
        for k, (name, mask) in enumerate(zip(names, masks, strict=False))
    ]
    broken.append(box("5.png", 5, 20, 20, 40, 40, segmentation=None, bbox=[1, 2, -3, 4]))
    partly = box("6.png", 6, 20, 20, 40, 40)
    partly["segmentation"].append([1, 2])
    json_file = write_json(tmp_path, images, [*broken, partly])
    pictures, _ = read_pictures(json_file, tmp_path)
    assert "6 of 7 annotations have no usable `segmentation`" in caplog.text
    assert [c.source for c in photo_cutouts(pictures)["thing"]] == [6]
    for picture in pictures[:5]:
        (region,) = picture.annotations
        assert region.crowd
        mask = coco_mask.decode(region.rle)
        assert mask[20:60, 20:60].all() and mask.sum() == 1600
    assert coco_mask.decode(pictures[5].annotations[0].rle).all()
    with pytest.raises(ValueError, match=r"some\.json: no annotation has a `segmentation`"):
        read_pictures(write_json(tmp_path, images, broken), tmp_path)


def test_photographs_are_upright_and_on_white(tmp_path):
    pixels = np.full((100, 140, 3), 120, np.uint8)
    pixels[20:60, 30:100] = (200, 60, 20)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    clear = np.dstack([np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100), np.uint8)])
    clear[20:60, 20:60] = (200, 60, 20, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    images = [
        {"id": 1, "file_name": "turned.jpg", "height": 140, "width": 100},
        {"id": 2, "file_name": "clear.png", "height": 100, "width": 100},
    ]
    # x = 99 - y, y = x: rows 20 to 60 become columns 40 to 80.
    objects = [box(1, 1, 40, 30, 40, 70), box(2, 2, 20, 20, 40, 40)]
    pictures, _ = read_pictures(write_json(tmp_path, images, objects), tmp_path)
    for cutout in photo_cutouts(pictures)["thing"]:
        solid = load_sprite(cutout).pixels
        solid = solid[solid[:, :, 3] > 0.99]
        assert np.abs(solid[:, :3] - (20, 60, 200)).mean() < 6
    clean = Backgrounds(pictures[1:]).draw(np.random.default_rng(0), 100, 100, set())
    assert clean.mean() > 240
    images[0].update(height=0, width=None)
    del images[1]["height"], images[1]["width"]
    again, _ = read_pictures(write_json(tmp_path, images, objects), tmp_path)
    assert [(p.height, p.width) for p in again] == [(140, 100), (100, 100)]
    images[0].update(height=100, width=140)
    with pytest.raises(ValueError, match="turned.jpg is 140 x 100 pixels"):
        read_pictures(write_json(tmp_path, images, objects), tmp_path)


def test_ids_and_names_may_be_of_mixed_types(tmp_path):
    images = [entry(tmp_path, "a.png", 100, 100), entry(tmp_path, "b.png", 100, 100, id=7)]
    objects = [
        box("a.png", "x1", 20, 20, 40, 40),
        box(7, 10, 20, 20, 40, 40, category_id=2),
        box(7, 9, 60, 60, 35, 35),
    ]
    pictures, names = read_pictures(write_json(tmp_path, images, objects, (5, "thing")), tmp_path)
    assert names == ["5", "thing"]
    assert [[a.id for a in p.annotations] for p in pictures] == [["x1"], [9, 10]]
    assert list(photo_cutouts(pictures)) == ["5", "thing"]


def _without(part, name):
    return lambda content: content[part][1].pop(name)


def _set(part, name, value):
    return lambda content: content[part][1].__setitem__(name, value)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda content: content.pop("categories"), "`categories`"),
        (_without("annotations", "image_id"), "annotations[1] has no `image_id`"),
        (_set("annotations", "category_id", 77), "category_id 77"),
        (_set("annotations", "image_id", 77), "image_id 77"),
        (_set("annotations", "segmentation", "text"), "`segmentation` is unreadable"),
        (
            _set("annotations", "segmentation", {"size": [9, 9], "counts": [81]}),
            "is of size [9, 9]",
        ),
        (_set("images", "id", 0), "images[1] repeats the id 0"),
        (_set("images", "width", 9), f"1.png is {HEIGHT} x {WIDTH} pixels"),
    ],
)
def test_bad_json_is_refused(source, tmp_path, spoil, named):
    content = json.loads(source[0].read_text())
    spoil(content)
    json_file = tmp_path / "spoilt.json"
    json_file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=re.escape(named)) as raised:
        read_pictures(json_file, source[1])
    assert "spoilt.json" in str(raised.value)


def test_missing_and_broken_files_are_named(source, tmp_path):
    with pytest.raises(FileNotFoundError, match="is --images right?"):
        read_pictures(source[0], tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_pictures(tmp_path / "none.json", source[1])
    image = entry(tmp_path, "a.png", 50, 50)
    json_file = write_json(tmp_path, [image], [])
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"cannot read .*a\.png as a picture: it is none"):
        read_pictures(json_file, tmp_path)
