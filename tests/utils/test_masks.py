"""Run-length masks of any kind, sound and corrupt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from cosal_d2.utils.masks import mask_rle, to_rle


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


@pytest.mark.parametrize("counts", ["zzzz~~~", "", "0", "abc", "P", "é", "o" * 30, "oooo0"])
def test_corrupt_counts_are_refused(counts):
    with pytest.raises(ValueError, match="segmentation"):
        to_rle({"size": [320, 400], "counts": counts}, 320, 400)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e12])
def test_corners_that_are_nowhere_are_refused(value):
    with pytest.raises(ValueError, match="far outside"):
        to_rle([[1, 1, 9, 1, 9, value]], 20, 30)
