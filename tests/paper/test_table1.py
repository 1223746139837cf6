"""Table 1: its columns, and trainings that are skipped, resumed, refused or diverged."""

import csv
import json
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from network_data import TINY, tiny_config

from cosal_d2.cli import main
from cosal_d2.engine.trainer import Trainer
from cosal_d2.paper.table1 import (
    column_config,
    column_files,
    find_column,
    load_column,
    train_table,
)
from cosal_d2.paper.table1_report import Cell, F, markdown, write_report

pytestmark = pytest.mark.usefixtures("untouched_loggers")
DIVERGING = ["SOLVER.BASE_LR", "1e30", "SOLVER.CLIP_GRADIENTS.ENABLED", "False"]


@pytest.fixture
def table(dataset, tmp_path):
    """Train a table of given columns for one iteration, and give back its text."""

    def run(columns="4", seeds=(0,), iterations=1, opts=(), out=tmp_path / "table"):
        data = ["DATASETS.TRAIN", f"('{dataset}',)", "DATASETS.TEST", f"('{dataset}',)"]
        found = [find_column(name) for name in columns.split(",")]
        return train_table(tiny_config(*data, *opts), found, seeds, out, iterations)

    return run


@pytest.fixture
def steps(monkeypatch):
    """Folder and iteration of every training step from here on; raises once where it is told."""
    done = []
    original = Trainer.run_step

    def run_step(self):
        here = (Path(self.cfg.OUTPUT_DIR).name, self.iter)
        if here == run_step.stop_at:
            run_step.stop_at = None
            raise KeyboardInterrupt
        done.append(here)
        original(self)

    run_step.stop_at = None
    monkeypatch.setattr(Trainer, "run_step", run_step)
    return done, run_step


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
    parts = (model.proposal_generator is not None, model.feature_sensitive is not None)
    assert parts == (rpn, block)


def test_the_schedule_is_scaled():
    base = tiny_config(
        *("SOLVER.MAX_ITER", "1000", "SOLVER.STEPS", "(300, 900)", "SOLVER.WARMUP_ITERS", "50"),
        *("TEST.EVAL_PERIOD", "100"),
    )
    cfg = column_config(base, find_column("4"), 200, seed=3)
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS, cfg.SOLVER.WARMUP_ITERS) == (200, (60, 180), 10)
    assert (cfg.SOLVER.CHECKPOINT_PERIOD, cfg.TEST.EVAL_PERIOD, cfg.SEED) == (40, 0, 3)
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
    assert column_config(tiny_config(), column, 10).MODEL.RFM.MARGIN == 1.0
    own.with_name("0_base.yaml").write_text("# The base config itself\n")
    assert load_column(str(own.with_name("0_base.yaml"))).node == {}
    (tmp_path / "8c_wider.yaml").write_text('# Wider\n_BASE_: "8b_wide_margin.yaml"\nSEED: 1\n')
    with pytest.raises(ValueError, match="8c_wider.yaml: SEED is the table's"):
        load_column(str(tmp_path / "8c_wider.yaml"))
    (tmp_path / "8c_wider.yaml").write_text(
        '# Wider\n_BASE_: "8b_wide_margin.yaml"\nMODEL:\n  RFM:\n    LOSS_WEIGHT: 0.5\n'
    )
    node = load_column(str(tmp_path / "8c_wider.yaml")).node
    assert node.MODEL.RFM == {"MARGIN": 1.0, "LOSS_WEIGHT": 0.5}
    with pytest.raises(ValueError, match="no column '12'.*1_unet.yaml"):
        find_column("12")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MODEL:\n  DTYPE: float32\n", "first line is no title"),
        ("# x\nSOLVER:\n  MAX_ITER: 3\n", "SOLVER.MAX_ITER is the table's"),
        ("# x\n_BASE_: nothing.yaml\n", "_BASE_ cannot be read .*nothing.yaml"),
        ("# x\n_BASE_: 9_bad.yaml\n", "leads back"),
        ("# x\n- 1\n", "is no yaml of config keys"),
        ("# x\nMODEL: [\n", "is no yaml of config keys"),
        ("# x\nMODEL:\n  NOPE: 1\n", "MODEL.NOPE"),
    ],
)
def test_a_bad_column_is_refused_by_file(tmp_path, text, message):
    path = tmp_path / "9_bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"9_bad.yaml.*{message}"):
        column_config(tiny_config(), load_column(str(path)), 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": "4,4"}, "--columns: 4, 4; name each once"),
        ({"seeds": (1, 1)}, "--seeds"),
        ({"seeds": (-1,)}, "--seeds"),
        ({"iterations": 0}, "--iterations 0"),
        ({"opts": ["DATASETS.TEST", "()"]}, "--test"),
        ({"opts": ["DATASETS.TEST", "('cosal_nowhere',)"]}, "no dataset 'cosal_nowhere'"),
    ],
)
def test_what_is_asked_for_is_checked_before_training(table, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        table(**changes)
    assert not (tmp_path / "table").exists()


def test_the_command_trains_scores_and_writes_the_table(dataset, tmp_path, capsys, steps):
    out = tmp_path / "table"
    line = ["paper", "table1", "--config-file", "cosal_vgg16.yaml", "--data", dataset]
    line += ["--test", dataset, "--columns", "4,7", "--iterations", "2", "--out", str(out)]
    assert main([*line, "--opts", *TINY]) == 0
    done = [("4_0", 0), ("4_0", 1), ("7_0", 0), ("7_0", 1)]
    assert steps[0] == done
    text = (out / "table1.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    metrics = json.loads((out / "7_0" / "inference" / dataset / "cosal_metrics.json").read_text())
    (row,) = (line for line in text.splitlines() if line.startswith("| 7 Online RFM, augmented"))
    assert row.split("|")[2].strip() == f"{metrics[F]:.3f}"
    rows = list(csv.DictReader((out / "table1.csv").open(encoding="utf-8")))
    assert [(row["column"], row["seed"], row["dataset"]) for row in rows] == [
        *(("4", "0", dataset), ("7", "0", dataset))
    ]
    assert float(rows[1]["MAE"]) == metrics["MAE"]
    assert (out / "table1.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in out.rglob("*.pth")] == ["model_final.pth"] * 2
    assert main([*line, "--opts", *TINY]) == 0
    assert steps[0] == done, "a finished cell was trained again"


def test_the_command_lists_columns_and_names_errors(tmp_path, capsys):
    assert main(["paper", "table1", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 7 and lines[0].split()[:2] == ["1", "U-Net"]
    line = ["paper", "table1", "--config-file", "quickstart.yaml", "--out", str(tmp_path / "out")]
    assert main([*line, "--columns", "99"]) == 1
    assert "no column '99'" in capsys.readouterr().err
    assert main(["paper", "table1"]) == 1
    assert "--config-file is needed" in capsys.readouterr().err


def test_a_stopped_cell_goes_on_and_equals_a_straight_one(table, tmp_path, steps):
    done, run_step = steps
    straight = table(iterations=5, out=tmp_path / "straight")
    done.clear()
    run_step.stop_at = ("4_0", 3)
    with pytest.raises(KeyboardInterrupt):
        table(iterations=5)
    resumed = table(iterations=5)
    assert [step for _, step in done] == [0, 1, 2, 3, 4]
    assert resumed == straight
    weights = [
        torch.load(tmp_path / name / "4_0" / "model_final.pth", weights_only=True)["model"]
        for name in ("straight", "table")
    ]
    assert weights[0] and all(torch.equal(v, weights[1][k]) for k, v in weights[0].items())


def test_more_seeds_join_a_table_in_any_order(table, steps):
    table()
    text = table("3,4", seeds=(0, 1))
    assert [name for name, _ in steps[0]] == ["4_0", "3_0", "3_1", "4_1"]
    rows = [line.split("|") for line in text.splitlines() if line.startswith(("| 3", "| 4"))]
    assert [(row[1].split()[0], row[-3].strip()) for row in rows] == [("3", "2"), ("4", "2")]


def test_cells_of_other_settings_are_refused(table, tmp_path):
    table()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for changes, message in (
        ({"opts": ["SOLVER.BASE_LR", "0.5"]}, "SOLVER.BASE_LR was 0.0008, now it is 0.5"),
        ({"iterations": 3}, "SOLVER.* was 1, now it is 3"),
    ):
        with pytest.raises(ValueError, match=f"4_0 was trained with other.*{message}"):
            table(**changes)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    table(opts=["DATALOADER.NUM_WORKERS", "1"])


def test_losses_that_are_not_finite_make_a_cell(table, tmp_path, steps):
    text = table(iterations=4, opts=DIVERGING)
    assert "0 (1 diverged)" in text
    rows = list(csv.DictReader((tmp_path / "table" / "table1.csv").open(encoding="utf-8")))
    assert [row["diverged"] for row in rows] == ["1"]
    count = len(steps[0])
    assert table(iterations=4, opts=DIVERGING) == text and len(steps[0]) == count


def test_maps_that_are_not_finite_make_a_cell(table, monkeypatch):
    original = Trainer.run_step

    def run_step(self):
        original(self)
        for parameter in self.model.decoder.parameters():
            parameter.data.fill_(float("nan"))

    monkeypatch.setattr(Trainer, "run_step", run_step)
    assert "0 (1 diverged)" in table()


def cell(folder, column, seed, **scores):
    """A finished cell with made-up scores; diverged without any."""
    result = Cell(column, f"title {column}", seed, folder / f"{column}_{seed}", ("plain", "hard"))
    for name, f in scores.items():
        path = result.folder / "inference" / name / "cosal_metrics.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"F0.3": f, "MAE": 0.25}))
    if not scores:
        result.folder.mkdir(parents=True)
        (result.folder / "diverged.txt").write_text("nan\n")
    return result


def test_the_table_has_mean_spread_and_count_of_each_test_set(tmp_path):
    cells = [
        cell(tmp_path, "4", 0, plain=0.5, hard=0.3),
        cell(tmp_path, "4", 1, plain=0.7, hard=0.3),
        cell(tmp_path, "9", 0, plain=0.8, hard=0.4),
        cell(tmp_path, "9", 1),
    ]
    text = markdown(cells, "about")
    lines = [[c.strip() for c in x.strip("|").split("|")] for x in text.splitlines() if "|" in x]
    assert lines[0] == ["column", "F (β² = 0.3)", "MAE", "n", "F (%) in the paper"]
    assert lines[2] == ["4 title 4", "0.600 ± 0.141", "0.250 ± 0.000", "2", "83.6"]
    assert lines[3] == ["9 title 9", "0.800", "0.250", "1 (1 diverged)", "-"]
    assert lines[6][1] == "0.300 ± 0.000" and text.index("## plain") < text.index("## hard")
    write_report(tmp_path, cells, "about")
    assert len((tmp_path / "table1.csv").read_text(encoding="utf-8").splitlines()) == 9
