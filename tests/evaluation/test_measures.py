"""The paper's protocol, by hand and against pysodmetrics without its stretching."""

import numpy as np
import pytest
import torch
from evaluation_data import blobs, soft_map
from py_sod_metrics import MAE, FmeasureHandler, FmeasureV2, PrecisionHandler, RecallHandler

from cosal_d2.evaluation import (
    Truth,
    TruthObject,
    adaptive_threshold,
    mean_absolute_error,
    score_image,
    summarize,
)

TRUTH = np.zeros((4, 4), dtype=bool)
TRUTH[:2, :2] = True


def sod(maps, truths):
    """MAE, P, R, adpF of pysodmetrics, without its min-max stretching."""
    mae = MAE()
    handlers = {
        "P": PrecisionHandler(with_dynamic=False, with_adaptive=True),
        "R": RecallHandler(with_dynamic=False, with_adaptive=True),
        "adpF": FmeasureHandler(with_dynamic=False, with_adaptive=True, beta=0.3),
    }
    fm = FmeasureV2(metric_handlers=handlers)
    for pred, truth in zip(maps, truths, strict=True):
        mae.step(pred, truth, normalize=False)
        fm.step(pred, truth, normalize=False)
    values = {name: float(res["adaptive"]) for name, res in fm.get_results().items()}
    return {"MAE": float(mae.get_results()["mae"]), **values}


def score(pred, truth, objects=(), distractors=()):
    parts = ([TruthObject(mask) for mask in masks] for masks in (objects, distractors))
    return score_image(pred, Truth(truth, truth, *parts))[0]


def ours(maps, truths):
    result = summarize(score(pred, truth) for pred, truth in zip(maps, truths, strict=True))
    return {name: result[name] for name in ("MAE", "P", "R", "adpF")}


CAPPED = np.ones((4, 4))
CAPPED[3] = 0.5


# columns: mae, threshold, precision, recall, objects found, distractors rejected, empty answer
@pytest.mark.parametrize(
    ("pred", "expected"),
    [
        pytest.param(TRUTH.astype(float), (0, 0.5, 1, 1, 1, 1, 0), id="perfect"),
        pytest.param(np.full((4, 4), 0.5), (0.5, 1, 0, 0, 0, 1, 0), id="half: nothing predicted"),
        pytest.param(np.zeros((4, 4)), (0.25, 0, 0.25, 1, 1, 0, 1), id="zeros: all predicted"),
        pytest.param(CAPPED, (10 / 16, 1, 4 / 12, 1, 1, 1, 0), id="threshold of 1 is reached"),
    ],
)
def test_special_maps_by_hand(pred, expected):
    row = score(pred, TRUTH, [TRUTH], [~TRUTH])
    found = (row.objects_found, row.distractors_rejected, row.empty_answer)
    assert (row.mae, row.threshold, row.precision, row.recall, *found) == expected
    assert ours([pred], [TRUTH]) == pytest.approx(sod([pred], [TRUTH]), abs=1e-12)


def test_summary_takes_f_from_mean_p_and_mean_r():
    other = np.zeros((4, 4))
    other[0, :2] = 1.0
    other[3] = 1.0  # threshold 0.75, P = 2/6, R = 2/4
    result = summarize(
        [score(TRUTH.astype(float), TRUTH, [TRUTH]), score(other, TRUTH, [TRUTH], [~TRUTH])]
    )
    precision, recall = (1 + 1 / 3) / 2, 0.75
    single = 1.3 * (1 / 3) * 0.5 / (0.1 + 0.5)
    expected = {
        "MAE": (0 + 6 / 16) / 2,
        "P": precision,
        "R": recall,
        "F0.3": 1.3 * precision * recall / (0.3 * precision + recall),
        "F1": 2 * precision * recall / (precision + recall),
        "adpF": (1 + single) / 2,
    }
    assert list(result)[:6] == list(expected)
    assert {name: result[name] for name in expected} == pytest.approx(expected)
    assert (result["distractor_rejection"], result["object_recall"]) == (1.0, 0.5)
    assert "empty_MAE" not in result
    assert all(type(value) is float for value in result.values())


def test_images_with_an_empty_truth_have_measures_of_their_own():
    nothing = np.zeros((4, 4), dtype=bool)
    faint, loud = np.full((4, 4), 0.1), np.full((4, 4), 0.1)
    loud[0, 0] = 0.5
    rows = [
        score(TRUTH.astype(float), TRUTH, [TRUTH]),
        score(faint, nothing, [], [TRUTH]),
        score(loud, nothing, [], [TRUTH]),
    ]
    assert (rows[1].precision, rows[1].adpF, rows[1].distractors_rejected) == (None, None, None)
    result = summarize(rows)
    assert (result["MAE"], result["P"], result["R"], result["adpF"]) == (0.0, 1.0, 1.0, 1.0)
    assert result["empty_MAE"] == pytest.approx((0.1 + 2.0 / 16) / 2)
    assert result["empty_share"] == 0.5
    assert "distractor_rejection" not in result
    assert list(summarize(rows[1:])) == ["empty_MAE", "empty_share"]
    assert summarize([]) == {}


@pytest.mark.parametrize("levels", [None, 255])
def test_random_maps_agree_with_pysodmetrics(levels):
    rng = np.random.default_rng(7)
    truths = [blobs(rng, *rng.integers(20, 120, 2), rng.integers(1, 6)) for _ in range(40)]
    maps = [soft_map(rng, truth) for truth in truths]
    if levels:
        maps = [np.round(pred * levels).astype(np.uint8) / levels for pred in maps]
    assert ours(maps, truths) == pytest.approx(sod(maps, truths), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_give_the_numbers_of_arrays(dtype):
    rng = np.random.default_rng(5)
    truth = blobs(rng, 30, 40, 3)
    tensor = torch.from_numpy(soft_map(rng, truth)).to(dtype)
    expected = score(tensor.double().numpy(), truth, [truth], [~truth])
    assert score(tensor.requires_grad_(), truth, [truth], [~truth]) == expected


def test_bad_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4, 4\)"):
        mean_absolute_error(np.zeros((4, 5)), TRUTH)
    with pytest.raises(ValueError, match=r"\(1, 4, 4\)"):
        adaptive_threshold(np.zeros((1, 4, 4)))
