import numpy as np
import pytest
from evaluation_data import record

from cosal_d2.evaluation import (
    ImageResult,
    Truth,
    TruthObject,
    decode_truth,
    group_rows,
    score_image,
    score_objects,
    summarize,
    summarize_results,
)
from cosal_d2.evaluation.objects import count_false_regions


def scene(image_id=1):
    """10x20: two apples, a pear that is not co-salient."""
    rec = record(image_id, 10, 20, [(0, 0, 4, 4), (8, 0, 9, 1)], [(12, 4, 20, 8)])
    names = ("apple", "apple", "pear")
    for annotation, name in zip(rec["annotations"], names, strict=True):
        annotation["class_name"] = name
    return rec


def result(rec, pred):
    return ImageResult(rec["file_name"], rec["image_id"], *score_image(pred, decode_truth(rec)))


def test_each_object_by_hand():
    pred = np.zeros((10, 20))
    pred[:4, :2] = 1.0  # the left half of the first apple
    pred[6:, 16:] = 0.5  # the lower right quarter of the pear, and two rows below it
    rows = score_objects(pred, decode_truth(scene()), 0.5)
    assert [(r.role, r.class_name, r.size, r.found) for r in rows] == [
        ("object", "apple", "medium", 1),
        ("object", "apple", "small", 0),
        ("distractor", "pear", "large", 0),
    ]
    assert [r.mean for r in rows] == pytest.approx([0.5, 0, 0.125])
    assert [r.box_iou for r in rows] == pytest.approx([0.5, 0, 0.25])
    assert [r.share for r in rows] == pytest.approx([16 / 200, 1 / 200, 32 / 200])


def test_the_annotations_box_is_used_where_it_has_one():
    rec = scene()
    rec["annotations"][0]["bbox"] = [0, 0, 4, 8]  # XYWH
    rec["annotations"][1]["bbox"] = [0, 0, 0, 0]  # no area: the mask's box
    rows = score_objects(decode_truth(rec).mask.astype(float), decode_truth(rec), 0.5)
    assert [r.box_iou for r in rows] == [0.5, 1, 0]


def test_false_regions_by_hand():
    truth = np.zeros((30, 40), dtype=bool)
    truth[:10, :10] = True
    pred = np.zeros((30, 40))
    pred[:10, 4:12] = 1  # three quarters on the truth
    pred[5:10, 20:22] = 1
    pred[10, 22] = 1  # touches the last one by a corner
    pred[20, 30] = 1  # one pixel: below 0.1 % of 1200
    assert count_false_regions(pred, truth, 0.5) == 1
    pred[20, 31] = 1
    assert count_false_regions(pred, truth, 0.5) == 2
    assert count_false_regions(pred, truth, 0.0) == 1


@pytest.mark.parametrize(("shown", "error"), [((0, 1), 0), ((0,), 1), ((0, 1, 2), 1)])
def test_count_error_of_objects_shown(shown, error):
    truth = decode_truth(scene())
    masks = [o.mask for o in (*truth.objects, *truth.distractors)]
    score = result(scene(), np.any([masks[i] for i in shown], axis=0).astype(float)).score
    assert (score.count_error, score.objects_found) == (error, sum(i < 2 for i in shown))


def test_a_crowd_has_no_count_error():
    rec = scene()
    rec["annotations"][0]["iscrowd"] = 1
    score = result(rec, np.eye(10, 20)).score
    assert (score.objects, score.count_error) == (1, None)
    assert "count_error" not in summarize([score])


def test_groups_by_number_size_and_class():
    empty = record(3, 10, 20, [], [(0, 0, 5, 5)])
    single = record(2, 10, 20, [(0, 0, 4, 4)])
    single["annotations"][0]["class_name"] = "fig"
    results = []
    for rec in (scene(), single, empty):
        pred = np.full((10, 20), 0.01)
        pred[:4, :4] = 1.0
        results.append(result(rec, pred))
    table = {(r["by"], r["group"]): r for r in group_rows(results)}
    assert list(table) == [
        *(("instances", "0"), ("instances", "1"), ("instances", "2")),
        *(("size", "small"), ("size", "medium"), ("size", "large")),
        *(("class", "apple"), ("class", "fig")),
    ]
    assert [table["instances", n]["object_recall"] for n in "012"] == [None, 1.0, 0.5]
    assert [table["instances", n]["count_error"] for n in "012"] == [None, 0, 1]
    assert table["size", "small"]["object_recall"] == 0
    assert table["size", "medium"]["object_recall"] == 1
    assert table["size", "medium"]["objects"] == 2
    # the distractor of the picture with an empty truth does not count
    assert table["size", "large"]["distractors"] == 1
    assert table["size", "large"]["distractor_rejection"] == 1
    assert table["class", "apple"]["images"] == 1
    assert table["class", "fig"]["box_recall"] == 1
    assert summarize_results(results)["object_recall"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("pixels", "size"), [(9, "small"), (10, "medium"), (99, "medium"), (100, "large")]
)
def test_sizes_of_objects_in_a_picture_of_1000_pixels(pixels, size):
    mask = (np.arange(1000) < pixels).reshape(20, 50)
    truth = Truth(mask, mask, [TruthObject(mask)])
    assert score_objects(np.zeros((20, 50)), truth, 0.5)[0].size == size


def test_an_object_without_a_pixel_is_refused():
    masks = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    truth = Truth(masks[0], masks[0], [TruthObject(mask) for mask in masks])
    with pytest.raises(ValueError, match="object 1 has no pixel"):
        score_objects(np.zeros((4, 4)), truth, 0.5)
