"""Measures of instances: against hand-made cases, and average precision against slow loops."""

import csv
import json
import pickle
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.structures import Instances
from detectron2.utils import comm
from evaluation_data import box_mask, noisy_map, record, registered
from network_data import GROUPED, tiny_model, write_dataset
from network_data import registered as registered_json

from cosal_d2.evaluation import CoSaliencyEvaluator
from cosal_d2.evaluation.instances import (
    ImageInstances,
    average_precision,
    map_components,
    score_instances,
    summarize_instances,
)
from cosal_d2.utils.masks import mask_rle

SIZE = (20, 30)


def found(boxes, scores=None, groups=None, size=SIZE):
    """Predicted instances with boxes as masks, all of one group unless told."""
    masks = [box_mask(*size, box) for box in boxes]
    return Instances(
        size,
        pred_masks=torch.from_numpy(np.array(masks, dtype=bool).reshape(-1, *size)),
        scores=torch.tensor(scores or [0.9] * len(boxes), dtype=torch.float32),
        group_ids=torch.tensor(groups or [0] * len(boxes), dtype=torch.int64),
    )


def annotated(objects, distractors=(), crowds=(), size=SIZE):
    """A dataset dict of (box, class) pairs and boxes of co-salient crowds."""
    boxes = [box for box, _ in objects], [box for box, _ in distractors]
    rec = record(1, *size, *boxes)
    names = [name for _, name in (*objects, *distractors)]
    for annotation, name in zip(rec["annotations"], names, strict=True):
        annotation["own_class"] = name
        annotation["class_name"] = name if annotation["cosalient"] else "distractor"
    for crowd in record(1, *size, crowds)["annotations"]:
        rec["annotations"].append(crowd | {"iscrowd": 1, "class_name": "apple"})
    return rec


def scored(instances, rec, cosal_map=None):
    if cosal_map is None:
        cosal_map = np.zeros((rec["height"], rec["width"]), np.float32)
    return score_instances(instances, cosal_map, rec)


def test_average_precision_by_hand():
    rec = annotated([((0, 0, 10, 10), "apple"), ((12, 0, 22, 10), "apple")])
    # Wholly right; a false one; 60 % of the second object.
    boxes, scores = [(0, 0, 10, 10), (0, 12, 8, 20), (12, 0, 18, 10)], [0.9, 0.8, 0.7]
    got = summarize_instances([scored(found(boxes, scores), rec)])["instances"]
    # Precision is 1 up to a recall of 1/2 (51 of 101 points), then 2/3 where the IoU of 0.6 counts.
    half, whole = 51 / 101, (51 + 50 * 2 / 3) / 101
    for prefix in ("", "box_"):
        assert got[f"{prefix}AP50"] == pytest.approx(whole)
        assert got[f"{prefix}AP75"] == pytest.approx(half)
        # 0.5, 0.55 and 0.6 against the other seven
        assert got[f"{prefix}AP"] == pytest.approx((3 * whole + 7 * half) / 10)


def test_masks_and_boxes_are_told_apart():
    ring = box_mask(*SIZE, (0, 0, 20, 20)) & ~box_mask(*SIZE, (4, 4, 16, 16))  # 256 of 400 pixels
    rec = annotated([((0, 0, 20, 20), "apple")])
    instances = found([(0, 0, 20, 20)])
    instances.pred_masks[0] = torch.from_numpy(ring)
    got = summarize_instances([scored(instances, rec)])["instances"]
    assert [got["AP50"], got["AP75"], got["box_AP"]] == pytest.approx([1, 0, 1])


def test_what_lies_in_a_crowd_is_ignored_and_what_lies_on_a_distractor_is_false():
    objects, crowd = [((0, 0, 10, 10), "apple")], (0, 10, 30, 20)
    boxes, scores = [(2, 11, 8, 19), (0, 0, 10, 10)], [0.95, 0.9]
    with_crowd = scored(found(boxes, scores), annotated(objects, crowds=[crowd]))
    assert summarize_instances([with_crowd])["instances"]["AP"] == pytest.approx(1)
    distractor = [((2, 11, 8, 19), "pear")]
    without = scored(found(boxes, scores), annotated(objects, distractor))
    assert summarize_instances([without])["instances"]["AP"] == pytest.approx(0.5)


def slow_average_precision(truth, predicted, iou_of):
    """COCO's AP by plain loops over IoU thresholds, predictions and recalls.

    Args:
        truth: by image, a list of masks.
        predicted: (image, score, mask) triplets, of different scores.
    """
    values = []
    total = sum(map(len, truth))
    for threshold in np.linspace(0.5, 0.95, 10):
        taken = [set() for _ in truth]
        right, points = 0, []
        for place, (image, _, mask) in enumerate(sorted(predicted, key=lambda p: -p[1]), 1):
            free = [
                (iou_of(mask, other), i)
                for i, other in enumerate(truth[image])
                if i not in taken[image]
            ]
            best, i = max(free, default=(0, -1))
            if best >= threshold - 1e-9:
                taken[image].add(i)
                right += 1
            points.append((right / total, right / place))
        recalls = np.linspace(0, 1, 101)
        values.append(
            np.mean([max((p for r, p in points if r >= at - 1e-12), default=0) for at in recalls])
        )
    return np.mean(values), values[0], values[5]


def mask_iou(a, b):
    return (a & b).sum() / (a | b).sum()


def box_iou(a, b):
    def tight(mask):
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        return box_mask(*mask.shape, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))

    return mask_iou(tight(a), tight(b))


def random_images(rng, count=12):
    """True masks by image, and (image, score, mask) triplets: shifted truth and noise."""
    truth, predicted = [], []
    for image in range(count):
        masks = []
        for k in range(int(rng.integers(0, 4))):
            x, y = 9 * k, int(rng.integers(0, 8))
            mask = box_mask(*SIZE, (x, y, x + 8, y + int(rng.integers(5, 11))))
            mask[y, x : x + int(rng.integers(0, 8))] = False
            masks.append(mask)
            if rng.random() < 0.8:
                dx, dy = rng.integers(0, 3, 2)
                moved = np.roll(mask, (dy, dx), (0, 1))
                predicted.append((image, float(rng.random()), moved))
        if rng.random() < 0.6:
            x, y = rng.integers(0, 12, 2)
            predicted.append((image, float(rng.random()), box_mask(*SIZE, (x, y, x + 9, y + 7))))
        truth.append(masks)
    return truth, predicted


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_agrees_with_slow_loops(seed):
    truth, predicted = random_images(np.random.default_rng(seed))
    results, own = [], []
    for image, masks in enumerate(truth):
        results.append(ImageInstances(tuple(map(mask_rle, masks)), (), (), (), (), 0, 0, ()))
        own.append([(mask_rle(m), s) for i, s, m in predicted if i == image])
    got = average_precision(results, own)
    for prefix, iou_of in (("", mask_iou), ("box_", box_iou)):
        expected = slow_average_precision(truth, predicted, iou_of)
        assert [got[prefix + n] for n in ("AP", "AP50", "AP75")] == pytest.approx(expected)
        assert 0.05 < expected[0] < 0.9


def test_more_than_a_hundred_objects_can_all_be_found():
    boxes = [(x, y, x + 2, y + 2) for x in range(0, 60, 3) for y in range(0, 24, 3)]
    size = (24, 60)
    rec = annotated([(box, "seed") for box in boxes], size=size)
    got = summarize_instances([scored(found(boxes, size=size), rec)])["instances"]
    assert len(boxes) > 100
    assert got["AP"] == pytest.approx(1)
    assert got["count_exact"] == 1


def four_images():
    """Two kinds whose groups are mixed up by one; one kind; nothing; a crowd."""
    apples = [((x, 0, x + 5, 5), "apple") for x in (0, 6, 12)]
    pears = [((x, 8, x + 5, 13), "pear") for x in (0, 6, 12)]
    boxes = [box for box, _ in (*apples, *pears)]
    plum = ((20, 8, 25, 13), "plum")
    return [
        # The last pear and the plum go with the apples, and a box on nothing with the pears.
        scored(
            found([*boxes, plum[0], (22, 15, 28, 20)], groups=[0, 0, 0, 1, 1, 0, 0, 1]),
            annotated([*apples, *pears], [plum]),
        ),
        scored(found(boxes[:2]), annotated(apples)),
        scored(found([]), annotated([], [plum])),
        scored(found(boxes[:3]), annotated(apples[:2], crowds=[(0, 15, 30, 20)])),
    ]


def test_counts_groups_and_purity_by_hand():
    results = four_images()
    assert [r.row["count"] for r in results] == [5, 2, 0, 3]
    assert [r.row["true_count"] for r in results] == [3, 3, 0, None]
    assert [(r.counts, r.true_counts) for r in results[:2]] == [((5, 3), (3, 3)), ((2,), (3,))]
    # Of the first image's apples' group, 3 of 5 are apples; its pears' 2, and a box on nothing.
    assert [(r.matched, r.pure) for r in results] == [(7, 5), (2, 2), (0, 0), (2, 2)]
    got = summarize_instances(results)["instances"]
    assert got["counted"] == 3
    assert got["count_exact"] == got["groups_exact"] == pytest.approx(1 / 3)
    assert got["count_within_one"] == pytest.approx(2 / 3)
    assert got["count_error"] == pytest.approx((2 + 1 + 0) / 3)
    assert got["group_purity"] == pytest.approx(9 / 11)


def test_groups_are_exact_where_all_counts_are():
    objects = [((x, y, x + 4, y + 4), name) for y, name in ((0, "a"), (8, "b")) for x in (0, 6, 12)]
    boxes, rec = [box for box, _ in objects], annotated(objects)
    for groups, exact in (([0, 0, 0, 1, 1, 1], 1), ([0, 0, 0, 0, 1, 1], 0), ([0] * 6, 0)):
        got = summarize_instances([scored(found(boxes, groups=groups), rec)])["instances"]
        assert (got["groups_exact"], got["count_exact"]) == (exact, exact)


def test_distractors_of_unknown_class_differ():
    boxes = [(0, 0, 5, 5), (6, 0, 11, 5), (12, 0, 17, 5)]
    rec = annotated([], [(box, None) for box in boxes])
    assert (scored(found(boxes), rec).matched, scored(found(boxes), rec).pure) == (3, 1)
    rec = annotated([], [(box, "plum") for box in boxes])
    assert scored(found(boxes), rec).pure == 3


def test_components_of_a_map():
    cosal_map = np.zeros((100, 100), np.float32)
    cosal_map[0:4, 0:4], cosal_map[4:8, 4:8] = 0.5, 1.0  # joined at a corner
    cosal_map[20:22, 20:25] = 0.8  # 0.1 % of the picture
    cosal_map[30:33, 30:33] = 1.0  # less
    cosal_map[50:60, 50:60] = 0.49
    components = map_components(cosal_map)
    joined = box_mask(100, 100, (0, 0, 4, 4)) | box_mask(100, 100, (4, 4, 8, 8))
    masks = joined, box_mask(100, 100, (20, 20, 25, 22))
    assert [rle for rle, _ in components] == list(map(mask_rle, masks))
    assert [score for _, score in components] == pytest.approx([0.75, 0.8])
    assert map_components(np.zeros((10, 10))) == []


def test_components_are_scored_beside_the_instances():
    objects = [((0, 0, 10, 10), "apple"), ((10, 0, 20, 10), "apple"), ((24, 0, 29, 10), "apple")]
    rec = annotated(objects)
    cosal_map = np.zeros(SIZE, np.float32)
    for (x0, y0, x1, y1), _ in objects:
        cosal_map[y0:y1, x0:x1] = 0.9
    summary = summarize_instances([scored(found([b for b, _ in objects]), rec, cosal_map)])
    assert summary["instances"]["AP"] == pytest.approx(1)
    assert summary["instances"]["count_exact"] == 1
    components = summary["components"]
    # Two objects touch and are one component: its IoU with either is a half, so it finds one.
    assert components["AP50"] == pytest.approx(67 / 101)
    assert components["AP75"] == pytest.approx(34 / 101 / 2)
    assert (components["count_exact"], components["count_within_one"]) == (0, 1)
    assert not {"groups_exact", "group_purity"} & set(components)


def test_without_any_object_there_is_no_average_precision():
    summary = summarize_instances([scored(found([]), annotated([]))])
    assert dict(summary["components"]) == {
        **{"count_exact": 1.0, "count_within_one": 1.0, "count_error": 0.0, "counted": 1}
    }
    assert dict(summary["instances"]) == {**summary["components"], "groups_exact": 1.0}
    crowd = summarize_instances([scored(found([]), annotated([], crowds=[(0, 0, 9, 9)]))])
    assert dict(crowd["instances"]) == dict(crowd["components"]) == {"counted": 0}


def dataset():
    """Five images of two objects or three."""
    return [
        record(i, 12, 24, [(8 * j, 1, 8 * j + 6, 9) for j in range(2 + i % 2)]) for i in range(1, 6)
    ]


def output(rec):
    """A network's: instances, more of them or others than are there, and a noisy map."""
    boxes = [(8 * j, 1, 8 * j + 6, 8) for j in range(1 - rec["image_id"] % 2, 3)]
    instances = found(boxes, [0.9 - 0.01 * rec["image_id"]] * len(boxes), size=(12, 24))
    regions = SimpleNamespace(instances=lambda cosal_map: instances)
    return {"cosal_map": noisy_map(rec, 0.7), "regions": regions}


def evaluate(name, records, folder):
    evaluator = CoSaliencyEvaluator(name, folder)
    for rec in records:
        evaluator.process([rec], [output(rec)])
    return evaluator.evaluate()


def test_the_hook_scores_instances_alike_in_one_process_and_in_two(tmp_path, monkeypatch):
    records = dataset()
    parts = []

    def gather(part, dst):
        """What processes that end one after the other send."""
        parts.append(pickle.loads(pickle.dumps(part)))
        return parts

    with registered(records) as name:
        expected = evaluate(name, records, tmp_path / "single")
        monkeypatch.setattr(comm, "gather", gather)
        evaluate(name, [records[i] for i in (4, 2, 0)], None)
        got = evaluate(name, [records[i] for i in (1, 3, 0)], tmp_path)  # image 1 again
    assert got == expected
    assert list(expected) == ["cosal", "instances", "components"]
    assert flatten_results_dict(expected)["instances/counted"] == 5
    assert 0 < expected["instances"]["AP"] < 1
    for file in ("instance_metrics.json", "per_image.csv"):
        assert (tmp_path / file).read_text() == (tmp_path / "single" / file).read_text()
    written = json.loads((tmp_path / "instance_metrics.json").read_text())
    assert written == {k: expected[k] for k in ("instances", "components")}
    with (tmp_path / "per_image.csv").open(encoding="utf-8") as file:
        rows = [(row["count"], row["true_count"]) for row in csv.DictReader(file)]
    assert rows == [("3", "3"), ("2", "2"), ("3", "3"), ("2", "2"), ("3", "3")]


def test_a_network_that_compares_regions(tmp_path):
    """Its thresholds are low, so that there are instances to score."""
    json_file = write_dataset(tmp_path)
    opts = ("MODEL.GROUPING.INSTANCE_THRESHOLD", "0.0", "MODEL.GROUPING.PAIR_THRESHOLD", "0.0")
    model = tiny_model(*GROUPED, *opts).eval()
    with registered_json(json_file) as name, torch.no_grad():
        evaluator = CoSaliencyEvaluator(name)
        for rec in DatasetCatalog.get(name):
            pixels = torch.from_numpy(cv2.imread(rec["file_name"]).transpose(2, 0, 1))
            size = {"height": rec["height"], "width": rec["width"]}
            evaluator.process([rec], model([{"image": pixels, **size}]))
        got = evaluator.evaluate()
    assert list(got) == ["cosal", "instances", "components"]
    assert got["instances"]["counted"] == 3
    assert {"AP", "box_AP", "count_exact", "groups_exact"} <= set(got["instances"])


def test_a_network_without_regions_has_no_instances(tmp_path):
    records = dataset()
    with registered(records) as name:
        evaluator = CoSaliencyEvaluator(name, tmp_path)
        for rec in records:
            evaluator.process([rec], [{"cosal_map": noisy_map(rec), "regions": None}])
        assert list(evaluator.evaluate()) == ["cosal"]
    assert not (tmp_path / "instance_metrics.json").exists()
    assert "count" not in (tmp_path / "per_image.csv").read_text().splitlines()[0].split(",")
