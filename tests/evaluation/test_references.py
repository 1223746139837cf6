import pytest
from evaluation_data import record, registered

from cosal_d2.evaluation import reference_rows


def test_reference_rows():
    records = [
        record(1, 4, 4, [(0, 0, 2, 2)], [(2, 2, 4, 3)]),
        record(2, 4, 4, [(0, 0, 2, 2)]),
        record(3, 4, 4, [], [(0, 0, 2, 2)]),
    ]
    with registered(records) as name:
        rows = reference_rows(name)
    assert list(rows) == ["all objects", "constant 0.5"]
    salient, constant = rows["all objects"], rows["constant 0.5"]
    assert salient["MAE"] == pytest.approx(2 / 16 / 2)
    assert salient["P"] == pytest.approx((4 / 6 + 1) / 2)
    assert (salient["R"], salient["object_recall"], salient["distractor_rejection"]) == (1, 1, 0)
    assert (salient["empty_MAE"], salient["empty_share"]) == (0.25, 0.0)
    assert (constant["MAE"], constant["F0.3"], constant["object_recall"]) == (0.5, 0.0, 0.0)
    assert (constant["distractor_rejection"], constant["empty_share"]) == (1.0, 0.0)
