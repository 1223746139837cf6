"""The field's measures against pysodmetrics at its defaults."""

import numpy as np
import py_sod_metrics as sod
import pytest
import torch
from evaluation_data import blobs, soft_map

from cosal_d2.evaluation import Scorer, Truth, field_curves, summarize_field, summarize_results
from cosal_d2.evaluation.field import FIELD_MEASURES


def library(pairs):
    """Measures and curves of pysodmetrics, as its README calls it."""
    handlers = {
        "F": sod.FmeasureHandler(True, True),
        "IoU": sod.IOUHandler(True, True),
        "Dice": sod.DICEHandler(True, True),
        "precision": sod.PrecisionHandler(True, False),
        "recall": sod.RecallHandler(True, False),
    }
    counts = sod.FmeasureV2(handlers)
    mae, s, e, w = sod.MAE(), sod.Smeasure(), sod.Emeasure(), sod.WeightedFmeasure()
    for levels, truth in pairs:
        for measure in (counts, mae, s, e, w):
            measure.step(levels, truth.astype(np.uint8) * 255)
    curves = {name: value["dynamic"] for name, value in counts.get_results().items()}
    curves["E"] = e.get_results()["em"]["curve"]
    values = {
        "MAE": mae.get_results()["mae"],
        "S": s.get_results()["sm"],
        "adpE": e.get_results()["em"]["adp"],
        "wF": w.get_results()["wfm"],
    }
    for name in ("F", "IoU", "Dice"):
        values[f"adp{name}"] = counts.get_results()[name]["adaptive"]
    for name in ("F", "E", "IoU", "Dice"):
        values[f"mean{name}"], values[f"max{name}"] = curves[name].mean(), curves[name].max()
    return values, curves


def scored(pairs, measures="all", workers=0):
    scorer = Scorer(measures, workers)
    for i, (cosal_map, truth) in enumerate(pairs):
        scorer.add(i, cosal_map / 255, Truth(truth, truth), name=str(i), image_id=i)
    return list(scorer.collect().values())


def random_pairs(count):
    """Noise, blobs, flat, two-level and low-contrast maps; full and empty truths among them."""
    rng = np.random.default_rng(5)
    for i in range(count):
        height, width = (int(v) for v in rng.integers(9, 48, 2))
        truth = blobs(rng, height, width, int(rng.integers(1, 4)))
        if i % 40 == 7:
            truth[:] = i % 80 == 7
        levels = {
            0: lambda t: rng.integers(0, 256, t.shape),
            1: lambda t: soft_map(rng, t) * 255,
            2: lambda t: np.full(t.shape, rng.integers(0, 256)),
            3: lambda t: 255 * (soft_map(rng, t) > 0.4),
            4: lambda t: 90 + 40 * soft_map(rng, t),
        }[i % 5](truth)
        yield levels.astype(np.uint8), truth


def test_200_random_pairs_agree_with_pysodmetrics():
    pairs = list(random_pairs(200))
    expected, curves = library(pairs)
    results = scored(pairs)
    got = summarize_results(results)
    assert {name: got[name] for name in FIELD_MEASURES} == pytest.approx(expected, abs=1e-6)
    for name, curve in field_curves([result.field for result in results]).items():
        np.testing.assert_allclose(curve, curves[name], atol=1e-6, err_msg=name)
    for pair, result in zip(pairs, results, strict=True):
        assert dict(summarize_field([result.field])) == pytest.approx(library([pair])[0], abs=1e-6)


def test_the_best_threshold_is_that_of_the_mean_curve():
    graded = np.array([[102, 153, 51, 51], [204, 255, 51, 51], [51] * 4, [51] * 4], np.uint8)
    corner = graded > 51
    results = scored([(graded, corner), (255 - graded, corner)], "fast")
    curve = np.mean([result.field.curves["F"] for result in results], axis=0)
    got = summarize_results(results)
    assert got["maxF"] == curve.max()
    assert got["maxF"] < np.mean([summarize_field([r.field])["maxF"] for r in results])
    assert "S" not in got and "wF" not in got


def test_a_truth_at_the_border_has_a_finite_s():
    truth = np.zeros((6, 5), dtype=bool)
    truth[5, 1:3] = True
    got = summarize_results(scored([(np.where(truth, 200, 30), truth)]))
    assert got["S"] == pytest.approx(1, abs=1e-9)


def test_worker_processes_give_the_same_numbers():
    pairs = list(random_pairs(11))
    here, there = ([summarize_field([r.field]) for r in scored(pairs, workers=w)] for w in (0, 2))
    assert here == there


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_maps_of_any_precision_are_rounded_as_files_are(dtype):
    levels = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
    truth = np.arange(256).reshape(16, 16) >= 128
    expected, got = (
        summarize_field([scored([(m, truth)], "fast")[0].field]) for m in (levels, levels.to(dtype))
    )
    assert got == expected


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="measures: 'every' is none of paper, fast, all"):
        Scorer("every")
    with pytest.raises(ValueError, match="workers: -1"):
        Scorer("all", -1)
