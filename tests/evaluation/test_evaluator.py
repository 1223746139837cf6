import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.evaluation.testing import flatten_results_dict, print_csv_format
from evaluation_data import noisy_map, record, registered, scenes

from cosal_d2.evaluation import CoSaliencyEvaluator, reference_rows
from cosal_d2.evaluation.field import FIELD_MEASURES

MAIN_KEYS = [
    *("MAE", "P", "R", "F0.3", "F1", "adpF"),
    *("distractor_rejection", "object_recall", "box_recall", "count_error", "wrongly_empty"),
]
FILES = ["cosal_metrics.json", "groups.csv", "objects.csv", "per_image.csv"]
COLUMNS = [
    *("file_name", "image_id", "mae", "threshold", "precision", "recall", "adpF", "objects"),
    *("objects_found", "boxes_found", "distractors", "distractors_rejected", "false_regions"),
    *("count_error", "empty", "empty_answer"),
]


def hand_made():
    """Two objects and a distractor, one object, and a picture where nothing repeats."""
    return [
        record(11, 4, 4, [(0, 0, 2, 1), (0, 3, 2, 4)], [(3, 0, 4, 2)]),
        record(12, 2, 4, [(0, 0, 2, 2)]),
        record(13, 3, 3, [], [(0, 0, 1, 1)]),
    ]


def hand_made_maps():
    first = torch.zeros(4, 4)
    first[0, 0], first[0, 1] = 1.0, 0.5
    first[0, 3], first[1, 3] = 0.25, 0.25  # mean 2 / 16, threshold 0.25
    second = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]])  # threshold 1
    return [first, second, torch.full((3, 3), 0.25)]


def run(name, records, maps, output_dir=None, **options):
    evaluator = CoSaliencyEvaluator(name, output_dir, **options)
    evaluator.reset()
    for rec, cosal_map in zip(records, maps, strict=True):
        evaluator.process([rec], [{"cosal_map": cosal_map}])
    return evaluator.evaluate()


def test_hand_made_dataset_and_its_files(tmp_path):
    records = hand_made()
    folder = tmp_path / "inference"
    with registered(records) as name:
        results = run(name, records, hand_made_maps(), folder)
    got = results["cosal"]
    expected = {
        # image 11: four pixels predicted, two of them true, truth has four; image 12: 3 of 4
        **dict.fromkeys(("P", "R", "F0.3", "F1", "adpF"), (2 / 4 + 3 / 4) / 2),
        # |1 - 0.5| + 2 lower object + 0.25 + 0.25 of 16 pixels; 1 + 1 of 8 pixels
        "MAE": (3.0 / 16 + 2 / 8) / 2,
        # found: the upper object of 11 (0.75), not the lower (0), nor that of 12 (0.75 < 1)
        "object_recall": 1 / 3,
        # the distractor's mean is 0.25, exactly the threshold: not rejected
        "distractor_rejection": 0,
        # 11: the pixels of the upper object fill its box, none of the lower's; 12: three of four,
        # the same box
        "box_recall": 2 / 3,
        # 11: one found and the distractor; 12: none and no false region
        "count_error": 0.5,
        **{"wrongly_empty": 0, "empty_MAE": 0.25, "empty_share": 1},
    }
    assert dict(got) == pytest.approx(expected, abs=1e-12)
    assert list(got) == [*MAIN_KEYS, "empty_MAE", "empty_share"]
    assert all(type(value) is float for value in got.values())
    print_csv_format(results)
    flat = flatten_results_dict(results)
    assert flat == {f"cosal/{key}": value for key, value in got.items()}
    assert not any("-" in key for key in flat)  # print_csv_format would hide it

    assert sorted(os.listdir(folder)) == FILES
    assert json.loads((folder / "cosal_metrics.json").read_text()) == got
    with open(folder / "per_image.csv", newline="") as file:
        reader = csv.DictReader(file)
        first, second, third = reader
    assert reader.fieldnames == COLUMNS
    assert [first["image_id"], second["image_id"], third["image_id"]] == ["11", "12", "13"]
    assert first["file_name"] == "images/11.jpg"
    assert (first["objects"], first["objects_found"], first["distractors"]) == ("2", "1", "1")
    assert float(second["threshold"]) == 1.0
    assert (third["empty"], third["precision"], third["distractors_rejected"]) == ("1", "", "")


def test_reset_forgets():
    records = hand_made()
    with registered(records) as name:
        evaluator = CoSaliencyEvaluator(name)
        evaluator.process(records, [{"cosal_map": m} for m in hand_made_maps()])
        evaluator.reset()
        assert evaluator.evaluate() == {}


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"cosal_map": torch.zeros(4, 5)}, "4x5 but the image is 4x4"),
        ({"cosal_map": torch.zeros(1, 4, 4)}, r"\(1, 4, 4\)"),
        ({"cosal_map": torch.full((4, 4), 1.01)}, "to 1.01; it must lie in"),
        ({"cosal_map": torch.full((4, 4), -0.5)}, "from -0.5"),
        ({"cosal_map": torch.full((4, 4), float("nan"))}, "16 values that are not finite"),
        ({"cosal_map": torch.full((4, 4), float("inf"))}, "16 values that are not finite"),
        ({"sem_seg": torch.zeros(4, 4)}, "no 'cosal_map'.*sem_seg"),
    ],
)
def test_a_bad_output_names_its_file(output, message):
    records = hand_made()
    with registered(records) as name:
        evaluator = CoSaliencyEvaluator(name)
        with pytest.raises(ValueError, match=f"images/11.jpg.*{message}"):
            evaluator.process(records[:1], [output])


def test_rounding_just_outside_the_range_is_clipped():
    records = [record(1, 4, 4, [(0, 0, 4, 4)])]
    with registered(records) as name:
        got = run(name, records, [torch.full((4, 4), 1.0000001, dtype=torch.float64)])["cosal"]
    assert (got["MAE"], got["P"], got["R"]) == (0.0, 1.0, 1.0)


def test_unknown_image_and_double_ids_are_refused():
    records = hand_made()
    with registered(records) as name:
        evaluator = CoSaliencyEvaluator(name)
        with pytest.raises(ValueError, match="other.jpg: image_id 99 is not in dataset"):
            evaluator.process([{"image_id": 99, "file_name": "other.jpg"}], [{}])
    twice = [*records, record(11, 4, 4, [])]
    with registered(twice) as name, pytest.raises(ValueError, match="image_id 11 .*twice"):
        CoSaliencyEvaluator(name)


def some_records():
    return [*scenes(), record(6, 9, 9, [], [(0, 0, 3, 3)])]


def evaluate_in_process(rank, folder):
    """Rank 0 scores in worker processes, rank 1 itself; one image is given out twice."""
    shards = ([5, 4, 2, 0], [1, 3, 0])
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", world_size=len(shards), rank=rank
    )
    try:
        records = some_records()
        with registered(records) as name:
            shard = [records[i] for i in shards[rank]]
            maps = [noisy_map(r) for r in shard]
            results = run(name, shard, maps, f"{folder}/out", measures="all", workers=1 - rank)
        Path(folder, f"rank{rank}.json").write_text(json.dumps(results))
    finally:
        dist.destroy_process_group()


def test_two_processes_give_the_numbers_of_one(tmp_path):
    records = some_records()
    single = tmp_path / "single"
    with registered(records) as name:
        maps = [noisy_map(r) for r in records]
        expected = run(name, records, maps, single, measures="all", workers=0)
    mp.spawn(evaluate_in_process, args=(str(tmp_path),), nprocs=2, join=True)
    got = json.loads((tmp_path / "rank0.json").read_text())
    assert json.loads((tmp_path / "rank1.json").read_text()) == {}
    assert list(got) == list(expected) == ["cosal", "field"]
    assert list(got["cosal"]) == [*MAIN_KEYS, "empty_MAE", "empty_share"]
    assert list(got["field"]) == list(FIELD_MEASURES)
    for group, values in expected.items():
        assert got[group] == pytest.approx(values, abs=1e-9)
    assert sorted(os.listdir(single)) == sorted([*FILES, "field_metrics.json"])
    for name in os.listdir(single):
        assert (tmp_path / "out" / name).read_text() == (single / name).read_text()


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
    assert salient["P"] == pytest.approx(np.mean([4 / 6, 1]))
    assert (salient["R"], salient["object_recall"], salient["distractor_rejection"]) == (1, 1, 0)
    assert (salient["empty_MAE"], salient["empty_share"]) == (0.25, 0.0)
    assert (constant["MAE"], constant["F0.3"], constant["object_recall"]) == (0.5, 0.0, 0.0)
    assert (constant["distractor_rejection"], constant["empty_share"]) == (1.0, 0.0)


def test_scores_of_repeating_give_the_area_under_the_curve_and_a_column(tmp_path):
    records = hand_made()
    with registered(records) as name:
        evaluator = CoSaliencyEvaluator(name, tmp_path)
        for rec, cosal_map, score in zip(records, hand_made_maps(), (0.9, 0.2, 0.4), strict=True):
            evaluator.process([rec], [{"cosal_map": cosal_map, "repeats": score}])
        got = evaluator.evaluate()["cosal"]
    # Of the two pictures with a truth one is above the picture without.
    assert got["repeats_AUC"] == 0.5
    with (tmp_path / "per_image.csv").open(encoding="utf-8") as file:
        assert [row["repeats"] for row in csv.DictReader(file)] == ["0.9", "0.2", "0.4"]
