"""Composites of cut-outs: sources, what is cut out, backgrounds, pictures and files."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from composites_data import (
    COLOURS,
    HEIGHT,
    WIDTH,
    compressed,
    mask_of,
    outline,
    write_source,
    write_sprites,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from cosal_d2.composites import Composer, CompositeOptions
from cosal_d2.composites import scene as scene_module
from cosal_d2.composites.backgrounds import CELL, Backgrounds, largest_free_box
from cosal_d2.composites.cutouts import load_cutout, photo_cutouts, sprite_cutouts
from cosal_d2.composites.paste import MAX_UPSCALE, Look, render
from cosal_d2.composites.source import read_pictures
from cosal_d2.data.datasets import load_cosal_json

TOOL = Path(__file__).parents[1] / "datasets" / "make_composites.py"
SIZE = (150, 200)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


@pytest.fixture(scope="module")
def main():
    spec = importlib.util.spec_from_file_location("make_composites", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """(json file, image folder)."""
    return write_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def pictures(source):
    return read_pictures(*source)[0]


@pytest.fixture
def arguments(source, tmp_path):
    """Command line of a small series."""
    return [
        *("--json", str(source[0]), "--images", str(source[1]), "--out", str(tmp_path / "root")),
        *("--name", "a", "--count", "4", "--size", "150", "200", "--workers", "1"),
    ]


def _composer(pictures, sprites=None, seed=1, **options):
    options = CompositeOptions(**{"size": SIZE, **options})
    return Composer(photo_cutouts(pictures), sprites or {}, Backgrounds(pictures), seed, options)


def _digest(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def test_output_does_not_depend_on_workers_or_run(arguments, main, tmp_path):
    digests = []
    for workers in ("1", "2", "1"):
        root = tmp_path / f"run{len(digests)}"
        assert main([*arguments, "--out", str(root), "--workers", workers]) == 0
        digests.append(_digest(root))
    assert len(digests[0]) == 5
    assert digests[0] == digests[1] == digests[2]
    assert main([*arguments, "--seed", "1"]) == 0
    assert _digest(tmp_path / "root") != digests[0]


def test_json_is_a_dataset_of_this_project(arguments, main, source, tmp_path):
    assert main([*arguments, "--count", "12"]) == 0
    home = tmp_path / "root" / "cosal"
    data = json.loads((home / "a.json").read_text())
    ids = {a["id"] for a in json.loads(source[0].read_text())["annotations"]}
    covered = {i["id"]: np.zeros(SIZE, int) for i in data["images"]}
    for annotation in data["annotations"]:
        mask = coco_mask.decode(annotation["segmentation"])
        assert mask.shape == SIZE
        rows, columns = np.nonzero(mask)
        x, y, w, h = annotation["bbox"]
        assert (x, y) == (columns.min(), rows.min())
        assert (x + w, y + h) == (columns.max() + 1, rows.max() + 1)
        assert annotation["area"] == mask.sum() > 0
        assert annotation["iscrowd"] == 0
        assert annotation["source"] in ids
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        covered[annotation["image_id"]] += mask
    assert max(total.max() for total in covered.values()) == 1
    dicts = load_cosal_json(str(home / "a.json"), str(home / "a"), "composites_of_a_test")
    assert len(dicts) == 12
    for record in dicts:
        assert cv2.imread(record["file_name"]).shape == (*SIZE, 3)
        assert sum(a["cosalient"] for a in record["annotations"]) >= 2
        assert record["cosalient_category"] in set(COLOURS) - {"distractor"}


def test_masks_show_their_class(pictures):
    checked = 0
    for index in range(12):
        scene = _composer(pictures)(index)
        for instance in scene.instances:
            inner = cv2.erode(instance.mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            found = np.median(scene.image[inner], axis=0)
            distances = {n: np.abs(found - c).sum() for n, c in COLOURS.items()}
            assert min(distances, key=distances.get) == instance.class_name
            checked += 1
    assert checked > 40


def test_counts_classes_and_sources(pictures):
    composer = _composer(pictures)
    others = {c.source: c.others for found in composer.cutouts.values() for c in found}
    groups, singles, group_classes, unknown = set(), set(), Counter(), 0
    for index in range(80):
        scene = composer(index)
        group = [i for i in scene.instances if i.category != "distractor"]
        rest = [i.class_name for i in scene.instances if i.category == "distractor"]
        assert {i.class_name for i in group} == {scene.cosalient_category}
        assert len({i.source for i in group}) == min(
            len(group), len(composer.cutouts[scene.cosalient_category])
        )
        assert len(set(rest)) == len(rest)
        assert scene.cosalient_category not in rest
        known = {scene.cosalient_category, *rest} - {"distractor"}
        for instance in scene.instances:
            if instance.class_name == "distractor":
                unknown += 1
                assert known <= others[instance.source]
        groups.add(len(group))
        singles.add(len(rest))
        group_classes[scene.cosalient_category] += 1
    assert groups == {2, 3, 4, 5, 6}
    assert singles >= {0, 1, 2, 3}
    assert min(group_classes.values()) > 8
    assert len(group_classes) == 4
    assert unknown > 0


def test_a_scarce_class_repeats_its_cutout(pictures):
    few = [next(p for p in pictures if "star" in p.class_names), *pictures[:1]]
    composer = _composer(few, objects=(4, 4), distractors=(0, 0))
    scenes = [composer(i) for i in range(6)]
    scarce = [s for s in scenes if len({i.source for i in s.instances}) == 1]
    assert scarce
    for scene in scarce:
        assert len({i.full_area for i in scene.instances}) > 1


def test_no_object_is_hidden_by_more_than_a_third(pictures):
    composer = _composer(pictures, objects=(5, 6), distractors=(2, 3))
    hidden = [1 - i.mask.sum() / i.full_area for k in range(25) for i in composer(k).instances]
    assert max(hidden) <= 0.35
    assert max(hidden) > 0.05


def test_size_and_order_do_not_tell_the_group(pictures):
    composer = _composer(pictures, distractors=(2, 3), objects=(2, 4))
    sizes, order = {True: [], False: []}, {True: [], False: []}
    sides = []
    for index in range(60):
        instances = composer(index).instances
        boxes = [cv2.boundingRect(i.mask.astype(np.uint8))[2:] for i in instances]
        side = np.sqrt(np.prod(boxes, axis=1))
        sides.extend(side / min(SIZE))
        for position, instance in enumerate(instances):
            single = instance.category == "distractor"
            sizes[single].append(np.log(side[position] / side.mean()))
            order[single].append(position / (len(instances) - 1))
    assert abs(np.mean(sizes[True]) - np.mean(sizes[False])) < 0.08
    assert abs(np.mean(order[True]) - np.mean(order[False])) < 0.1
    assert np.percentile(sides, 5) > 0.1
    assert np.percentile(sides, 95) < 0.5


def test_a_cutout_is_never_enlarged_much(pictures):
    cutout = photo_cutouts(pictures)["disc"][0]
    layer = render(cutout, Look(1000.0, 0.0, False, 1.0, 1.0, (1, 1, 1)), 1000.0)
    assert max(layer.solid.shape) <= MAX_UPSCALE * (max(cutout.box[2:]) + 2)
    bounded = render(cutout, Look(1000.0, 0.0, False, 1.0, 1.0, (1, 1, 1)), 50.0)
    assert max(bounded.solid.shape) <= 52


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


def test_no_group_has_an_empty_truth(arguments, main, tmp_path):
    assert main([*arguments, "--no-group", "--objects", "2", "4", "--count", "12"]) == 0
    data = json.loads((tmp_path / "root" / "cosal" / "a.json").read_text())
    names = {c["id"]: c["name"] for c in data["categories"]}
    assert {names[a["category_id"]] for a in data["annotations"]} == {"distractor"}
    counts = set()
    for entry in data["images"]:
        assert entry["cosalient_category"] is None
        own = [a["class_name"] for a in data["annotations"] if a["image_id"] == entry["id"]]
        assert len(set(own)) == len(own)
        counts.add(len(own))
    assert counts == {2, 3, 4}


def test_classes_restrict_group_and_distractors(arguments, main, tmp_path):
    listed = tmp_path / "classes.txt"
    listed.write_text("disc\n\n star \n")
    extra = ["--classes", str(listed), "--count", "12", "--distractors", "1", "1"]
    assert main([*arguments, *extra]) == 0
    data = json.loads((tmp_path / "root" / "cosal" / "a.json").read_text())
    assert {a["class_name"] for a in data["annotations"]} == {"disc", "star"}
    assert {i["cosalient_category"] for i in data["images"]} == {"disc", "star"}


@pytest.mark.parametrize(
    ("content", "named"),
    [("disc\nzebra\nyak\n", "'zebra', 'yak'"), ("\n", "no class"), ("disc\n", "1 usable class")],
)
def test_bad_classes_are_refused(arguments, main, tmp_path, capsys, content, named):
    listed = tmp_path / "classes.txt"
    listed.write_text(content)
    with pytest.raises(SystemExit):
        main([*arguments, "--classes", str(listed)])
    assert named in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_any_form_of_mask_gives_the_same_pictures(tmp_path, arguments, main):
    digests = []
    for form in ("polygon", "compressed", "uncompressed"):
        json_file, folder = write_source(tmp_path / form, form=form)
        out = tmp_path / f"{form}_out"
        files = ["--json", str(json_file), "--images", str(folder), "--out", str(out)]
        assert main([*arguments, *files]) == 0
        digests.append(_digest(out))
    assert digests[0] == digests[1] == digests[2]


def test_sprites_mix_with_photographs(pictures, tmp_path):
    sprites = sprite_cutouts(write_sprites(tmp_path, "abcdef"))
    assert list(sprites) == [f"sprite/{n}" for n in "abcdef"]
    composer = _composer(pictures, sprites, distractors=(1, 3), sprite_share=0.5)
    table = Counter()
    for index in range(120):
        scene = composer(index)
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
    composer = _composer(pictures, sprites, sprite_share=share, distractors=(1, 2))
    found = {i.class_name.startswith("sprite/") for k in range(10) for i in composer(k).instances}
    assert found == expected


def test_a_sprite_and_a_photograph_of_one_thing_never_meet(pictures, tmp_path):
    sprites = sprite_cutouts(write_sprites(tmp_path, ["disc", "Square", "a", "b"]))
    composer = _composer(pictures, sprites, distractors=(2, 3))
    for index in range(60):
        names = {i.class_name.removeprefix("sprite/").lower() for i in composer(index).instances}
        assert len(names) == len({i.class_name for i in composer(index).instances})


def test_sprites_of_one_name_are_one_class(tmp_path):
    write_sprites(tmp_path / "one", "ab")
    write_sprites(tmp_path / "two", "bc")
    sprites = sprite_cutouts(tmp_path)
    assert {name: len(found) for name, found in sprites.items()} == {
        "sprite/a": 1,
        "sprite/b": 2,
        "sprite/c": 1,
    }


def test_objects_that_do_not_fit_are_reported(pictures, monkeypatch):
    monkeypatch.setattr(scene_module, "place", lambda *_, **__: None)
    with pytest.raises(ValueError, match="size: .* objects do not fit into 150 x 200"):
        _composer(pictures)(0)


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


def _without(part, name):
    return lambda content: content[part][1].pop(name)


def _set(part, name, value):
    return lambda content: content[part][1].__setitem__(name, value)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda content: content.pop("categories"), "`categories`"),
        (_without("images", "height"), "images[1] has no `height`"),
        (_without("annotations", "image_id"), "annotations[1] has no `image_id`"),
        (_without("annotations", "segmentation"), "annotations[1] (id 101): no `segmentation`"),
        (_without("categories", "name"), "categories[1] has no `name`"),
        (_set("annotations", "category_id", 77), "category_id 77"),
        (_set("annotations", "image_id", 77), "image_id 77"),
        (_set("annotations", "segmentation", []), "`segmentation` is unreadable"),
        (_set("annotations", "segmentation", [[1, 2]]), "`segmentation` is unreadable"),
        (
            _set("annotations", "segmentation", {"size": [HEIGHT, WIDTH], "counts": [5]}),
            "do not add up",
        ),
        (
            _set("annotations", "segmentation", compressed(np.zeros((9, 9), np.uint8))),
            "is of size [9, 9]",
        ),
        (_set("images", "width", 9), f"1.png is {HEIGHT} x {WIDTH} pixels"),
    ],
)
def test_bad_json_is_refused(source, tmp_path, arguments, main, capsys, spoil, named):
    content = json.loads(source[0].read_text())
    spoil(content)
    json_file = tmp_path / "spoilt.json"
    json_file.write_text(json.dumps(content))
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--json", str(json_file)])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert named in message
    assert "spoilt.json" in message
    assert not (tmp_path / "root").exists()


def test_missing_files_are_named(source, tmp_path, arguments, main, capsys):
    assert main([*arguments, "--images", str(tmp_path)]) == 1
    assert "is --images right?" in capsys.readouterr().err
    assert main([*arguments, "--json", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(SystemExit):
        main([*arguments, "--json", str(tmp_path / "text.json")])
    assert "text.json is not valid json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--objects", "1", "3"], "--objects"),
        (["--distractors", "3", "2"], "--distractors"),
        (["--no-group", "--distractors", "1", "2"], "--distractors"),
        (["--sprite-share", "1.5"], "--sprite-share"),
        (["--size", "20", "20"], "--size"),
        (["--count", "0"], "--count"),
        (["--seed", "-1"], "--seed"),
        (["--name", "a/b"], "--name"),
        (["--workers", "0"], "--workers"),
        (["--distractors", "9", "9"], "--json"),
    ],
)
def test_bad_arguments_are_named(arguments, capsys, main, tmp_path, extra, named):
    with pytest.raises(SystemExit) as stop:
        main([*arguments, *extra])
    assert stop.value.code == 2
    assert f"argument {named}: " in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_existing_output_is_kept_unless_overwritten(arguments, main, tmp_path, capsys):
    assert main(arguments) == 0
    first = _digest(tmp_path / "root")
    assert main([*arguments, "--seed", "2"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert _digest(tmp_path / "root") == first
    assert main([*arguments, "--seed", "2", "--overwrite"]) == 0
    assert _digest(tmp_path / "root").keys() == first.keys()
    assert _digest(tmp_path / "root") != first


def test_composing_needs_neither_torch_nor_detectron2():
    code = (
        "import sys, cosal_d2.composites, cosal_d2.synthetic; "
        "print([m for m in ('torch', 'detectron2') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
