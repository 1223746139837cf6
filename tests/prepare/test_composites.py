"""Composites of cut-outs: which objects a picture shows, and how."""

import json
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
from composites_data import COLOURS, composer, write_sprites

from cosal_d2.cli import main
from cosal_d2.data.datasets import load_cosal_json
from cosal_d2.prepare.composites import Composer
from cosal_d2.prepare.composites.backgrounds import Backgrounds
from cosal_d2.prepare.composites.pasting import (
    MAX_UPSCALE,
    Look,
    arrange,
    paste_beside,
    render,
    solid_pixels,
)
from cosal_d2.prepare.composites.sources import load_sprite, photo_cutouts, sprite_cutouts
from cosal_d2.prepare.scene import SceneOptions

pytestmark = pytest.mark.usefixtures("one_thread")


def test_masks_show_their_class(pictures):
    checked = 0
    for index in range(12):
        scene = composer(pictures)(index)
        for instance in scene.instances:
            inner = cv2.erode(instance.mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            found = np.median(scene.image[inner], axis=0)
            distances = {n: np.abs(found - c).sum() for n, c in COLOURS.items()}
            assert min(distances, key=distances.get) == instance.class_name
            checked += 1
    assert checked > 40


def test_sources_differ_and_distractors_of_unknown_class_are_unlike_the_rest(pictures):
    compose = composer(pictures)
    others = {c.source: c.others for found in compose.cutouts.values() for c in found}
    group_classes, unknown = Counter(), 0
    for index in range(80):
        scene = compose(index)
        group = [i.source for i in scene.instances if i.category != "distractor"]
        cutouts = compose.cutouts[scene.cosalient_category]
        assert len(set(group)) == min(len(group), len(cutouts))
        known = {i.class_name for i in scene.instances} - {"distractor"}
        for instance in scene.instances:
            if instance.class_name == "distractor":
                unknown += 1
                assert known <= others[instance.source]
        group_classes[scene.cosalient_category] += 1
    assert min(group_classes.values()) > 8
    assert len(group_classes) == 4
    assert unknown > 0


def test_groups_share_no_word(pictures):
    discs, stars, squares = (photo_cutouts(pictures)[n] for n in ("disc", "star", "square"))
    photos = {"apple": discs, "pear": stars, "pear tree": squares, "apple tree": squares}
    options = SceneOptions((2, 2), (0, 0), groups=2, size=(100, 140))
    compose = Composer(photos, {}, Backgrounds(pictures), 1, options)
    found = Counter(frozenset(i.category for i in compose(k).instances) for k in range(25))
    pairs = [{"apple", "pear"}, {"apple", "pear tree"}, {"pear", "apple tree"}]
    assert set(found) == set(map(frozenset, pairs))
    # Four classes, but no three of them without a common word.
    three = SceneOptions((2, 2), (0, 0), groups=3, size=(100, 140))
    with pytest.raises(ValueError, match="2 usable classes, but the groups .* need 3"):
        Composer(photos, {}, Backgrounds(pictures), 1, three)


def test_a_scarce_class_repeats_its_cutout(pictures):
    few = [next(p for p in pictures if "star" in p.class_names), *pictures[:1]]
    compose = composer(few, objects=(4, 4), distractors=(0, 0))
    scenes = [compose(i) for i in range(6)]
    scarce = [s for s in scenes if len({i.source for i in s.instances}) == 1]
    assert scarce
    for scene in scarce:
        assert len({i.full_area for i in scene.instances}) > 1


def test_a_cutout_is_never_enlarged_much(pictures):
    sprite = load_sprite(photo_cutouts(pictures)["disc"][0])
    layer = render(sprite, Look(1000.0), 1000.0)
    assert max(solid_pixels(layer).shape) <= MAX_UPSCALE * (max(sprite.width, sprite.height) + 2)
    assert max(solid_pixels(render(sprite, Look(1000.0), 50.0)).shape) <= 52


def test_what_is_pasted_beside_others_changes_its_own_pixels_and_hides_little(pictures):
    sprite = load_sprite(photo_cutouts(pictures)["star"][0])
    photo = np.full((120, 160, 3), 128, np.uint8)
    masks = np.zeros((3, 120, 160), np.uint8)
    masks[0, 10:60, 10:60] = masks[1, 60:110, 20:70] = masks[2, 20:90, 80:130] = 1
    found = [paste_beside(np.random.default_rng(s), photo, masks, sprite) for s in range(40)]
    assert np.all(photo == 128)
    done = [f for f in found if f is not None]
    assert len(done) > 10 and any(f[1][masks.any(0) > 0].any() for f in done)
    for image, solid in done:
        changed = (image != photo).any(2)
        assert changed[solid].mean() > 0.99
        rim = cv2.dilate(solid.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        assert not changed[~rim].any()
        hidden = [(solid & (m > 0)).sum() / m.sum() for m in masks]
        assert max(hidden) <= 0.15
    tiny = np.zeros((1, 120, 160), np.uint8)
    tiny[0, 50:53, 50:53] = 1
    assert paste_beside(np.random.default_rng(0), photo, tiny, sprite) is None


def test_sprites_mix_with_photographs(pictures, tmp_path):
    sprites = sprite_cutouts(write_sprites(tmp_path, "abcdef"))
    assert list(sprites) == [f"sprite/{n}" for n in "abcdef"]
    compose = composer(pictures, sprites, distractors=(1, 3))
    table = Counter()
    for index in range(120):
        scene = compose(index)
        group = scene.cosalient_category.startswith("sprite/")
        for instance in scene.instances:
            if instance.category == "distractor":
                table[group, instance.class_name.startswith("sprite/")] += 1
            elif group:
                assert instance.source == f"letters/{scene.cosalient_category[-1]}.png"
                assert scene.image[instance.mask].mean() < 60
    shares = [table[group, True] / (table[group, True] + table[group, False]) for group in (0, 1)]
    assert all(0.3 < share < 0.7 for share in shares)


@pytest.mark.parametrize(("share", "expected"), [(0.0, {False}), (1.0, {True})])
def test_sprite_share_bounds(pictures, tmp_path, share, expected):
    sprites = sprite_cutouts(write_sprites(tmp_path, "abcdef"))
    compose = composer(pictures, sprites, sprite_share=share, distractors=(1, 2))
    found = {i.class_name.startswith("sprite/") for k in range(10) for i in compose(k).instances}
    assert found == expected


def test_a_sprite_and_a_photograph_of_one_thing_never_meet(pictures, tmp_path):
    sprites = sprite_cutouts(write_sprites(tmp_path, ["disc", "Square", "a", "b"]))
    compose = composer(pictures, sprites, distractors=(2, 3))
    for index in range(60):
        names = {i.class_name.removeprefix("sprite/").lower() for i in compose(index).instances}
        assert len(names) == len({i.class_name for i in compose(index).instances})


def test_one_class_is_enough_without_distractors(pictures):
    discs = [p for p in pictures if "disc" in p.class_names]
    discs = [
        replace(p, annotations=[a for a in p.annotations if a.class_name == "disc"]) for p in discs
    ]
    for options in ({"distractors": (0, 0)}, {}):
        scene = composer(discs, **options)(0)
        assert {i.category for i in scene.instances} == {"disc"}
    with pytest.raises(ValueError, match="1 usable classes, but the groups and MIN .* need 2;"):
        composer(discs, distractors=(1, 2))
    with pytest.raises(ValueError, match="1 usable classes, but MIN objects need 2;"):
        composer(discs, distractors=(2, 3), groups=0)


def test_objects_that_do_not_fit_are_reported(pictures):
    sprite = load_sprite(photo_cutouts(pictures)["disc"][0])
    with pytest.raises(ValueError, match="size: 40 objects do not fit into 20 x 20"):
        arrange(np.random.default_rng(0), [sprite] * 40, 20.0, 20, 20)


def _written(tmp_path):
    return json.loads((tmp_path / "root" / "cosal" / "a.json").read_text())


@pytest.fixture
def arguments(source, tmp_path):
    """Command line of a small series."""
    return [
        *("data", "composites", "--json", str(source[0]), "--images", str(source[1])),
        *("--out", str(tmp_path / "root"), "--name", "a", "--count", "12"),
        *("--size", "150", "200", "--workers", "1"),
    ]


def test_a_series_is_a_dataset_of_this_project(arguments, source, tmp_path):
    assert main(arguments) == 0
    ids = {a["id"] for a in json.loads(source[0].read_text())["annotations"]}
    assert {a["source"] for a in _written(tmp_path)["annotations"]} <= ids
    home = tmp_path / "root" / "cosal"
    records = load_cosal_json(str(home / "a.json"), str(home / "a"), "composites_of_a_test")
    assert len(records) == 12
    for record in records:
        assert sum(a["cosalient"] for a in record["annotations"]) >= 2
        assert record["cosalient_category"] in set(COLOURS) - {"distractor"}


def test_objects_are_counted_with_and_without_a_group(arguments, tmp_path):
    for extra, counts in [
        (["--objects", "3", "3", "--distractors", "1"], {4}),
        (["--objects", "2", "4", "--no-group"], {2, 3, 4}),
    ]:
        assert main([*arguments, *extra, "--overwrite"]) == 0
        found = Counter(a["image_id"] for a in _written(tmp_path)["annotations"])
        assert set(found.values()) == counts


def test_classes_restrict_group_and_distractors(arguments, tmp_path):
    listed = tmp_path / "classes.txt"
    listed.write_text("disc\n\n star \n")
    assert main([*arguments, "--classes", str(listed), "--distractors", "1"]) == 0
    data = _written(tmp_path)
    assert {a["class_name"] for a in data["annotations"]} == {"disc", "star"}
    assert {i["cosalient_category"] for i in data["images"]} == {"disc", "star"}


@pytest.mark.parametrize(
    ("content", "used"),
    [
        ("disc\nstar\nsprite/a\nsprite/b\n", {"disc", "star", "sprite/a", "sprite/b"}),
        ("disc\n", {"disc", "sprite/a", "sprite/b", "sprite/c"}),
        ("sprite/a\nsprite/b\n", {"sprite/a", "sprite/b"}),
    ],
)
def test_classes_may_list_sprites(arguments, tmp_path, content, used):
    listed = tmp_path / "classes.txt"
    listed.write_text(content)
    sprites = write_sprites(tmp_path / "sprites", "abc")
    extra = ["--classes", str(listed), "--sprites", str(sprites), "--count", "1"]
    assert main([*arguments, *extra]) == 0
    assert {c["name"] for c in _written(tmp_path)["categories"]} == used | {"distractor"}


@pytest.mark.parametrize(
    ("content", "named"),
    [("disc\nzebra\nyak\n", "'zebra', 'yak'"), ("\n", "no class"), ("disc\n", "1 usable classes")],
)
def test_bad_classes_are_refused(arguments, tmp_path, capsys, content, named):
    listed = tmp_path / "classes.txt"
    listed.write_text(content)
    assert main([*arguments, "--classes", str(listed), "--distractors", "1", "2"]) == 1
    assert named in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--objects", "1", "3"], "objects: 1 to 3"),
        (["--sprite-share", "1.5"], "sprite-share: 1.5"),
        (["--distractors", "9", "9"], "4 usable classes"),
        (["--no-group", "--distractors", "1", "2"], "--objects counts all objects"),
    ],
)
def test_bad_options_are_named(arguments, capsys, tmp_path, extra, named):
    assert main([*arguments, *extra]) == 1
    assert named in capsys.readouterr().err
    assert not (tmp_path / "root").exists()
