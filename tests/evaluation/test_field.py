"""The field's measures against pysodmetrics at its defaults, and against values by hand."""

import numpy as np
import py_sod_metrics as sod
import pytest
import torch
from evaluation_data import blobs, soft_map

from cosal_d2.evaluation import Scorer, Truth, field_curves, summarize_field, summarize_results
from cosal_d2.evaluation.field import MEASURES

CORNER = np.zeros((4, 4), dtype=bool)
CORNER[:2, :2] = True


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
        none = np.zeros((0, *truth.shape), dtype=bool)
        drawn = Truth(truth, truth, none, none)
        scorer.add(i, cosal_map / 255, drawn, name=str(i), image_id=i)
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
    assert {name: got[name] for name in MEASURES} == pytest.approx(expected, abs=1e-6)
    for name, curve in field_curves([result.field for result in results]).items():
        np.testing.assert_allclose(curve, curves[name], atol=1e-6, err_msg=name)
    for pair, result in zip(pairs, results, strict=True):
        assert dict(summarize_field([result.field])) == pytest.approx(library([pair])[0], abs=1e-6)


ALL = 1.3 * 0.25 / (0.3 * 0.25 + 1)  # F of everything predicted: P = 1/4, R = 1


def f_at(recall):
    return 1.3 * recall / (0.3 + recall)  # P = 1


def aligned(a, b):
    return (1 + 2 * a * b / (a * a + b * b)) ** 2 / 4


HALF_E = (2 * aligned(7 / 8, 3 / 4) + 2 * aligned(-1 / 8, 3 / 4) + 12 * aligned(1 / 8, 1 / 4)) / 15
BY_HAND = {
    "perfect": (
        np.where(CORNER, 255, 0),
        {
            **{"MAE": 0, "adpF": 1, "maxF": 1, "meanF": (255 + ALL) / 256, "S": 1, "wF": 1},
            **{"adpE": 16 / 15, "maxE": 16 / 15, "adpIoU": 1, "adpDice": 1},
            **{"meanE": (255 * 16 / 15 + 4 / 15) / 256},
        },
    ),
    "inverted": (
        np.where(CORNER, 0, 255),
        {"MAE": 1, "adpF": 0, "maxF": ALL, "meanF": ALL / 256, "S": 0, "adpE": 0, "maxE": 4 / 15},
    ),
    # a quarter of object score 1; of the regions only the single pixel around the centroid
    "all": (
        np.full((4, 4), 255),
        {
            **{"MAE": 0.75, "adpF": ALL, "maxF": ALL, "meanF": ALL, "adpIoU": 0.25},
            **{"adpDice": 0.4, "adpE": 4 / 15, "meanE": 4 / 15, "S": (1 / 4 + 1 / 16) / 2},
        },
    ),
    # all zero: the threshold is 0, so everything is predicted there, and nothing at the levels >= 1
    "nothing": (
        np.zeros((4, 4)),
        {
            **{"MAE": 0.25, "adpF": ALL, "maxF": ALL, "meanF": ALL / 256},
            **{"meanIoU": 0.25 / 256, "adpE": 4 / 15, "meanE": 4 / 15, "S": (3 / 4 + 1 / 16) / 2},
        },
    ),
    "half": (
        np.where(CORNER & (np.arange(4) < 1), 255, 0),
        {
            **{"MAE": 2 / 16, "adpF": 0.8125, "maxF": 0.8125, "adpE": HALF_E, "maxE": HALF_E},
            **{"meanF": (255 * 0.8125 + ALL) / 256, "adpIoU": 0.5, "adpDice": 2 / 3},
        },
    ),
    # stretched: 1/4, 1/2, 3/4 and 1 on the truth, 0 off it; threshold 2 x 2.5 / 16
    "graded": (
        np.array([[102, 153, 51, 51], [204, 255, 51, 51], [51] * 4, [51] * 4]),
        {
            **{"MAE": 1.5 / 16, "adpF": f_at(3 / 4), "maxF": 1, "adpIoU": 3 / 4},
            "meanF": (64 * (f_at(1 / 4) + f_at(1 / 2) + f_at(3 / 4)) + 63 + ALL) / 256,
            "meanIoU": (64 * (1 / 4 + 1 / 2 + 3 / 4) + 63 + 1 / 4) / 256,
        },
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_six_small_maps_by_hand(name):
    levels, expected = BY_HAND[name]
    got = summarize_results(scored([(levels.astype(np.uint8), CORNER)]))
    assert {key: got[key] for key in expected} == pytest.approx(expected, abs=1e-9)


def test_the_best_threshold_is_that_of_the_mean_curve():
    results = scored([(BY_HAND[name][0], CORNER) for name in ("graded", "inverted")], "fast")
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
