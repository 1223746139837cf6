"""Scaling, random object clipping and occlusion on random scenes."""

from __future__ import annotations

import numpy as np
import pytest
from detectron2.data import transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st
from network_data import rectangle_mask, rectangle_polygon, rectangle_rle
from PIL import Image

from cosal_d2.data.aug_input import CoSaliencyAugInput
from cosal_d2.data.augmentations import (
    OcclusionTransform,
    RandomObjectCrop,
    RandomOcclusion,
    ResizeShortestEdge,
)
from cosal_d2.data.mapper import ground_truth
from cosal_d2.data.seeding import numpy_seed

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=40, deadline=None, derandomize=True)


def paint(masks):
    """(H, W, 3) picture that shows the number of the topmost instance of each pixel."""
    picture = np.zeros((*masks.shape[1:], 3), np.uint8)
    for i, mask in enumerate(masks):
        picture[mask > 0] = 10 + i
    return picture


@st.composite
def scenes(draw):
    """Masks (N, H, W), flags (N,) and classes (N,) of 0 to 6 boxes and ellipses that may overlap"""
    height, width = draw(st.integers(60, 100)), draw(st.integers(60, 100))
    count = draw(st.integers(0, 6))
    y, x = np.mgrid[:height, :width] + 0.5
    masks = np.zeros((count, height, width), np.uint8)
    for mask in masks:
        h, w = draw(st.integers(14, 40)), draw(st.integers(14, 40))
        top, left = draw(st.integers(0, height - h)), draw(st.integers(0, width - w))
        if draw(st.booleans()):
            mask[top : top + h, left : left + w] = 1
        else:
            mask[((y - top) / h * 2 - 1) ** 2 + ((x - left) / w * 2 - 1) ** 2 <= 1] = 1
    cosalient = [draw(st.integers(0, 3)) > 0 for _ in range(count)]
    classes = [draw(st.integers(0, 1)) for _ in range(count)]
    return masks, np.array(cosalient, dtype=bool), np.array(classes, dtype=np.int64)


def augment_input(scene):
    masks, cosalient, classes = scene
    return CoSaliencyAugInput(
        paint(masks), instance_masks=masks, cosalient=cosalient, classes=classes
    )


def areas(masks):
    return masks.reshape(len(masks), np.prod(masks.shape[1:], dtype=int)).sum(axis=1, dtype=int)


def chain():
    return T.AugmentationList(
        [
            T.RandomApply(RandomObjectCrop(), 0.7),
            ResizeShortestEdge((56, 80), 160, "choice", interp=Image.NEAREST),
            T.RandomFlip(),
            T.RandomApply(T.FixedSizeCrop((170, 160), pad_value=0), 0.5),
            T.RandomApply(RandomOcclusion(), 0.7),
        ]
    )


@given(scenes(), seeds)
@quick
def test_image_masks_boxes_and_truth_stay_in_step_through_the_whole_chain(scene, seed):
    augmented = augment_input(scene)
    with numpy_seed(seed):
        transforms = chain()(augmented)
    out = ground_truth(augmented)
    targets, truth = out["instances"], out["sem_seg"].numpy()
    masks = targets.gt_masks.tensor.numpy()
    flags = targets.gt_cosalient.numpy()
    assert targets.image_size == augmented.image.shape[:2] == truth.shape
    assert np.array_equal(truth, masks[flags].any(axis=0))
    for mask, box in zip(masks, targets.gt_boxes.tensor.tolist(), strict=True):
        ys, xs = mask.nonzero()
        assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    assert flags.sum() >= min(scene[1].sum(), 2)
    hidden = np.zeros(truth.shape, dtype=bool)
    for transform in transforms.transforms:
        if isinstance(transform, OcclusionTransform):
            hidden = transform.hidden
    assert not augmented.instance_masks[:, hidden].any()
    shown = paint(augmented.instance_masks)
    assert np.array_equal(augmented.image[~hidden], shown[~hidden])


@given(scenes(), seeds, st.sampled_from([0.2, 0.5, 1.0]), st.integers(2, 3))
@quick
def test_a_window_leaves_enough_of_enough_cosalient_objects(scene, seed, share, least):
    masks, cosalient, _ = scene
    augmented = augment_input(scene)
    with numpy_seed(seed):
        RandomObjectCrop((0.4, 0.9), (0.8, 1.25), share, least)(augmented)
    before, after = areas(masks)[cosalient], areas(augmented.instance_masks)[cosalient]
    kept = after > 0
    assert (after[kept] >= share * before[kept]).all()
    if cosalient.any():
        assert kept.sum() >= min(least, len(kept))
    if 0 < cosalient.sum() < least:
        assert np.array_equal(augmented.instance_masks, masks)


def two_squares(size=(80, 100)):
    boxes = [(10, 30, 30, 50), (50, 30, 70, 50)]
    masks = np.stack([rectangle_mask(size, box) for box in boxes])
    return masks, np.array([True, True]), np.array([0, 0])


def test_windows_do_cut_through_objects_and_keep_their_ranges():
    crop = RandomObjectCrop((0.5, 0.9), (0.85, 1.18))
    cut = 0
    with numpy_seed(3):
        for _ in range(30):
            augmented = augment_input(two_squares())
            crop(augmented)
            height, width = augmented.image.shape[:2]
            assert 0.48 < np.sqrt(height * width / 8000) < 0.92
            assert 0.82 < (width / 100) / (height / 80) < 1.22
            cut += (areas(augmented.instance_masks) < 400).any()
    assert 5 < cut < 30


def test_a_picture_without_a_good_window_stays_whole():
    size = (80, 100)
    corners = [rectangle_mask(size, box) for box in [(0, 0, 20, 20), (80, 60, 100, 80)]]
    scene = (np.stack(corners), np.array([True, True]), np.array([0, 0]))
    with numpy_seed(0):
        transform = RandomObjectCrop((0.5, 0.6))(augment_input(scene))
    assert isinstance(transform, T.NoOpTransform)


def test_a_window_never_takes_one_object_each_of_two_groups():
    size = (40, 200)
    boxes = [(10, 10, 30, 30), (50, 10, 70, 30), (110, 10, 130, 30), (150, 10, 170, 30)]
    masks = np.stack([rectangle_mask(size, box) for box in boxes])
    kept = set()
    with numpy_seed(1):
        for _ in range(40):
            augmented = augment_input((masks, np.ones(4, dtype=bool), np.array([0, 0, 1, 1])))
            RandomObjectCrop((0.6, 0.75))(augmented)
            kept.add(tuple((areas(augmented.instance_masks) > 0).tolist()))
    halves = {(True, True, False, False), (False, False, True, True)}
    assert kept & halves and kept <= halves | {(True,) * 4}


def test_an_empty_truth_may_be_cut_but_not_a_lone_crowd():
    size = (60, 60)
    image, crowd = np.zeros((*size, 3), np.uint8), rectangle_mask(size, (5, 5, 50, 20))
    distractor = rectangle_mask(size, (30, 30, 50, 50))[None]
    with numpy_seed(0):
        alone = CoSaliencyAugInput(image, instance_masks=distractor, cosalient=[False])
        assert isinstance(RandomObjectCrop()(alone), T.CropTransform)
        with_crowd = CoSaliencyAugInput(
            image, instance_masks=distractor, cosalient=[False], crowd=crowd
        )
        assert isinstance(RandomObjectCrop()(with_crowd), T.NoOpTransform)


@given(scenes(), seeds, st.sampled_from([0.1, 0.4, 0.8]), st.integers(1, 6))
@quick
def test_no_object_is_hidden_beyond_the_share_and_the_rest_stays(scene, seed, share, patches):
    masks, cosalient, _ = scene
    augmented = augment_input(scene)
    with numpy_seed(seed):
        transform = RandomOcclusion(patches, share)(augmented)
    after = areas(augmented.instance_masks)
    assert (areas(masks) - after <= share * areas(masks)).all()
    if not isinstance(transform, OcclusionTransform):
        assert np.array_equal(augmented.image, paint(masks))
        return
    hidden = transform.hidden
    assert (areas(masks) > after).any()
    assert np.array_equal(augmented.instance_masks, masks * ~hidden)
    assert np.array_equal(augmented.sem_seg, masks[cosalient].any(axis=0) & ~hidden)
    assert np.array_equal(augmented.image[~hidden], paint(masks)[~hidden])


def occluded(fill, seed):
    rng = np.random.default_rng(seed)
    masks, cosalient, classes = two_squares()
    image = rng.integers(0, 100, (80, 100, 3), dtype=np.uint8)
    image[masks.any(axis=0)] = 250
    augmented = CoSaliencyAugInput(image.copy(), instance_masks=masks, cosalient=cosalient)
    with numpy_seed(seed):
        transform = RandomOcclusion(2, 0.4, (fill,))(augmented)
    return image, augmented.image[transform.hidden], augmented.image


@pytest.mark.parametrize("seed", range(5))
def test_fills_are_the_mean_noise_or_a_place_without_objects(seed):
    image, pixels, _ = occluded("mean", seed)
    assert (pixels == image.mean(axis=(0, 1)).astype(np.uint8)).all()
    _, pixels, _ = occluded("noise", seed)
    assert pixels.std() > 40 and len(np.unique(pixels)) > 30
    _, pixels, after = occluded("background", seed)
    assert pixels.max() < 100 and pixels.std() > 15
    assert (after == 250).all(axis=2).sum() >= 0.6 * 800


def test_without_a_free_place_the_background_is_the_mean():
    image = np.full((20, 20, 3), (10, 20, 30), np.uint8)
    augmented = CoSaliencyAugInput(
        image, instance_masks=np.ones((1, 20, 20)), cosalient=[True], classes=[0]
    )
    with numpy_seed(0):
        transform = RandomOcclusion(1, 0.5, ("background",))(augmented)
    assert transform.hidden.any() and (augmented.image == (10, 20, 30)).all()


def test_polygons_rle_and_crowds_become_masks_at_the_pictures_size():
    size, box = (40, 50), (6, 10, 30, 32)
    common = {"bbox": [0, 0, 1, 1], "bbox_mode": 1, "category_id": 3}
    annotations = [
        common | {"segmentation": rectangle_polygon(box)},
        common | {"segmentation": rectangle_rle(size, box), "cosalient": False},
        common | {"segmentation": rectangle_polygon((0, 0, 50, 5)), "iscrowd": 1},
        common
        | {"segmentation": rectangle_polygon((0, 35, 50, 40)), "iscrowd": 1, "cosalient": False},
    ]
    image = np.zeros((*size, 3), np.uint8)
    out = CoSaliencyAugInput.from_annotations(image, annotations)
    mask = rectangle_mask(size, box)
    assert np.array_equal(out.instance_masks, np.stack([mask, mask]))
    assert out.cosalient.tolist() == [True, False] and out.classes.tolist() == [3, 3]
    assert np.array_equal(out.sem_seg, mask | rectangle_mask(size, (0, 0, 50, 5)))
    wrong = common | {"segmentation": rectangle_rle((41, 50), box)}
    with pytest.raises(ValueError, match=r"annotation 1: its RLE has the size \[41, 50\]"):
        CoSaliencyAugInput.from_annotations(image, [annotations[0], wrong])
    with pytest.raises(ValueError, match="annotation 0 has no 'segmentation'"):
        CoSaliencyAugInput.from_annotations(image, [common])


def test_what_does_not_fit_together_is_refused():
    image = np.zeros((20, 30, 3), np.uint8)
    with pytest.raises(ValueError, match=r"must be \(N, H, W\), \(N,\) and \(N,\)"):
        CoSaliencyAugInput(image, instance_masks=np.ones((2, 20, 30)), cosalient=[True])
    with pytest.raises(ValueError, match="use some of noise, mean, background"):
        RandomOcclusion(fills=("blur",))


@pytest.mark.parametrize(
    ("augmentation", "crowd", "share", "may_vanish"),
    [
        (RandomObjectCrop((0.4, 0.9), min_share=0.8), (0, 34, 100, 46), 0.8, True),
        (RandomOcclusion(6, 0.3), (30, 36, 50, 44), 0.7, False),
    ],
)
def test_enough_of_a_crowd_stays(augmentation, crowd, share, may_vanish):
    image, (masks, cosalient, _) = np.zeros((80, 100, 3), np.uint8), two_squares()
    crowd, left = rectangle_mask((80, 100), crowd), []
    before = (crowd & ~masks.any(axis=0)).sum()
    with numpy_seed(2):
        for _ in range(40):
            out = CoSaliencyAugInput(image, instance_masks=masks, cosalient=cosalient, crowd=crowd)
            augmentation(out)
            left.append((out.sem_seg & ~out.instance_masks.any(axis=0)).sum() / before)
    assert min(left) < 1
    assert all(x >= share or (x == 0 and may_vanish) for x in left)


@pytest.mark.parametrize(("height", "width"), [(2, 3000), (3000, 2), (1, 1)])
def test_thin_pictures_keep_at_least_one_pixel_a_side(height, width):
    augmented = T.AugInput(np.full((height, width, 3), 7, dtype=np.uint8))
    T.AugmentationList([ResizeShortestEdge(256, 448)])(augmented)
    assert min(augmented.image.shape[:2]) >= 1
    assert max(augmented.image.shape[:2]) <= 448
    assert (augmented.image == 7).all()


def test_ordinary_pictures_are_resized_as_detectron2_does():
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    ours, theirs = T.AugInput(image), T.AugInput(image)
    T.AugmentationList([ResizeShortestEdge(32, 40)])(ours)
    T.AugmentationList([T.ResizeShortestEdge(32, 40)])(theirs)
    np.testing.assert_array_equal(ours.image, theirs.image)
