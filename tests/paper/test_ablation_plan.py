import signal
import time

import pytest
from network_data import tiny_config

from cosal_d2.paper.ablation_plan import Cost, measure_cost, plan_steps
from cosal_d2.paper.stopping import Stopped, StopRequest


@pytest.mark.parametrize(
    ("budget", "cells", "steps"),
    [
        # (1000 * 0.85 - 2 * 25) / (2 + 2) = 200
        (1000, [Cost(2, 25), Cost(2, 25)], 200),
        # (600 * 0.85 - 10) / 3 = 166.7, two digits
        (600, [Cost(1, 4), Cost(2, 6)], 160),
        # (100 * 0.85 - 10) / 2 = 37.5
        (100, [Cost(2, 10)], 37),
        # (20 * 0.85 - 10) / 2 = 3.5
        (20, [Cost(2, 10)], 3),
        # 85000 / 1.5 = 56666.7
        (100_000, [Cost(1.5, 0)], 56_000),
    ],
)
def test_steps_fit_into_the_budget_with_a_reserve(budget, cells, steps):
    assert plan_steps(budget, cells) == steps
    needed = sum(c.fixed_seconds + steps * c.step_seconds for c in cells)
    assert needed <= 0.85 * budget
    assert plan_steps(budget, cells, reserve=0.0) >= steps


def test_a_budget_without_room_for_a_step_names_the_one_that_would_do():
    # (3 * 20 + 3 * 8) / 0.85 s = 1.65 minutes
    with pytest.raises(ValueError, match="1.0 minutes are left, but 3 cells need 1.6 for a single"):
        plan_steps(60, [Cost(8, 20)] * 3)
    assert plan_steps(60 * 1.66, [Cost(8, 20)] * 3) == 1


def test_cost_is_measured_in_a_training_that_leaves_nothing(dataset, tmp_path):
    data = ["DATASETS.TRAIN", f"('{dataset}',)", "DATASETS.TEST", f"('{dataset}',)"]
    output = tmp_path / "output"
    cfg = tiny_config(*data, "OUTPUT_DIR", str(output), "MODEL.RFM.SAMPLER", "")
    start = time.perf_counter()
    cost = measure_cost(cfg, 0.0, StopRequest())
    passed = time.perf_counter() - start
    assert 0 < 3 * cost.step_seconds < passed
    assert cost.step_seconds * 4 < cost.fixed_seconds < 3 * passed
    assert not output.exists()


def test_measuring_ends_at_the_deadline(dataset):
    data = ["DATASETS.TRAIN", f"('{dataset}',)", "DATASETS.TEST", f"('{dataset}',)"]
    with pytest.raises(Stopped, match="budget is used up"):
        measure_cost(tiny_config(*data), 0.0, StopRequest(deadline=time.monotonic()))


def test_a_signal_waits_for_the_step_and_the_second_does_not():
    request = StopRequest()
    before = signal.getsignal(signal.SIGTERM)
    with request.listening():
        request.holding = True
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Stopped, match="by a signal"):
            request.check()
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_outside_of_steps_is_raised_at_once():
    request = StopRequest()
    with request.listening(), pytest.raises(Stopped):
        signal.raise_signal(signal.SIGINT)


def test_the_deadline_keeps_what_is_needed_free():
    request = StopRequest(deadline=time.monotonic() + 100)
    request.check(needed=50)
    with pytest.raises(Stopped, match="budget"):
        request.check(needed=101)
    StopRequest().check(needed=1e9)


def test_errors_are_excused_only_after_a_stop():
    request = StopRequest()
    with pytest.raises(RuntimeError, match="worker"), request.excusing():
        raise RuntimeError("worker")
    request.asked = True
    with pytest.raises(Stopped), request.excusing():
        raise RuntimeError("worker")
