from pathlib import Path

import pytest
from detectron2.modeling import build_model
from network_data import tiny_config

from cosal_d2.paper.ablation_config import column_config, column_files, find_column, load_column


@pytest.mark.parametrize(
    ("name", "augmented", "block", "sampler", "rpn"),
    [
        ("1", False, False, "", False),
        ("2", True, False, "", False),
        ("3", False, True, "", False),
        ("4", True, True, "", False),
        ("5", False, True, "OfflineSampler", False),
        ("6", True, True, "OfflineSampler", False),
        ("7", True, True, "OnlineSampler", True),
    ],
)
def test_columns_are_the_papers(name, augmented, block, sampler, rpn):
    base = tiny_config("INPUT.MIN_SIZE_TEST", "56", "INPUT.COLOR_JITTER.STRENGTH", "0.4")
    cfg = column_config(base, find_column(name), 10)
    assert (block, sampler) == (cfg.MODEL.FEATURE_SENSITIVE.ENABLED, cfg.MODEL.RFM.SAMPLER)
    sizes = (tuple(cfg.INPUT.MIN_SIZE_TRAIN), cfg.INPUT.MAX_SIZE_TRAIN)
    assert sizes == (((48, 64), 96) if augmented else ((56,), base.INPUT.MAX_SIZE_TEST))
    jitter = cfg.INPUT.COLOR_JITTER
    random = (jitter.STRENGTH, cfg.INPUT.OBJECT_CROP.PROB, cfg.INPUT.OCCLUSION.PROB)
    assert all(x > 0 for x in random) if augmented else random + (jitter.GRAY_PROB,) == (0,) * 4
    model = build_model(cfg)
    assert (model.proposal_generator is not None, model.feature_sensitive is not None) == (
        rpn,
        block,
    )


def test_the_schedule_is_scaled():
    base = tiny_config(
        *("SOLVER.MAX_ITER", "1000", "SOLVER.STEPS", "(300, 900)", "SOLVER.WARMUP_ITERS", "50"),
        *("TEST.EVAL_PERIOD", "100"),
    )
    cfg = column_config(base, find_column("4"), 200, seed=3)
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS, cfg.SOLVER.WARMUP_ITERS) == (200, (60, 180), 10)
    assert (cfg.SOLVER.CHECKPOINT_PERIOD, cfg.TEST.EVAL_PERIOD, cfg.SEED) == (20, 0, 3)
    assert base.SOLVER.MAX_ITER == 1000
    base.SOLVER.WARMUP_ITERS = 600
    assert column_config(base, find_column("4"), 200).SOLVER.WARMUP_ITERS == 20


def test_columns_are_found_by_number_name_and_path(tmp_path):
    (seven,) = [path for path in column_files() if Path(path).name.startswith("7_")]
    names = ("7", Path(seven).stem, Path(seven).name, seven)
    assert {find_column(name).title for name in names} == {"Online RFM, augmented"}
    own = tmp_path / "8b_wide_margin.yaml"
    own.write_text("# Wide margin\nMODEL:\n  RFM:\n    MARGIN: 1.0\n")
    column = find_column(str(own))
    assert (column.name, column.title) == ("8b", "Wide margin")
    assert column.keys == {"MODEL.RFM.MARGIN": 1.0}
    with pytest.raises(ValueError, match="no column '12'.*1_unet.yaml"):
        find_column("12")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MODEL:\n  DTYPE: float32\n", "first line is no title"),
        ("# x\nSOLVER:\n  MAX_ITER: 3\n", "SOLVER.MAX_ITER is the table's"),
        ("# x\n_BASE_: Base-CoSal.yaml\n", "_BASE_ is the table's"),
        ("# x\nMODEL: [\n", "no yaml of config keys"),
    ],
)
def test_a_bad_column_is_refused_by_file(tmp_path, text, message):
    path = tmp_path / "9_bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"9_bad.yaml.*{message}"):
        load_column(str(path))


def test_a_columns_unknown_key_is_named_with_its_file(tmp_path):
    path = tmp_path / "9_bad.yaml"
    path.write_text("# x\nMODEL:\n  NOPE: 1\n")
    with pytest.raises(ValueError, match="9_bad.yaml.*MODEL.NOPE"):
        column_config(tiny_config(), load_column(str(path)), 10)
