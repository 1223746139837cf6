"""What the network gets of a picture: pixels, masks, boxes and truth, in step."""

import copy

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from network_data import rectangle_mask, rectangle_polygon, tiny_config

from cosal_d2.data import CoSaliencyMapper
from cosal_d2.data.aug_input import CoSaliencyAugInput
from cosal_d2.data.mapper import ground_truth
from cosal_d2.utils.pictures import read_image


def annotation(segmentation, box, cosalient=True, **extra):
    x0, y0, x1, y1 = box
    return {
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "bbox_mode": 1,
        "category_id": 0,
        "segmentation": segmentation,
        "iscrowd": 0,
        "cosalient": cosalient,
    } | extra


def uncut_config(*opts):
    return tiny_config("INPUT.OBJECT_CROP.PROB", "0.0", "INPUT.OCCLUSION.PROB", "0.0", *opts)


def seeded(record, seed=0, batch_seed=0):
    return record | {"seed": seed, "batch_seed": batch_seed}


def truth_of(annotations, transforms=(), size=(40, 50)):
    augmented = CoSaliencyAugInput.from_annotations(np.zeros((*size, 3), np.uint8), annotations)
    T.AugmentationList(transforms)(augmented)
    return ground_truth(augmented)


def bounds(mask):
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


@pytest.fixture
def records(dataset):
    return DatasetCatalog.get(dataset)


def plain_mapper(is_train=True, **changes):
    arguments = {"resize": [T.NoOpTransform()], "augmentations": []}
    return CoSaliencyMapper(is_train=is_train, **(arguments | changes))


def test_without_augmentation_masks_boxes_and_truth_are_those_of_the_json(records):
    for i, record in enumerate(records):
        out = plain_mapper()(seeded(record))
        size = (record["height"], record["width"])
        boxes = [(3, 4 + i, 19, 22), (25, 24, 45, 42), (27, 3, 42, 16)]
        masks = np.stack([rectangle_mask(size, b) for b in boxes]).astype(bool)
        targets = out["instances"]
        assert targets.image_size == size
        assert np.array_equal(targets.gt_masks.tensor.numpy(), masks)
        assert targets.gt_boxes.tensor.tolist() == [list(map(float, b)) for b in boxes]
        assert targets.gt_classes.tolist() == [0, 0, 1]
        assert targets.gt_cosalient.tolist() == [True, True, False]
        assert out["sem_seg"].dtype == torch.uint8
        assert np.array_equal(out["sem_seg"].numpy(), masks[:2].any(0))
        expected = read_image(record["file_name"]).transpose(2, 0, 1)
        assert out["image"].dtype == torch.uint8 and np.array_equal(out["image"].numpy(), expected)
        assert "annotations" not in out


STILL = ("INPUT.COLOR_JITTER.STRENGTH", "0.0", "INPUT.COLOR_JITTER.GRAY_PROB", "0.0")
CHANGING = (
    *("INPUT.OBJECT_CROP.PROB", "0.5", "INPUT.OCCLUSION.PROB", "1.0"),
    *("INPUT.MIN_SIZE_TRAIN", "(48,)", "INPUT.OCCLUSION.FILLS", "('mean',)", *STILL),
)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("index", [0, 1])  # RLE and polygons
@pytest.mark.parametrize("opts", [STILL, CHANGING], ids=["whole", "cut and hidden"])
def test_masks_boxes_truth_and_picture_stay_in_step(records, opts, index, seed):
    out = CoSaliencyMapper(tiny_config(*opts), True)(seeded(records[index], seed, seed + 100))
    targets, image = out["instances"], out["image"].numpy().astype(int)
    assert targets.image_size == image.shape[1:]
    masks = targets.gt_masks.tensor.numpy()
    for mask, box in zip(masks, targets.gt_boxes.tensor.tolist(), strict=True):
        assert box == bounds(mask)
    truth = out["sem_seg"].numpy()
    assert targets.gt_cosalient.sum() == 2
    assert np.array_equal(truth, masks[targets.gt_cosalient.numpy()].any(0))
    # The objects are the only bright red things, so the picture itself tells where they are.
    seen = image[2] > 185
    wrong = (seen != truth.astype(bool)).mean()
    assert wrong < 0.06 and (seen & (truth == 1)).sum() / truth.sum() > 0.9


def test_flips_and_scales_do_occur(records):
    mapper = CoSaliencyMapper(uncut_config(), True)
    outs = [mapper(seeded(records[0], s, s)) for s in range(12)]
    assert {tuple(o["image"].shape[1:]) for o in outs} == {(48, 64), (64, 85)}
    left = {float(o["instances"].gt_boxes.tensor[0, 0]) / o["image"].shape[2] < 0.3 for o in outs}
    assert left == {True, False}
    mapper = CoSaliencyMapper(uncut_config("INPUT.MIN_SIZE_TRAIN_SAMPLING", "range"), True)
    sides = {min(mapper(seeded(records[0], s, s))["image"].shape[1:]) for s in range(12)}
    assert len(sides) > 3 and min(sides) >= 48 and max(sides) <= 64


def test_it_is_a_function_of_the_seeds_and_leaves_numpys_generator_alone(records):
    mapper = CoSaliencyMapper(tiny_config(), True)
    before = copy.deepcopy(records)
    np.random.seed(1)
    first = mapper(seeded(records[0], 5, 6))
    draw = np.random.random()
    np.random.seed(1)
    assert np.random.random() == draw
    second = mapper(seeded(records[0], 5, 6))
    for key in ("image", "sem_seg"):
        assert torch.equal(first[key], second[key])
    assert torch.equal(first["instances"].gt_boxes.tensor, second["instances"].gt_boxes.tensor)
    others = [mapper(seeded(records[0], s, 6)) for s in range(6, 12)]
    assert len({min(o["image"].shape[1:]) for o in [first, *others]}) == 1
    assert any(not torch.equal(o["image"], first["image"]) for o in others)
    assert records == before


def test_what_has_no_pixel_takes_no_part():
    size, box, gone = (40, 50), (6, 10, 30, 32), (60, 5, 70, 12)
    annotations = [
        annotation(rectangle_polygon(gone), gone),
        annotation(rectangle_polygon(box), box, cosalient=False),
    ]
    out = truth_of(annotations)
    assert out["instances"].gt_cosalient.tolist() == [False]
    assert out["sem_seg"].sum() == 0
    for none in ([], annotations[:1]):  # nothing annotated, nothing visible
        out = truth_of(none)
        assert len(out["instances"]) == 0 and out["instances"].gt_masks.tensor.shape == (0, 40, 50)
        assert out["sem_seg"].shape == size and out["sem_seg"].sum() == 0
        assert out["instances"].gt_cosalient.dtype == torch.bool


def test_at_test_time_there_is_no_truth_and_no_flip(records):
    out = CoSaliencyMapper(tiny_config(), False)(records[0])
    assert (out["height"], out["width"]) == (48, 64)
    assert out["image"].shape == (3, 64, 85)
    assert not {"instances", "sem_seg", "annotations"} & set(out)


def test_at_test_time_the_first_co_salient_object_can_be_the_exemplar(records):
    mapper = CoSaliencyMapper(tiny_config("TEST.EXEMPLARS", "True"), False)
    record = copy.deepcopy(records[0])  # 64x48 becomes 85x64
    record["annotations"].insert(0, {**record["annotations"][-1], "iscrowd": 1, "cosalient": True})
    assert mapper(record)["exemplar"].tolist() == pytest.approx([4, 16 / 3, 25.3, 29.3], rel=0.01)
    record["annotations"] = record["annotations"][-1:]  # the distractor
    assert "exemplar" not in mapper(record)


def test_rgb_input_swaps_the_channels(records):
    bgr = plain_mapper()(seeded(records[0]))["image"]
    rgb = plain_mapper(image_format="RGB")(seeded(records[0]))["image"]
    assert torch.equal(bgr.flip(0), rgb)
    with pytest.raises(ValueError, match="INPUT.FORMAT is 'YUV-BT.601'; use BGR or RGB"):
        plain_mapper(image_format="YUV-BT.601")


def test_colour_jitter_changes_colours_but_no_shape(records):
    off = uncut_config("INPUT.RANDOM_FLIP", "none")
    on = CoSaliencyMapper(off, True)(seeded(records[0], 3, 4))
    off.INPUT.COLOR_JITTER.STRENGTH = off.INPUT.COLOR_JITTER.GRAY_PROB = 0.0
    plain = CoSaliencyMapper(off, True)(seeded(records[0], 3, 4))
    assert on["image"].shape == plain["image"].shape
    assert not torch.equal(on["image"], plain["image"])
    assert torch.equal(on["sem_seg"], plain["sem_seg"])
    off.INPUT.COLOR_JITTER.GRAY_PROB = 1.0
    grey = CoSaliencyMapper(off, True)(seeded(records[0], 3, 4))["image"].int()
    assert (grey.amax(0) - grey.amin(0)).max() <= 1


def test_a_picture_of_another_size_than_the_jsons_is_refused(records):
    with pytest.raises(utils.SizeMismatchError, match="0.png"):
        plain_mapper()(seeded(records[0] | {"height": 50}))


def test_crop_and_flip_are_drawn_apart_from_each_other(records):
    options = ("INPUT.OCCLUSION.PROB", "0.0", "INPUT.OBJECT_CROP.MIN_SHARE", "0.1")
    mapper = CoSaliencyMapper(tiny_config(*CHANGING, *options), True)
    plain = CoSaliencyMapper(uncut_config(*CHANGING[4:]), True)
    kinds = set()
    for seed in range(24):
        out, uncut = (m(seeded(records[0], seed)) for m in (mapper, plain))
        left = uncut["instances"].gt_boxes.tensor[0, 0] < 10
        kinds.add((bool(left), torch.equal(out["sem_seg"], uncut["sem_seg"])))
    assert len(kinds) == 4


def test_an_annotation_that_cannot_be_drawn_is_named_with_its_file(records):
    bare = {k: v for k, v in records[0]["annotations"][0].items() if k != "segmentation"}
    with pytest.raises(ValueError, match=r"0\.png: annotation 0 has no 'segmentation'"):
        plain_mapper()(seeded(records[0] | {"annotations": [bare]}))
