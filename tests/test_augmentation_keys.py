"""Keys of random object clipping and occlusion."""

from __future__ import annotations

import pytest
from detectron2.config import get_cfg
from detectron2.data import transforms as T
from network_data import tiny_config

from cosal_d2.config import add_cosal_config, get_cosal_config
from cosal_d2.data.augmentations import RandomObjectCrop, RandomOcclusion
from cosal_d2.data.transforms import build_object_crop, build_occlusion


def test_both_are_off_by_default_and_on_in_the_recipes():
    plain = get_cfg()
    add_cosal_config(plain)
    quick = get_cosal_config("quickstart.yaml")
    for cfg in (plain, quick):
        assert build_object_crop(cfg) == build_occlusion(cfg) == []
    for name in ("cosal_vgg16_online.yaml", "cosal_vgg16_cpu.yaml", "cosal_vgg16_unet.yaml"):
        cfg = get_cosal_config(name)
        (crop,), (occlusion,) = build_object_crop(cfg), build_occlusion(cfg)
        assert isinstance(crop, T.RandomApply) and isinstance(occlusion, T.RandomApply)
        assert isinstance(crop.aug, RandomObjectCrop)
        assert isinstance(occlusion.aug, RandomOcclusion)


def test_the_keys_reach_the_augmentations():
    cfg = tiny_config(
        *("INPUT.OBJECT_CROP.PROB", "0.2", "INPUT.OBJECT_CROP.SIZES", "(0.6, 0.7)"),
        *("INPUT.OBJECT_CROP.ASPECTS", "(1.0, 1.1)", "INPUT.OBJECT_CROP.MIN_SHARE", "0.9"),
        *("INPUT.OBJECT_CROP.MIN_OBJECTS", "3", "INPUT.OCCLUSION.PROB", "0.4"),
        *("INPUT.OCCLUSION.MAX_PATCHES", "5", "INPUT.OCCLUSION.MAX_SHARE", "0.2"),
        *("INPUT.OCCLUSION.FILLS", "('mean',)"),
    )
    (crop,), (occlusion,) = build_object_crop(cfg), build_occlusion(cfg)
    assert (crop.prob, occlusion.prob) == (0.2, 0.4)
    crop, occlusion = crop.aug, occlusion.aug
    assert (crop.sizes, crop.aspects) == ((0.6, 0.7), (1.0, 1.1))
    assert (crop.min_share, crop.min_objects) == (0.9, 3)
    assert (occlusion.max_patches, occlusion.max_share) == (5, 0.2)
    assert occlusion.fills == ("mean",)


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("OBJECT_CROP.PROB", "1.5", "a probability"),
        ("OBJECT_CROP.SIZES", "(0.5, 1.2)", "inside"),
        ("OBJECT_CROP.SIZES", "(0.9, 0.5)", "inside"),
        ("OBJECT_CROP.ASPECTS", "(0.0, 1.0)", "above 0"),
        ("OBJECT_CROP.ASPECTS", "(1.0,)", "above 0"),
        ("OBJECT_CROP.MIN_SHARE", "0.0", "above 0 and at most 1"),
        ("OBJECT_CROP.MIN_OBJECTS", "1", "2 or more"),
        ("OCCLUSION.PROB", "-0.1", "a probability"),
        ("OCCLUSION.MAX_PATCHES", "0", "1 or more"),
        ("OCCLUSION.MAX_SHARE", "1.0", "between 0 and 1"),
        ("OCCLUSION.FILLS", "()", "noise, mean, background"),
        ("OCCLUSION.FILLS", "('blur',)", "noise, mean, background"),
    ],
)
def test_unusable_values_are_refused_by_key(key, value, wanted):
    with pytest.raises(ValueError, match=rf"INPUT\.{key} is .*; make it .*{wanted}"):
        tiny_config(f"INPUT.{key}", value)
