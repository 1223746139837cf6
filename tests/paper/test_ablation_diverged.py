"""Cells of an ablation table whose training stops being finite."""

import json

import pytest
from network_data import tiny_config

from cosal_d2.engine.trainer import Trainer
from cosal_d2.paper import ablation_cell
from cosal_d2.paper.ablation import Ablation, run_ablation
from cosal_d2.paper.ablation_config import find_column
from cosal_d2.paper.ablation_plan import measure_cost
from cosal_d2.paper.stopping import StopRequest

pytestmark = pytest.mark.usefixtures("untouched_loggers")
DIVERGING = ["SOLVER.BASE_LR", "1e30", "SOLVER.CLIP_GRADIENTS.ENABLED", "False"]


@pytest.fixture
def asked(dataset, tmp_path):
    """An ablation of column 4."""
    data = ["DATASETS.TRAIN", f"('{dataset}',)", "DATASETS.TEST", f"('{dataset}',)"]

    def build(steps, *opts):
        base = tiny_config(*data, *opts)
        columns = [find_column("4")]
        folder = tmp_path / "table"
        return Ablation("tiny.yaml", base, columns, [0], folder, steps, keep_weights=True)

    return build


def finished(table):
    """Complete a table; its one cell."""
    assert run_ablation(table) == ""
    return json.loads((table.folder / "cells" / "4_0.json").read_text())


def check_diverged(table):
    cell = finished(table)
    assert cell["diverged"] and list(cell["scores"].values()) == [{}]
    assert (cell["probe"], cell["gradients"]) == ({}, {})
    assert "| diverged |" in (table.folder / "ablation.md").read_text()
    assert not list(table.folder.rglob("*.pth"))


def test_losses_that_are_not_finite_make_a_cell(asked, monkeypatch):
    table = asked(4, *DIVERGING)
    check_diverged(table)
    monkeypatch.setattr(Trainer, "run_step", None)
    check_diverged(table)


def test_maps_that_are_not_finite_make_a_cell(asked, monkeypatch):
    original = Trainer.run_step

    def run_step(self):
        original(self)
        for parameter in self.model.decoder.parameters():
            parameter.data.fill_(float("nan"))

    monkeypatch.setattr(Trainer, "run_step", run_step)
    check_diverged(asked(1))


def test_a_diverging_training_can_be_timed(asked):
    assert measure_cost(asked(1, *DIVERGING).base, 0.0, StopRequest()).step_seconds > 0


def test_gradients_that_are_not_finite_are_null(asked, monkeypatch):
    norms = {"loss_cosal": float("inf"), "loss_rpn_cls": 0.5}
    monkeypatch.setattr(ablation_cell, "branch_gradients", lambda *_: norms)
    cell = finished(asked(1))
    assert cell["gradients"] == {"loss_cosal": None, "loss_rpn_cls": 0.5} and not cell["diverged"]
