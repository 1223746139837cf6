"""Crowds and padding in augmentations: truth without instances, and pixels without truth."""

import numpy as np
from detectron2.data import transforms as T
from network_data import rectangle_mask

from cosal_d2.data.aug_input import CoSaliencyAugInput
from cosal_d2.data.augmentations import RandomObjectCrop, RandomOcclusion
from cosal_d2.data.seeding import numpy_seed


def with_crowd():
    """Two squares with a co-salient crowd between and around them."""
    boxes = [(10, 30, 30, 50), (50, 30, 70, 50)]
    masks = np.stack([rectangle_mask((80, 100), box) for box in boxes])
    crowd = rectangle_mask((80, 100), (0, 34, 100, 46))
    image = np.zeros((80, 100, 3), np.uint8)
    return CoSaliencyAugInput(image, instance_masks=masks, cosalient=[True, True], crowd=crowd)


def crowd_area(augmented):
    return int((augmented.sem_seg & ~augmented.instance_masks.any(axis=0)).sum())


def test_a_window_holds_enough_of_a_crowd():
    before, cut = crowd_area(with_crowd()), 0
    with numpy_seed(2):
        for _ in range(40):
            augmented = with_crowd()
            RandomObjectCrop((0.4, 0.9), min_share=0.8)(augmented)
            after = crowd_area(augmented)
            cut += after < before
            assert after == 0 or after >= 0.8 * before
    assert cut > 0


def test_a_crowd_is_never_hidden_beyond_the_share():
    before, hidden = crowd_area(with_crowd()), 0
    with numpy_seed(4):
        for _ in range(40):
            augmented = with_crowd()
            RandomOcclusion(6, 0.06)(augmented)
            after = crowd_area(augmented)
            hidden += after < before
            assert before - after <= 0.06 * before
    assert hidden > 0


def test_padding_is_no_object():
    augmented = with_crowd()
    masks, truth = augmented.instance_masks, augmented.sem_seg
    T.FixedSizeCrop((120, 130))(augmented)
    padded = np.pad(masks, ((0, 0), (0, 40), (0, 30)))
    assert np.array_equal(augmented.instance_masks, padded)
    assert np.array_equal(augmented.sem_seg, np.pad(truth, ((0, 40), (0, 30))))
    assert augmented.sem_seg.dtype == augmented.instance_masks.dtype == np.uint8
