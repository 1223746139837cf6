"""Keys, shipped configs, and what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectron2.config import get_cfg
from network_data import GROUPED, tiny_config

from cosal_d2.config import config_folder, find_config, get_cosal_config
from cosal_d2.data.augmentations import build_object_crop, build_occlusion

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted(p.stem for p in Path(config_folder()).glob("*.yaml"))
METHODS = sorted(f"methods/{p.stem}" for p in Path(config_folder()).glob("methods/*.yaml"))


@pytest.mark.parametrize("name", [*SHIPPED, *METHODS])
def test_every_shipped_config_passes_its_own_checks(name):
    cfg = get_cosal_config(name)
    assert cfg.MODEL.META_ARCHITECTURE == "CoSaliencyNet"
    assert cfg.INPUT.FORMAT == "BGR"
    # An extension of the released recipe that the paper's do not have.
    grouped = ("Base-Released", "cosal_r50", "cosal_vgg16")
    assert (name in grouped) == cfg.MODEL.GROUPING.ENABLED


def test_the_online_config_is_the_papers_recipe():
    cfg = get_cosal_config("cosal_vgg16_online.yaml")
    assert cfg.MODEL.ANCHOR_GENERATOR.SIZES == [[128, 256, 512]]
    assert cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS == [[0.5, 1.0, 2.0]]
    assert (cfg.MODEL.RPN.BBOX_REG_LOSS_TYPE, cfg.MODEL.RPN.SMOOTH_L1_BETA) == ("smooth_l1", 1.0)
    assert cfg.MODEL.BACKBONE.FREEZE_AT == 5
    rfm = cfg.MODEL.RFM
    assert rfm.SAMPLER == "OnlineSampler"
    assert (rfm.NUM_POSITIVES, rfm.NUM_NEGATIVES, rfm.NUM_TRIPLETS) == (32, 96, 128)
    assert (tuple(rfm.REGION_SIDES), tuple(rfm.REGION_ASPECTS)) == ((128.0, 512.0), (0.5, 2.0))
    assert (rfm.POOLER_RESOLUTION, rfm.POOLER_SAMPLING_RATIO) == (7, 2)
    assert (rfm.LOSS_WEIGHT, cfg.MODEL.RPN.LOSS_WEIGHT, cfg.MODEL.DECODER.LOSS_WEIGHT) == (1, 1, 1)
    assert cfg.MODEL.DECODER.IOU_LOSS_WEIGHT == 0
    solver = cfg.SOLVER
    assert (solver.OPTIMIZER, solver.IMS_PER_BATCH, solver.MAX_ITER) == ("SGD", 1, 80000)
    assert (solver.BASE_LR, solver.WEIGHT_DECAY, solver.STEPS) == (1e-5, 1e-4, (30000,))
    assert pytest.approx(0.1) == solver.GAMMA
    assert (cfg.INPUT.OBJECT_CROP.PROB, cfg.INPUT.OCCLUSION.PROB) == (0.5, 0.3)


def test_the_unet_config_is_its_twin_without_the_branch():
    unet, twin = get_cosal_config("cosal_vgg16_unet.yaml"), get_cosal_config("cosal_vgg16.yaml")
    for key in ("MODEL.RELEASED", "OUTPUT_DIR"):
        twin.merge_from_list([key, ""])
        unet.merge_from_list([key, ""])
    twin.merge_from_list(["MODEL.RFM.SAMPLER", "", "MODEL.GROUPING.ENABLED", "False"])
    assert unet == twin


def test_the_released_networks_share_one_recipe():
    r50, vgg16 = get_cosal_config("cosal_r50.yaml"), get_cosal_config("cosal_vgg16.yaml")
    for part in ("SOLVER", "DATASETS", "INPUT", "DATALOADER", "SEED"):
        assert r50[part] == vgg16[part]
    assert r50.MODEL.RFM == vgg16.MODEL.RFM


def test_detectron2s_defaults_stay_as_they_are():
    tiny_config()
    assert "RFM" not in get_cfg().MODEL and "OPTIMIZER" not in get_cfg().SOLVER


def test_pairs_override_the_file_and_a_file_may_have_a_base(tmp_path):
    mine = tmp_path / "mine.yaml"
    base = find_config("cosal_vgg16")
    mine.write_text(f'_BASE_: "{base}"\nMODEL:\n  RFM:\n    MARGIN: 0.25\n')
    cfg = get_cosal_config(str(mine), ["SOLVER.MAX_ITER", "7"])
    assert (cfg.MODEL.RFM.MARGIN, cfg.SOLVER.MAX_ITER) == (0.25, 7)
    assert cfg.SOLVER.OPTIMIZER == "ADAMW"
    assert find_config("cosal_vgg16.yaml") == base
    known = "nothing.yaml.*cosal_vgg16_online.yaml.*, methods/rfcn.yaml"
    with pytest.raises(FileNotFoundError, match=known):
        find_config("nothing.yaml")


def test_a_base_is_a_file_beside_or_a_shipped_config(tmp_path):
    (tmp_path / "first.yaml").write_text('_BASE_: "quickstart.yaml"\nSEED: 7\n')
    (tmp_path / "second.yaml").write_text('_BASE_: "first.yaml"\nMODEL:\n  DEVICE: "cpu"\n')
    expected = get_cosal_config("quickstart.yaml", ["SEED", "7", "MODEL.DEVICE", "cpu"])
    assert get_cosal_config(str(tmp_path / "second.yaml")) == expected
    (tmp_path / "first.yaml").write_text('_BASE_: "methods/rfcn.yaml"\nSEED: 7\n')
    expected = get_cosal_config("methods/rfcn", ["SEED", "7", "MODEL.DEVICE", "cpu"])
    assert get_cosal_config(str(tmp_path / "second.yaml")) == expected
    (tmp_path / "first.yaml").write_text('_BASE_: "nothing.yaml"\n')
    with pytest.raises(FileNotFoundError, match="no config file 'nothing.yaml'"):
        get_cosal_config(str(tmp_path / "second.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MODEL: [\n", "expected the node content"),
        ("MODEL:\n  NOPE: 1\n", "Non-existent config key: MODEL.NOPE"),
        ("SOLVER:\n  MAX_ITER: many\n", "Type mismatch.*SOLVER.MAX_ITER"),
        ("words\n", ""),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path, text, message):
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    with pytest.raises(ValueError, match=f"config file .*mine.yaml: .*{message}"):
        get_cosal_config(str(mine))


@pytest.mark.parametrize("name", ["mine.yaml", "ablation/7_online_augmented.yaml"])
def test_a_file_without_a_base_does_not_build_detectron2s_network(tmp_path, name):
    mine = tmp_path / name
    if mine.parent == tmp_path:
        mine.write_text("SOLVER:\n  MAX_ITER: 7\n")
    else:
        mine = Path(config_folder()) / name
    with pytest.raises(ValueError, match=f"{mine.name}: .*default, GeneralizedRCNN: .*_BASE_"):
        get_cosal_config(str(mine))


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
    quick = get_cosal_config("quickstart.yaml")
    assert build_object_crop(quick) == build_occlusion(quick) == []


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (["MODEL.NOPE", "1"], "config changes .*: .*MODEL.NOPE"),
        (["SEED", "1", "--resume"], "--resume: options go before the config changes"),
        (["MODEL.DTYPE"], "config changes .*: Override list has odd length"),
        (["MODEL.DTYPE", "float64"], "MODEL.DTYPE is 'float64'; use one of float32, bfloat16"),
        (["TEST.MEASURES", "most"], "TEST.MEASURES is 'most'; use one of paper, fast, all"),
        (["SOLVER.OPTIMIZER", "LION"], "SOLVER.OPTIMIZER is 'LION'; use one of SGD, ADAMW"),
        (["SOLVER.AMP.ENABLED", "True"], "SOLVER.AMP.ENABLED is not used here"),
        (["MODEL.RPN.BBOX_REG_LOSS_TYPE", "giou"], "MODEL.RPN.BBOX_REG_LOSS_TYPE is 'giou'"),
        (["MODEL.FEATURE_SENSITIVE.ENABLED", "False"], "needs the feature-sensitive block"),
        (
            [*GROUPED, "MODEL.RFM.SAMPLER", "OfflineSampler"],
            'GROUPING compares RPN\'s regions.* set "OnlineSampler"',
        ),
        ([*GROUPED, "MODEL.RFM.SAMPLER", ""], "or MODEL.GROUPING.ENABLED False"),
        (
            [*GROUPED, "MODEL.GROUPING.MASK_LATERAL", "12"],
            "MASK_LATERAL is 12; use a multiple of 8",
        ),
        ([*GROUPED, "MODEL.GROUPING.MASK_LATERAL", "0"], "MASK_LATERAL is 0; use a multiple of 8"),
        (
            [*GROUPED, "MODEL.GROUPING.ODD_COLOUR_WEIGHT", "-0.2"],
            "ODD_COLOUR_WEIGHT is -0.2; use 0.0 or more",
        ),
        (["MODEL.DECODER.NUM_CONVS", "(1, 1)"], "one entry a level.*'NUM_CONVS': 2"),
    ],
)
def test_what_cannot_be_built_is_refused_by_key(opts, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(*opts)


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
        ("COMPOSITES.PROB", "1.1", "a probability"),
        ("COMPOSITES.NO_GROUP", "-0.1", "a share, 0 to 1"),
        ("COMPOSITES.TWO_GROUPS", "1.5", "a share, 0 to 1"),
        ("COMPOSITES.PASTE_PROB", "2.0", "a probability"),
        ("COMPOSITES.OBJECTS", "(1, 4)", "2 to 12 objects"),
        ("COMPOSITES.OBJECTS", "(2, 13)", "2 to 12 objects"),
        ("COMPOSITES.OBJECTS", "(5, 4)", "2 to 12 objects"),
        ("COMPOSITES.OBJECTS", "(2.5, 4)", "2 to 12 objects"),
        ("COMPOSITES.DISTRACTORS", "(-1, 4)", "0 to 12 objects"),
        ("COMPOSITES.DISTRACTORS", "(3,)", "0 to 12 objects"),
    ],
)
def test_augmentations_that_cannot_be_built_are_refused_by_key(key, value, wanted):
    with pytest.raises(ValueError, match=rf"INPUT\.{key} is .*; make it .*{wanted}"):
        tiny_config(f"INPUT.{key}", value)


@pytest.mark.parametrize(("available", "device"), [(False, "cpu"), (True, "cuda")])
def test_cuda_falls_back_to_the_cpu_where_there_is_none(monkeypatch, available, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert device == get_cosal_config("cosal_vgg16.yaml").MODEL.DEVICE


def test_importing_the_config_module_loads_neither_torch_nor_detectron2():
    code = "import sys, cosal_d2.config; print({'torch', 'detectron2'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
