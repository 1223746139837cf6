"""The resize keeps a pixel of every picture."""

from __future__ import annotations

import numpy as np
import pytest
from detectron2.data import transforms as T

from cosal_d2.data.transforms import ResizeShortestEdge


@pytest.mark.parametrize(("height", "width"), [(2, 3000), (3000, 2), (1, 1)])
def test_thin_pictures_keep_at_least_one_pixel_a_side(height: int, width: int) -> None:
    augmented = T.AugInput(np.full((height, width, 3), 7, dtype=np.uint8))
    T.AugmentationList([ResizeShortestEdge(256, 448)])(augmented)
    assert min(augmented.image.shape[:2]) >= 1
    assert max(augmented.image.shape[:2]) <= 448
    assert (augmented.image == 7).all()


def test_ordinary_pictures_are_resized_as_detectron2_does() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    ours, theirs = T.AugInput(image), T.AugInput(image)
    T.AugmentationList([ResizeShortestEdge(32, 40)])(ours)
    T.AugmentationList([T.ResizeShortestEdge(32, 40)])(theirs)
    np.testing.assert_array_equal(ours.image, theirs.image)
