"""What a result says of a picture."""

import cv2
import numpy as np
import pytest
from prediction_data import GROUPS, annotated, result, rows

from cosal_d2.config import RESULTS
from cosal_d2.utils import object_instances


def noise(height=48, width=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def stripes():
    """Five upright stripes of 8 x 12 pixels, three of one group and two of another."""
    return result(noise(12, 40))


def test_a_mask_is_cut_at_a_threshold_or_at_twice_the_maps_mean(stripes):
    p = np.linspace(0, 1, 480, dtype=np.float32).reshape(12, 40)
    assert np.array_equal(stripes.mask(0.25), p >= 0.25)
    assert stripes.mask().sum() == 1  # twice the mean is 1
    assert stripes.mask(0.0).sum() == 479  # where the map is 0 nothing is shown
    stripes.map[:] = 0
    assert not stripes.mask().any()


def test_groups_are_the_largest_first_with_their_counts(stripes):
    assert stripes.counts == [3, 2] and stripes.count == 3
    assert [len(group) for group in stripes.groups] == [3, 2]
    assert stripes.groups[1].scores.tolist() == stripes.instances.scores[3:].tolist()
    nothing = result(noise(), groups=())
    assert (nothing.count, nothing.counts, nothing.groups, nothing.objects()) == (0, [], [], [])


def test_a_cutout_is_as_opaque_as_the_map(stripes):
    cutout = stripes.cutout()
    assert cutout.dtype == np.uint8
    assert np.array_equal(cutout[:, :, :3], stripes.image)
    assert np.abs(cutout[:, :, 3] - 255 * stripes.map).max() <= 0.5


def test_an_object_is_cut_to_its_box(stripes):
    cut = stripes.objects()
    assert [x.shape for x in cut] == [(12, 8, 4)] * 5
    for i, pixels in enumerate(cut):
        assert np.array_equal(pixels[:, :, :3], stripes.image[:, 8 * i : 8 * i + 8])
        assert (pixels[:, :, 3] == 255).all()


def test_a_result_is_saved_under_a_name(stripes, tmp_path):
    paths = stripes.save(tmp_path / "a" / "b")
    assert [path.name for path in paths] == ["picture_map.png", "picture_overlay.png"]
    assert np.array_equal(cv2.imread(str(paths[1])), stripes.overlay())
    folder = tmp_path / "all"
    first = stripes.save(folder, RESULTS, "x.jpg")
    assert sorted(first) == sorted(folder.iterdir()) and folder / "x_object_05.png" in first
    fewer = result(stripes.image, groups=(0, 0)).save(folder, ["objects", "json", "csv"], "y.jpg")
    assert [path.name for path in fewer] == [
        *("y_object_01.png", "y_object_02.png", "objects.json", "objects.jsonl", "counts.csv")
    ]
    assert annotated(folder) == {"x.jpg": 5, "y.jpg": 2}  # what was there before stays
    assert [row["name"] for row in rows(folder)] == ["x.jpg", "y.jpg"]


def test_each_group_is_outlined_in_its_own_colour(stripes):
    plain = result(stripes.image, groups=()).overlay()
    drawn = stripes.overlay()
    assert drawn.shape == plain.shape and drawn.dtype == np.uint8
    changed = (drawn != plain).any(axis=2)
    first, second = drawn[5, 0], drawn[5, 39]
    assert changed[5, 0] and changed[5, 39] and (first != second).any()
    assert len(GROUPS) == 5 and not changed[5, 4]


def test_many_objects_of_a_large_picture_are_worked_on_in_their_boxes(monkeypatch):
    """All results of 300 objects look at each pixel a few times, not once an object."""
    looked = []
    inside = object_instances.DisjointMasks.__getitem__

    def look(masks, item):
        found = inside(masks, item)
        looked.append(found.size)
        return found

    monkeypatch.setattr(object_instances.DisjointMasks, "__getitem__", look)
    found = result(np.zeros((500, 3000, 3), np.uint8), groups=(0,) * 300)
    assert len(found.objects()) == len(found.to_coco()["annotations"]) == 300
    found.overlay()
    assert sum(looked) == 3 * found.map.size
