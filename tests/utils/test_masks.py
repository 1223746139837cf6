"""Run-length masks of any kind, sound and corrupt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from cosal_d2.utils.masks import boxed_mask_rle, mask_rle, to_rle


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 60),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_every_sound_mask_is_accepted(height, width, scale, share, seed):
    mask = np.random.default_rng(seed).random((height, width)) < share
    mask = np.kron(mask, np.ones((scale, 1), bool))
    rle = mask_rle(mask)
    found = to_rle({"size": [*mask.shape], "counts": rle["counts"].decode()}, *mask.shape)
    np.testing.assert_array_equal(coco_mask.decode(found), mask)


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(*[st.integers(0, 4)] * 4),
    st.sampled_from([0, 0.3, 0.8, 1]),
    st.integers(0, 2**32 - 1),
)
def test_a_mask_in_its_box_has_the_run_lengths_of_the_whole_picture(size, margins, share, seed):
    (h, w), (left, top, right, bottom) = size, margins
    mask = np.random.default_rng(seed).random((h, w)) < share
    whole = np.pad(mask, ((top, bottom), (left, right)))
    assert boxed_mask_rle(mask, (left, top), *whole.shape) == mask_rle(whole)


@pytest.mark.parametrize("counts", ["zzzz~~~", "", "0", "abc", "P", "é", "o" * 30, "oooo0"])
def test_corrupt_counts_are_refused(counts):
    with pytest.raises(ValueError, match="segmentation"):
        to_rle({"size": [320, 400], "counts": counts}, 320, 400)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e12])
def test_corners_that_are_nowhere_are_refused(value):
    with pytest.raises(ValueError, match="far outside"):
        to_rle([[1, 1, 9, 1, 9, value]], 20, 30)


@pytest.mark.parametrize(
    "rle",
    [
        {"size": (2, 2), "counts": np.array([4])},
        {"size": np.array([2, 2]), "counts": b"4"},
        {"size": [np.int64(2), 2], "counts": [np.uint32(4), 0]},
    ],
)
def test_rle_of_tuples_and_numpy_is_read(rle):
    assert not coco_mask.area(to_rle(rle, 2, 2))


@pytest.mark.parametrize(
    ("rle", "words"),
    [
        ({"counts": [4]}, "its `size` is None, not height and width"),
        ({"size": ["a", 2], "counts": [4]}, r"its `size` is \['a', 2\], not height and width"),
        ({"size": [0, 2], "counts": [0]}, r"its `size` is \[0, 2\], not height"),
        ({"size": [2, 2]}, "its `counts` are None, not run lengths"),
        ({"size": [2, 2], "counts": ["1", "x"]}, r"its `counts` are \['1', 'x'\], not run"),
        ({"size": [2, 2], "counts": [1.5, 2.5]}, r"its `counts` are \[1.5, 2.5\], not run"),
        ({"size": [2, 2], "counts": [True, 3]}, "its `counts` are"),
    ],
)
def test_what_rle_lacks_is_named(rle, words):
    with pytest.raises(ValueError, match=f"segmentation.*{words}"):
        to_rle(rle, 2, 2)
