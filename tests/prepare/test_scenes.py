"""What synthetic scenes and composites promise alike: counts, classes, sizes and order."""

from collections import Counter
from functools import partial

import cv2
import numpy as np
import pytest
from composites_data import composer

from cosal_d2.prepare.synthetic import CLASSES, SceneOptions, render_scene, siblings
from cosal_d2.utils.coco import DISTRACTOR

SMALL = (96, 128)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=["synthetic", "composites"])
def drawer(request, pictures):
    """A function of a seed and of options that gives a function from index to scene."""

    def draw(seed, size=SMALL, **options):
        if request.param == "composites":
            return composer(pictures, seed=seed, size=size, **options)
        return partial(render_scene, seed, options=SceneOptions(size=size, **options))

    return draw


def test_scenes_depend_on_seed_and_index_alone(drawer):
    image = drawer(1)(5).image
    np.testing.assert_array_equal(image, drawer(1)(5).image)
    assert not np.array_equal(image, drawer(2)(5).image)
    assert not np.array_equal(image, drawer(1)(6).image)


@pytest.mark.parametrize("distractors", [(0, 0), (0, 3), (2, 2)])
def test_counts_and_classes(drawer, distractors):
    draw = drawer(7, distractors=distractors)
    groups, singles = set(), set()
    for index in range(40):
        scene = draw(index)
        group = [i.class_name for i in scene.instances if i.category != DISTRACTOR]
        others = [i.class_name for i in scene.instances if i.category == DISTRACTOR]
        assert {i.category for i in scene.instances} <= {scene.cosalient_category, DISTRACTOR}
        assert set(group) == {scene.cosalient_category}
        assert scene.cosalient_category not in others
        assert len(set(others)) == len(others)
        groups.add(len(group))
        singles.add(len(others))
    assert groups == {2, 3, 4, 5, 6}
    assert singles == set(range(distractors[0], distractors[1] + 1))


def test_several_groups(drawer):
    draw = drawer(5, groups=2, objects=(2, 3), distractors=(1, 1))
    kinds, sizes = set(), set()
    for index in range(12):
        scene = draw(index)
        assert scene.cosalient_category is None
        counts = Counter(i.category for i in scene.instances)
        assert counts.pop(DISTRACTOR) == 1
        assert len(counts) == 2
        assert counts == Counter(i.class_name for i in scene.instances if i.category != DISTRACTOR)
        kinds.add(frozenset(counts))
        sizes.update(counts.values())
    assert len(kinds) > 3
    assert sizes == {2, 3}


def test_no_object_is_hidden_by_more_than_two_fifths(drawer):
    draw = drawer(11, size=(150, 200), objects=(4, 6), distractors=(2, 3))
    hidden = [1 - i.mask.sum() / i.full_area for k in range(25) for i in draw(k).instances]
    assert 0.05 < max(hidden) <= 0.4


def test_size_and_order_do_not_tell_the_group(drawer):
    draw = drawer(13, objects=(2, 4), distractors=(2, 3))
    sizes, order = {True: [], False: []}, {True: [], False: []}
    sides = []
    for index in range(60):
        instances = draw(index).instances
        areas = np.array([i.full_area for i in instances])
        boxes = [cv2.boundingRect(i.mask.astype(np.uint8))[2:] for i in instances]
        sides.extend(np.sqrt(np.prod(boxes, axis=1)) / min(SMALL))
        for position, instance in enumerate(instances):
            single = instance.category == DISTRACTOR
            sizes[single].append(np.log(areas[position] / areas.mean()))
            order[single].append(position / (len(instances) - 1))
    assert abs(np.mean(sizes[True]) - np.mean(sizes[False])) < 0.15
    assert abs(np.mean(order[True]) - np.mean(order[False])) < 0.1
    assert np.percentile(sides, 5) > 0.1
    assert np.percentile(sides, 95) < 0.7


def test_synthetic_sizes_are_those_of_the_papers_set():
    for index in range(6):
        height, width, _ = render_scene(4, index).image.shape
        assert 256 <= height <= 1078
        assert 450 <= width <= 808


def test_synthetic_distractors_are_often_siblings_of_the_group():
    assert len(CLASSES) >= 24
    assert "green_apple" in siblings("red_apple")
    assert "dotted_ball" in siblings("striped_ball")
    assert "heart_cushion" in siblings("star_cushion")
    assert all(name not in siblings(name) for name in CLASSES)
    scenes = [render_scene(7, k, SceneOptions(distractors=(1, 1), size=SMALL)) for k in range(30)]
    near = Counter(
        i.class_name in siblings(scene.cosalient_category)
        for scene in scenes
        for i in scene.instances
        if i.category == DISTRACTOR
    )
    assert near[True] > 5
    assert near[False] > 5


def test_a_crowd_of_two_hundred_is_drawn_and_what_has_no_room_is_refused():
    options = SceneOptions(objects=(200, 200), distractors=(1, 1), size=(256, 384))
    scene = render_scene(5, 0, options)
    counts = Counter(i.category for i in scene.instances)
    assert counts == {scene.cosalient_category: 200, DISTRACTOR: 1}
    assert all(i.mask.any() for i in scene.instances)
    with pytest.raises(ValueError, match="size: 204 objects do not fit into 96 x 128 pixels"):
        SceneOptions(objects=(2, 200), size=SMALL)
    with pytest.raises(ValueError, match="objects: 2 to 201 objects .* MAX <= 200"):
        SceneOptions(objects=(2, 201))
    with pytest.raises(ValueError, match="distractors: 2 to 13 objects .* MAX <= 12"):
        SceneOptions(distractors=(2, 13))
