import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectron2.config import get_cfg
from network_data import GROUPED, tiny_config

from cosal_d2.config import config_folder, find_config, get_cosal_config

SHIPPED = sorted(p.name for p in Path(config_folder()).glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_passes_its_own_checks(name):
    cfg = get_cosal_config(name)
    assert cfg.MODEL.META_ARCHITECTURE == "CoSaliencyNet"
    assert cfg.INPUT.FORMAT == "BGR" and list(cfg.MODEL.PIXEL_STD) == [1.0, 1.0, 1.0]


def test_online_config_is_the_papers_recipe():
    cfg = get_cosal_config("cosal_vgg16_online.yaml")
    assert cfg.MODEL.ANCHOR_GENERATOR.SIZES == [[128, 256, 512]]
    assert cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS == [[0.5, 1.0, 2.0]]
    assert (cfg.MODEL.RPN.BBOX_REG_LOSS_TYPE, cfg.MODEL.RPN.SMOOTH_L1_BETA) == ("smooth_l1", 1.0)
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


def test_unet_config_is_the_cpu_config_without_the_branch():
    unet, cpu = (get_cosal_config(f"cosal_vgg16_{n}.yaml") for n in ("unet", "cpu"))
    assert unet.MODEL.RFM.SAMPLER == ""
    cpu.merge_from_list(
        [
            "MODEL.RFM.SAMPLER",
            "",
            "MODEL.RELEASED",
            unet.MODEL.RELEASED,
            "OUTPUT_DIR",
            unet.OUTPUT_DIR,
        ]
        + ["MODEL.GROUPING.ENABLED", "False"]
    )
    assert unet == cpu


def test_what_the_released_recipe_continues_fits_its_network():
    cpu, paper = (get_cosal_config(f"cosal_vgg16_{n}.yaml") for n in ("cpu", "cpu_paper"))
    assert paper.MODEL.RFM.SAMPLER == "OnlineSampler" and paper.MODEL.RELEASED == ""
    for part in ("VGG", "FEATURE_SENSITIVE", "DECODER"):
        assert paper.MODEL[part] == cpu.MODEL[part]
    cpu.MODEL.RFM.REGION_SIDES = paper.MODEL.RFM.REGION_SIDES
    assert paper.MODEL.RFM == cpu.MODEL.RFM
    anchors = [cfg.MODEL.ANCHOR_GENERATOR for cfg in (cpu, paper)]
    assert len({(len(x.SIZES[0]), len(x.ASPECT_RATIOS[0])) for x in anchors}) == 1


@pytest.mark.parametrize("name", SHIPPED)
def test_grouping_is_on_in_the_released_recipe_and_off_in_the_papers(name):
    grouped = get_cosal_config(name).MODEL.GROUPING.ENABLED
    assert grouped == (name == "cosal_vgg16_cpu.yaml")


def test_detectron2s_defaults_stay_as_they_are():
    tiny_config()
    assert "RFM" not in get_cfg().MODEL and "OPTIMIZER" not in get_cfg().SOLVER


def test_pairs_override_the_file_and_a_file_may_have_a_base(tmp_path):
    base = find_config("cosal_vgg16_cpu.yaml")
    mine = tmp_path / "mine.yaml"
    mine.write_text(f'_BASE_: "{base}"\nMODEL:\n  RFM:\n    MARGIN: 0.25\n')
    cfg = get_cosal_config(str(mine), ["SOLVER.MAX_ITER", "7"])
    assert (cfg.MODEL.RFM.MARGIN, cfg.SOLVER.MAX_ITER) == (0.25, 7)
    assert cfg.SOLVER.OPTIMIZER == "ADAMW"


def test_find_config_knows_paths_and_names(tmp_path):
    assert find_config("cosal_vgg16_cpu") == find_config("cosal_vgg16_cpu.yaml")
    path = tmp_path / "x.yaml"
    path.write_text("VERSION: 2\n")
    assert find_config(str(path)) == str(path)
    with pytest.raises(FileNotFoundError, match="nothing.yaml.*cosal_vgg16_online.yaml"):
        find_config("nothing.yaml")


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (["MODEL.DTYPE", "float64"], "MODEL.DTYPE is 'float64'; use one of float32, bfloat16"),
        (["TEST.MEASURES", "most"], "TEST.MEASURES is 'most'; use one of paper, fast, all"),
        (["SOLVER.OPTIMIZER", "LION"], "SOLVER.OPTIMIZER is 'LION'; use one of SGD, ADAMW"),
        (["MODEL.FEATURE_SENSITIVE.ENABLED", "False"], "needs the feature-sensitive block"),
        (
            ["MODEL.GROUPING.ENABLED", "True", "MODEL.RFM.SAMPLER", "OfflineSampler"],
            'GROUPING compares RPN\'s regions .* set MODEL.RFM.SAMPLER "OnlineSampler"',
        ),
        (
            ["MODEL.GROUPING.ENABLED", "True", "MODEL.RFM.SAMPLER", ""],
            "MODEL.GROUPING.ENABLED False",
        ),
        (
            ["MODEL.GROUPING.TRAIN_ALONE", "True"],
            "TRAIN_ALONE trains nothing but the grouping, which is off: set MODEL.GROUPING.ENABLED",
        ),
        ([*GROUPED, "MODEL.GROUPING.LEVELS", "()"], "MODEL.GROUPING.LEVELS is empty"),
        (
            [*GROUPED, "MODEL.GROUPING.MASK_LATERAL", "12"],
            "MASK_LATERAL is 12; use a multiple of 8",
        ),
        ([*GROUPED, "MODEL.GROUPING.MASK_LATERAL", "0"], "MASK_LATERAL is 0; use a multiple of 8"),
        (["MODEL.DECODER.NUM_CONVS", "(1, 1)"], "one entry a level.*'NUM_CONVS': 2"),
    ],
)
def test_what_cannot_be_built_is_refused_by_key(opts, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(*opts)


def test_cuda_falls_back_to_the_cpu_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert get_cosal_config("cosal_vgg16_cpu.yaml").MODEL.DEVICE == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert get_cosal_config("cosal_vgg16_cpu.yaml").MODEL.DEVICE == "cuda"


def test_importing_the_config_module_loads_neither_torch_nor_detectron2():
    code = "import sys, cosal_d2.config; print({'torch', 'detectron2'} & set(sys.modules))"
    root = Path(__file__).resolve().parents[1]
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize("opts", [["MODEL.NOPE", "1"], ["MODEL.DTYPE"]])
def test_a_change_that_is_none_is_named(opts):
    with pytest.raises(ValueError, match=f"config changes {opts[0]}"):
        get_cosal_config("cosal_vgg16_cpu.yaml", opts)


@pytest.mark.parametrize(
    ("key", "value"), [("MODEL.RPN.BBOX_REG_LOSS_TYPE", "giou"), ("SOLVER.AMP.ENABLED", "True")]
)
def test_detectron2s_keys_without_effect_here_are_refused(key, value):
    with pytest.raises(ValueError, match=key):
        get_cosal_config("cosal_vgg16_cpu.yaml", [key, value])
