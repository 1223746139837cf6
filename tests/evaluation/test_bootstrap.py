import numpy as np
import pytest
from evaluation_data import scenes, write_json, write_maps

from cosal_d2.evaluation import evaluate_methods
from cosal_d2.evaluation.bootstrap import paired_differences
from cosal_d2.evaluation.output import write_evaluation


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boot")
    records = scenes(12)
    methods = {
        name: write_maps(folder / name, records, share)
        for name, share in (("good", 0.7), ("poor", 0.3), ("same", 0.7))
    }
    return evaluate_methods(write_json(folder / "x.json", records), methods, workers=0)


def test_differences_are_those_of_the_measures(evaluation):
    rows = paired_differences(evaluation, 200)
    metrics = evaluation.metrics
    assert {(r.a, r.b) for r in rows} == {("good", "poor"), ("good", "same"), ("poor", "same")}
    assert {"MAE", "maxF", "maxE", "wF", "F0.3", "F1", "raw_MAE"} <= {r.measure for r in rows}
    for row in rows:
        expected = metrics[row.a][row.measure] - metrics[row.b][row.measure]
        assert row.difference == pytest.approx(expected, abs=1e-9)
        assert row.low <= row.high
        assert row.images == 12


def test_a_clear_difference_excludes_0_and_none_is_exactly_0(evaluation):
    rows = {(r.a, r.b, r.measure): r for r in paired_differences(evaluation, 300)}
    assert rows["good", "poor", "MAE"].high < 0 < rows["good", "poor", "S"].low
    same = rows["good", "same", "maxF"]
    assert (same.difference, same.low, same.high) == (0, 0, 0)


def test_interval_of_a_mean_is_that_of_resampled_means(evaluation):
    row = next(r for r in paired_differences(evaluation, 4000, seed=3) if r.measure == "MAE")
    good, poor = (
        np.array([r.field.scalars["MAE"] for r in evaluation.methods[m].results.values()])
        for m in ("good", "poor")
    )
    rng = np.random.default_rng(8)
    drawn = (good - poor)[rng.integers(0, 12, (4000, 12))].mean(axis=1)
    assert [row.low, row.high] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=2e-3)


def test_the_seed_decides(evaluation):
    assert paired_differences(evaluation, 50, 1) == paired_differences(evaluation, 50, 1)
    assert paired_differences(evaluation, 50, 1) != paired_differences(evaluation, 50, 2)


def test_curves_of_an_earlier_evaluation_do_not_stay(evaluation, tmp_path):
    write_evaluation(evaluation, tmp_path, resamples=0)
    assert {path.suffix for path in tmp_path.glob("curves.*")} == {".csv", ".png", ".svg", ".pdf"}
    maps = {name: next(iter(m.maps.values())).parent for name, m in evaluation.methods.items()}
    plain = evaluate_methods(evaluation.truth, maps, measures="paper")
    write_evaluation(plain, tmp_path, resamples=0)
    assert not list(tmp_path.glob("curves.*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"resamples": -2}, "-2 resamples"), ({"seed": -1}, "the seed is -1; give 0 or more")],
)
def test_bad_options_are_named_before_anything_is_written(evaluation, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write_evaluation(evaluation, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_methods_with_different_gaps_are_compared_on_what_both_have(tmp_path):
    records = scenes()
    first = write_maps(tmp_path / "a", records[:4])
    second = write_maps(tmp_path / "b", records[1:])
    evaluation = evaluate_methods(
        write_json(tmp_path / "x.json", records),
        {"a": first, "b": second},
        allow_missing=True,
        measures="fast",
    )
    rows = paired_differences(evaluation, 20)
    assert {(row.images, row.difference) for row in rows} == {(3, 0)}
