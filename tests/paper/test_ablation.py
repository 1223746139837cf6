import json
import os
import signal
from pathlib import Path

import pytest
import torch
from network_data import TINY, registered, tiny_config, write_dataset
from tool_loading import load_tool

from cosal_d2.engine.trainer import Trainer
from cosal_d2.paper import ablation as ablation_module
from cosal_d2.paper import ablation_cell
from cosal_d2.paper.ablation import Ablation, run_ablation
from cosal_d2.paper.ablation_config import find_column

pytestmark = pytest.mark.usefixtures("untouched_loggers")


@pytest.fixture
def tool():
    return load_tool("tools/ablation.py")


@pytest.fixture
def asked(dataset, tmp_path):
    """An ablation of given columns, one step each unless told."""

    def build(columns="4", opts=(), test=None, **changes):
        data = ["DATASETS.TRAIN", f"('{dataset}',)", "DATASETS.TEST", f"('{test or dataset}',)"]
        values = {
            "config_name": "tiny.yaml",
            "base": tiny_config(*data, *opts),
            "columns": [find_column(name) for name in columns.split(",")],
            "seeds": [0],
            "folder": tmp_path / "table",
            "steps": None if "budget_minutes" in changes else 1,
        }
        return Ablation(**{**values, **changes})

    return build


@pytest.fixture
def trained(monkeypatch):
    """Names of the cells that are trained from here on."""
    names = []

    def train(cfg, *args):
        names.append(Path(cfg.OUTPUT_DIR).name)
        return ablation_cell.train_cell(cfg, *args)

    monkeypatch.setattr(ablation_module, "train_cell", train)
    return names


def interrupt_at(monkeypatch, step):
    """A SIGTERM in the middle of a step, once."""
    original = Trainer.run_step

    def run_step(self):
        if self.iter == step and not run_step.done:
            run_step.done = True
            os.kill(os.getpid(), signal.SIGTERM)
        original(self)

    run_step.done = False
    monkeypatch.setattr(Trainer, "run_step", run_step)


def state(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": "4,4"}, "--columns: 4, 4; name each once"),
        ({"seeds": [1, 1]}, "--seeds"),
        ({"seeds": [-1]}, "--seeds"),
        ({"steps": None}, "--budget MINUTES or --steps NUMBER"),
        ({"steps": 0}, "more than 0"),
        ({"test": "", "opts": ["DATASETS.TEST", "()"]}, "--test"),
    ],
)
def test_what_is_asked_for_is_checked_by_option(asked, changes, message):
    with pytest.raises(ValueError, match=message):
        asked(**changes)


def test_two_columns_end_to_end(tool, dataset, tmp_path, capsys, monkeypatch, trained):
    out = tmp_path / "table"
    line = ["--config-file", "cosal_vgg16_cpu.yaml", "--data", dataset, "--test", dataset]
    line += ["--columns", "4,7", "--budget", "30", "--seeds", "0", "--out", str(out)]
    opts = [*TINY, "TEST.TRIPLET_PROBE_IMAGES", "2"]
    plan = ablation_module.plan_steps
    planned = []

    def three_steps(left, cells):
        planned.append((left, cells, plan(left, cells)))
        return 3

    monkeypatch.setattr(ablation_module, "plan_steps", three_steps)
    monkeypatch.setattr(ablation_module, "MAX_TIMING_SECONDS", 0.0)
    assert tool.main([*line, "--opts", *opts]) == 0
    ((left, costs, steps),) = planned
    assert 0 < left < 1800 and len(costs) == 2 and steps > 3
    assert trained == ["4_0", "7_0"]
    cell = json.loads((out / "cells" / "7_0.json").read_text())
    assert (cell["column"], cell["seed"], cell["steps"]) == ("7", 0, 3)
    assert cell["scores"][dataset].keys() >= {"F0.3", "F1", "adpF", "MAE", "P", "R"}
    assert cell["gradients"].keys() == {
        *("loss_cosal", "loss_rpn_cls", "loss_rpn_loc", "loss_triplet")
    }
    assert cell["step_seconds"] > 0 and cell["seconds"] > 0
    assert cell["probe"].keys() == {"probe/satisfied", "probe/ordered"}
    printed = capsys.readouterr().out
    table = (out / "ablation.md").read_text()
    assert table in printed and "| Online training (RFM) | - | ✓ |" in table
    assert (out / "ablation.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.rglob("*.pth"))
    kept = [p for p in out.rglob("*") if p.is_file() and "runs" not in p.parts]
    assert not any(str(tmp_path) in p.read_text() for p in kept if p.suffix != ".png")
    assert tool.main([*line, "--opts", *opts]) == 0
    assert trained == ["4_0", "7_0"] and len(planned) == 1
    assert json.loads((out / "cells" / "7_0.json").read_text()) == cell
    assert json.loads((out / "ablation.json").read_text())["steps"] == 3


def test_an_interrupted_cell_goes_on_and_equals_a_straight_one(
    asked, tmp_path, monkeypatch, trained
):
    first = asked(steps=4, folder=tmp_path / "straight", keep_weights=True)
    assert run_ablation(first) == ""
    interrupt_at(monkeypatch, 1)
    second = asked(steps=4, keep_weights=True)
    assert run_ablation(second) == "stopped by a signal"
    assert (second.folder / "runs/4_0/last_checkpoint").read_text() == "model_0000001.pth"
    assert not list(second.folder.glob("cells/*"))
    assert run_ablation(second) == ""
    assert trained == ["4_0"] * 3
    one, two = (json.loads((x.folder / "cells/4_0.json").read_text()) for x in (first, second))
    assert one["scores"] == two["scores"] and one["gradients"] == two["gradients"]
    weights = [
        torch.load(x.folder / "weights/4_0.pth", weights_only=True)["model"]
        for x in (first, second)
    ]
    assert weights[0] and all(torch.equal(v, weights[1][k]) for k, v in weights[0].items())
    assert not list(second.folder.glob("runs/*/*.pth"))


def test_a_used_up_budget_stops_between_steps_and_keeps_the_steps(asked, monkeypatch):
    monkeypatch.setattr(ablation_module, "plan_steps", lambda left, cells: 4)
    monkeypatch.setattr(ablation_module, "MAX_TIMING_SECONDS", 0.0)
    monkeypatch.setattr(ablation_cell.StopHook, "__init__", own_deadline_at(2))
    assert run_ablation(asked(budget_minutes=30)) == "the budget is used up"
    monkeypatch.undo()
    table = asked(budget_minutes=30)
    assert run_ablation(table) == ""
    cell = json.loads((table.folder / "cells/4_0.json").read_text())
    assert cell["steps"] == 4


def own_deadline_at(step):
    """A hook whose request finds its time used up after ``step`` steps."""
    original = ablation_cell.StopHook.__init__

    def init(self, request, seconds):
        original(self, request, seconds)
        check = request.check

        def late(needed=0.0):
            check(needed + (1e9 if self.trainer.iter + 1 >= step else 0.0))

        request.check = late

    return init


def test_more_seeds_and_columns_join_a_table(asked, trained):
    run_ablation(asked())
    run_ablation(asked("4,3", seeds=[0, 1]))
    assert trained == ["4_0", "3_0", "4_1", "3_1"]
    table = asked().folder
    assert "| n | 2 | 2 |" in (table / "ablation.md").read_text()


def test_a_finished_cell_of_something_else_is_refused(asked):
    run_ablation(asked())
    before = state(asked().folder)
    changes = [
        ({"opts": ["SOLVER.BASE_LR", "0.5"]}, "SOLVER.BASE_LR was 0.0006, now it is 0.5"),
        ({"steps": 3}, r"SOLVER.MAX_ITER \(--steps\) was 1, now it is 3"),
    ]
    for change, message in changes:
        with pytest.raises(ValueError, match=f"cell 4_0.*{message}; give another --out"):
            run_ablation(asked(**change))
    assert state(asked().folder) == before
    # A key that the folder does not know yet is the same as its default.
    path = asked().folder / "ablation.json"
    table = json.loads(path.read_text())
    del table["base"]["MODEL.RFM.NMS_THRESH"]
    path.write_text(json.dumps(table))
    assert run_ablation(asked()) == ""
    path.write_text(json.dumps(table))
    with pytest.raises(ValueError, match="MODEL.RFM.NMS_THRESH was 0.7, now it is 0.5"):
        run_ablation(asked(opts=["MODEL.RFM.NMS_THRESH", "0.5"]))


def test_a_changed_column_and_a_changed_picture_are_refused(asked, dataset, tmp_path):
    path = tmp_path / "9_margin.yaml"
    path.write_text('# Margin\nMODEL:\n  RFM:\n    SAMPLER: "OfflineSampler"\n    MARGIN: 0.4\n')
    run_ablation(asked(columns=str(path)))
    path.write_text(path.read_text().replace("0.4", "0.6"))
    with pytest.raises(ValueError, match="cell 9_0.*MODEL.RFM.MARGIN was 0.4, now it is 0.6"):
        run_ablation(asked(columns=str(path)))
    path.write_text(path.read_text().replace("0.6", "0.4"))
    assert run_ablation(asked(columns=str(path))) == ""
    picture = tmp_path / "data" / "cosal" / "tiny" / "0.png"
    picture.write_bytes(picture.read_bytes() + b"x")
    with pytest.raises(ValueError, match=f"cell 9_0.*files of {dataset} have changed"):
        run_ablation(asked(columns=str(path)))


def test_the_data_may_move(asked, tmp_path):
    """The same files elsewhere, under the same name, are the same data."""
    with registered(write_dataset(tmp_path / "here")) as name:
        first = ablation_module.load_table(tmp_path / "a", *_columns(name), 2)
    with registered(write_dataset(tmp_path / "there")) as name:
        second = ablation_module.load_table(tmp_path / "b", *_columns(name), 2)
    assert [*first["data"].values()] == [*second["data"].values()]


def _columns(name):
    data = ["DATASETS.TRAIN", f"('{name}',)", "DATASETS.TEST", f"('{name}',)"]
    return tiny_config(*data), [find_column("4")]


def test_cells_of_an_unknown_table_are_left_alone(asked):
    table = asked()
    (table.folder / "cells").mkdir(parents=True)
    (table.folder / "cells" / "4_0.json").write_text("{}")
    with pytest.raises(ValueError, match="cell 4_0.*ablation.json.*missing"):
        run_ablation(table)
    assert (table.folder / "cells" / "4_0.json").read_text() == "{}"


def test_two_runs_in_one_folder_are_refused(asked):
    table = asked()
    table.folder.mkdir()
    with (
        ablation_module.table_lock(table.folder),
        pytest.raises(RuntimeError, match="another run is working in"),
    ):
        run_ablation(table)


def test_the_tool_lists_columns_and_names_errors(tool, tmp_path, capsys):
    assert tool.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 7 and lines[0].split()[:2] == ["1", "U-Net"]
    line = ["--config-file", "quickstart.yaml", "--out", str(tmp_path / "out"), "--steps", "1"]
    assert tool.main([*line, "--data", "cosal_nowhere"]) == 1
    assert "error: no dataset 'cosal_nowhere'" in capsys.readouterr().err
    assert tool.main([*line, "--columns", "99"]) == 1
    assert "no column '99'" in capsys.readouterr().err


def test_the_folder_is_named_after_config_and_data(tool, dataset, tmp_path, monkeypatch):
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tool, "run_ablation", lambda ablation: asked.append(ablation) or "")
    line = ["--config-file", "quickstart.yaml", "--data", dataset, "--test", dataset]
    assert tool.main([*line, "--steps", "1"]) == 0
    assert asked[0].folder == Path("output") / "ablation" / f"quickstart-{dataset}"


def test_the_command_in_the_table_holds_no_machine_path(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = ["--config-file", "/somewhere/else/x.yaml", "--out", f"{tmp_path}/tables/a b"]
    wanted = "tools/ablation.py --config-file x.yaml --out 'tables/a b'"
    assert tool.relative_command(argv) == wanted
