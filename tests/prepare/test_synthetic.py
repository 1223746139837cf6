"""Synthetic scenes: which objects they show, and how large."""

from collections import Counter

import numpy as np
import pytest

from cosal_d2.prepare.synthetic import CLASSES, SceneOptions, render_scene, siblings
from cosal_d2.utils.coco import DISTRACTOR

SMALL = (96, 128)
pytestmark = pytest.mark.usefixtures("one_thread")


def test_scenes_depend_on_seed_and_index_alone():
    options = SceneOptions(size=SMALL)
    scene = render_scene(1, 5, options)
    np.testing.assert_array_equal(scene.image, render_scene(1, 5, options).image)
    assert not np.array_equal(scene.image, render_scene(2, 5, options).image)
    assert not np.array_equal(scene.image, render_scene(1, 6, options).image)


def test_sizes_are_those_of_the_papers_set():
    for index in range(6):
        height, width, _ = render_scene(4, index).image.shape
        assert 256 <= height <= 1078
        assert 450 <= width <= 808


@pytest.mark.parametrize("distractors", [(0, 0), (0, 4), (3, 3)])
def test_counts_and_classes(distractors):
    options = SceneOptions(distractors=distractors, size=SMALL)
    groups, singles, near = set(), set(), 0
    for index in range(30):
        scene = render_scene(7, index, options)
        categories = Counter(i.category for i in scene.instances)
        classes = Counter(i.class_name for i in scene.instances)
        assert classes[scene.cosalient_category] == categories[scene.cosalient_category]
        assert set(categories) <= {scene.cosalient_category, DISTRACTOR}
        others = [i.class_name for i in scene.instances if i.category == DISTRACTOR]
        assert len(set(others)) == len(others)
        assert scene.cosalient_category not in others
        groups.add(categories[scene.cosalient_category])
        singles.add(len(others))
        near += len(set(others) & set(siblings(scene.cosalient_category)))
    assert groups == {2, 3, 4, 5, 6}
    assert singles == set(range(distractors[0], distractors[1] + 1))
    assert (near > 0) == (distractors[1] > 0)


def test_no_object_is_hidden_by_more_than_two_fifths():
    hidden = []
    for index in range(25):
        for instance in render_scene(11, index, SceneOptions(size=(180, 240))).instances:
            hidden.append(1 - instance.mask.sum() / instance.full_area)
    assert max(hidden) <= 0.4
    assert max(hidden) > 0.05


def test_distractors_are_as_large_and_as_late_as_the_group():
    sizes = {True: [], False: []}
    order = {True: [], False: []}
    for index in range(60):
        scene = render_scene(13, index, SceneOptions(distractors=(2, 4), size=SMALL))
        n = len(scene.instances)
        mean = np.mean([i.full_area for i in scene.instances])
        for position, instance in enumerate(scene.instances):
            single = instance.category == DISTRACTOR
            sizes[single].append(np.log(instance.full_area / mean))
            order[single].append(position / (n - 1))
    assert abs(np.mean(sizes[True]) - np.mean(sizes[False])) < 0.15
    assert abs(np.mean(order[True]) - np.mean(order[False])) < 0.08


def test_catalogue_has_siblings_and_unlike_instances():
    assert len(CLASSES) >= 24
    assert "green_apple" in siblings("red_apple")
    assert "dotted_ball" in siblings("striped_ball")
    assert "heart_cushion" in siblings("star_cushion")
    assert all(name not in siblings(name) for name in CLASSES)
