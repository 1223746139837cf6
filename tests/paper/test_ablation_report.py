import csv
import io
import json
import math

import pytest

from cosal_d2.paper.ablation_report import (
    csv_text,
    draw,
    markdown,
    mean_std,
    single_scale,
    write_report,
)

BASE = {
    "INPUT.MIN_SIZE_TRAIN": [48, 64],
    "INPUT.COLOR_JITTER.STRENGTH": 0.0,
    "INPUT.COLOR_JITTER.GRAY_PROB": 0.0,
    "INPUT.OBJECT_CROP.PROB": 0.0,
    "INPUT.OCCLUSION.PROB": 0.0,
    "MODEL.FEATURE_SENSITIVE.ENABLED": True,
    "MODEL.RFM.SAMPLER": "OnlineSampler",
    "MODEL.GROUPING.ENABLED": False,
    "MODEL.RFM.MARGIN": 0.5,
}
UNET = {
    "INPUT.MIN_SIZE_TRAIN": [64],
    "MODEL.FEATURE_SENSITIVE.ENABLED": False,
    "MODEL.RFM.SAMPLER": "",
}
SIMILAR = {"MODEL.GROUPING.ENABLED": True, "MODEL.RFM.MARGIN": 0.7}


def column(title, config, *keys):
    return {"title": title, "file": "x.yaml", "keys": list(keys), "config": config}


@pytest.fixture
def table():
    return {
        "steps": 40,
        "train": ["cosal_a"],
        "test": ["cosal_b", "cosal_c"],
        "config": "x.yaml",
        "commands": ["tools/ablation.py --steps 40"],
        "base": BASE,
        "columns": {
            "1": column("U-Net", UNET, *UNET),
            "7": column("Online", {}, "MODEL.RFM.SAMPLER"),
            "10": column("Similarity", SIMILAR, *SIMILAR),
        },
    }


def cell(name, seed, f, step_seconds, satisfied=None, gradients=None):
    scores = {"F0.3": f, "F1": f - 0.1, "MAE": 0.1, "P": f, "R": f}
    return {
        "column": name,
        "title": f"title {name}",
        "seed": seed,
        "steps": 40,
        "seconds": 90.0,
        "step_seconds": step_seconds,
        "probe": {} if satisfied is None else {"probe/satisfied": satisfied},
        "scores": {"cosal_b": scores, "cosal_c": {**scores, "distractor_rejection": 0.5}},
        "gradients": gradients or {},
        "date": f"2024-05-0{seed + 1}",
        "hardware": "a chip, 2 threads",
    }


@pytest.fixture
def cells():
    return [
        cell("1", 0, 0.5, 1.0),
        cell("1", 1, 0.6, 3.0),
        cell("7", 0, 0.7, 3.0, 0.25, {"loss_cosal": 1.0, "loss_triplet": 0.5}),
        cell("7", 1, 0.8, 3.0, 0.35, {"loss_cosal": 3.0, "loss_triplet": 0.5}),
        cell("7", 2, 0.9, 3.0, 0.45, {"loss_cosal": 5.0, "loss_triplet": 0.5}),
        cell("10", 0, 0.9, 4.0, 0.5),
    ]


def grid(text, first_head):
    """The Markdown table with that first head, as rows of fields."""
    lines = text.splitlines()
    start = next(i for i, x in enumerate(lines) if x.startswith(f"| {first_head} |"))
    end = next((i for i, x in enumerate(lines[start:], start) if not x), len(lines))
    return [[c.strip() for c in line.strip("|").split("|")] for line in lines[start:end]]


def test_std_is_over_n_minus_1():
    mean, std = mean_std([0.7, 0.8, 0.9])
    assert (mean, std) == (pytest.approx(0.8), pytest.approx(0.1))
    assert mean_std([1.0, 2.0, 4.0, 5.0])[1] == pytest.approx(math.sqrt(10 / 3))
    assert mean_std([3.0]) == (3.0, None)


def test_the_table_is_laid_out_as_the_papers(table, cells):
    head, rule, *rows = grid(markdown(table, cells), "The proposed method")
    assert head == ["The proposed method", "1", "7", "10"]
    assert rule == ["---", "---:", "---:", "---:"]
    assert rows == [
        ["Data augmentation (scales, colour jitter, clipping, occlusion)", "-", "✓", "✓"],
        ["Feature-Sensitive block", "-", "✓", "✓"],
        ["Offline training (RFM)", "-", "-", "-"],
        ["Online training (RFM)", "-", "✓", "✓"],
        ["`MODEL.GROUPING.ENABLED`", "-", "-", "✓"],
        ["`MODEL.RFM.MARGIN`", "0.5", "0.5", "0.7"],
        # std of 50 and 60 is sqrt(2 * 5^2) = 7.07
        ["F-measure (%), cosal_b", "55.0 ± 7.1", "80.0 ± 10.0", "90.0"],
        ["F-measure (%), cosal_c", "55.0 ± 7.1", "80.0 ± 10.0", "90.0"],
        ["n", "2", "3", "1"],
        [rows[-1][0], "82.4", "90.4", "-"],
    ]
    assert "Reference" in rows[-1][0] and "paper" in rows[-1][0]


def test_an_extension_that_no_column_uses_has_no_row(table, cells):
    table["columns"]["1"]["keys"].append("MODEL.GROUPING.ENABLED")
    text = markdown(table, [c for c in cells if c["column"] != "10"])
    assert "GROUPING" not in text and "Online training (RFM)" in text


def test_all_scores_stand_beside_it(table, cells):
    text = markdown(table, cells)
    with_distractors = text.partition("## cosal_c")[2]
    head, _, *rows = grid(with_distractors, "Column")
    assert head[-4:] == ["distractor rejection", "triplets satisfied", "step time over 1", "n"]
    assert rows[0][0] == "1 U-Net" and rows[0][-3:] == ["-", "1.00", "2"]
    # Steps of 3 s over the mean of 1 and 3 s.
    assert rows[1][-3:] == ["0.350 ± 0.100", "1.50", "3"]
    assert rows[1][1:3] == ["0.800 ± 0.100", "0.700 ± 0.100"]
    plain = text.partition("## cosal_b")[2].partition("##")[0]
    assert "distractor rejection" not in plain and "MAE" in plain
    gradients = grid(text.partition("## Gradient")[2], "Column")
    assert gradients[2:] == [["7 Online", "3.0000 ± 2.0000", "0.5000 ± 0.0000"]]


def test_a_diverged_cell_is_told_and_counts_in_no_mean(table, cells):
    for one in (cells[1], cells[5]):
        one.update(diverged=True, scores={"cosal_b": {}, "cosal_c": {}}, probe={}, gradients={})
    rows = {row[0]: row[1:] for row in grid(markdown(table, cells), "The proposed method")}
    assert rows["F-measure (%), cosal_b"] == ["50.0", "80.0 ± 10.0", "diverged"]
    assert rows["n"] == ["1 (1 diverged)", "3", "0 (1 diverged)"]
    lines = list(csv.DictReader(io.StringIO(csv_text(cells))))
    told = [(r["column"], r["seed"]) for r in lines if r["score"] == "diverged"]
    assert told == [("1", "1"), ("10", "0")]
    assert len(draw(cells).axes) == 2


def test_gradients_that_are_not_finite_are_left_out(table, cells):
    cells[2]["gradients"]["loss_cosal"] = None
    gradients = grid(markdown(table, cells).partition("## Gradient")[2], "Column")
    assert gradients[2:] == [["7 Online", "4.0000 ± 1.4142", "0.5000 ± 0.0000"]]
    lines = list(csv.DictReader(io.StringIO(csv_text(cells))))
    assert len([r for r in lines if r["score"] == "gradient/loss_cosal"]) == 2


def test_an_augmented_column_at_one_scale_is_warned_of(table, cells):
    assert single_scale(table, ["1", "7", "10"]) == []
    assert "Warning" not in markdown(table, cells)
    table["base"] = {**BASE, "INPUT.MIN_SIZE_TRAIN": [64, 64], "INPUT.OCCLUSION.PROB": 0.3}
    table["columns"]["1"]["config"] = {**UNET, "INPUT.OCCLUSION.PROB": 0.0}
    assert single_scale(table, ["1", "7", "10"]) == ["7", "10"]
    text = markdown(table, cells)
    assert "**Warning**: augmented but trained at a single scale" in text
    assert "column 7, 10." in text


def test_circumstances_are_told(table, cells):
    text = " ".join(markdown(table, cells).split())
    assert "Trained on cosal_a for 40 steps a cell from x.yaml; seeds 0, 1, 2" in text
    assert "a chip, 2 threads; 2024-05-01 to 2024-05-03." in text
    assert "tools/ablation.py --steps 40" in text


def test_a_sampler_of_ones_own_has_a_row(table, cells):
    table["columns"]["10"]["config"] = {"MODEL.RFM.SAMPLER": "AllPairs"}
    rows = grid(markdown(table, cells), "The proposed method")
    assert ["`MODEL.RFM.SAMPLER`", "-", "OnlineSampler", "AllPairs"] in rows


def test_csv_is_long_with_mean_and_std(cells):
    rows = list(csv.DictReader(io.StringIO(csv_text(cells))))
    (row,) = [
        r
        for r in rows
        if (r["column"], r["dataset"], r["score"], r["seed"]) == ("7", "cosal_c", "F0.3", "2")
    ]
    assert (float(row["value"]), row["n"], row["steps"]) == (0.9, "3", "40")
    assert (float(row["mean"]), float(row["std"])) == (pytest.approx(0.8), pytest.approx(0.1))
    single = [r for r in rows if r["column"] == "10"]
    assert single and all(r["std"] == "" and r["mean"] == r["value"] for r in single)
    assert {r["score"] for r in rows if not r["dataset"]} == {
        *("seconds", "step_seconds", "probe/satisfied"),
        *("gradient/loss_cosal", "gradient/loss_triplet"),
    }


def test_the_picture_has_a_panel_a_test_set_with_error_bars(cells):
    panels = draw(cells).axes
    assert [ax.get_title() for ax in panels] == ["cosal_b", "cosal_c"]
    assert [t.get_text() for t in panels[0].get_xticklabels()] == ["1", "7", "10"]
    bars = [c for c in panels[0].containers if c.has_yerr]
    assert len(bars) == 2
    ((low, high),) = (segment[:, 1] for segment in bars[1][2][0].get_segments())
    assert (low, high) == (pytest.approx(70), pytest.approx(90))


def test_files_are_written_for_the_finished_cells(table, cells, tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / "ablation.json").write_text(json.dumps(table))
    write_report(tmp_path)
    assert not (tmp_path / "ablation.md").exists()
    for one in cells:
        path = tmp_path / "cells" / f"{one['column']}_{one['seed']}.json"
        path.write_text(json.dumps(one))
    write_report(tmp_path)
    assert (tmp_path / "ablation.md").read_text() == markdown(table, cells)
    assert (tmp_path / "ablation.csv").read_text() == csv_text(cells)
    assert {p.name for p in tmp_path.iterdir()} == {
        *("cells", "ablation.json", "ablation.md", "ablation.csv", "ablation.png")
    }
