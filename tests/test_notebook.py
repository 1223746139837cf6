"""docs/start.ipynb runs from its first cell to its last with the released network."""

import json
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from cosal_d2.inference import CoSaliencyResult

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def cells():
    notebook = json.loads((DOCS / "start.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_it_has_no_outputs(cells):
    assert cells and all(cell["outputs"] == [] for cell in cells)


def test_it_goes_from_a_picture_to_its_counts(cells, tmp_path, monkeypatch, capsys):
    shutil.copy(DOCS / "example.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    names: dict = {}
    for number, cell in enumerate(cells, 1):
        exec(compile("".join(cell["source"]), f"start.ipynb, code cell {number}", "exec"), names)
    shown = [len(plt.figure(number).axes) for number in plt.get_fignums()]
    plt.close("all")
    result = names["result"]
    assert isinstance(result, CoSaliencyResult) and result.count >= 2
    assert shown == [3, min(4, len(result.instances)), 2, 1]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{result.count} {result.counts} {result.repeats}"
    assert len(printed) == 2 + len(result.instances)
    annotations = json.loads((tmp_path / "results" / "objects.json").read_text())["annotations"]
    assert len(annotations) == len(result.instances)
