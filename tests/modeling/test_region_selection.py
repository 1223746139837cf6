import itertools

import pytest
import torch
from box_data import area, overlap, random_boxes, seeded

from cosal_d2.modeling.grouping.region_selection import apart, distinct, select_regions


@pytest.mark.parametrize("count", [1, 3, 60])
def test_selection_is_greedy_and_best_first(count):
    boxes = random_boxes(60)
    logits = (torch.randn(60, generator=seeded(1)) * 4).round()  # with ties
    kept = []
    for i in sorted(range(60), key=lambda i: -logits[i].item()):
        ious = [overlap(boxes[i], boxes[j]) for j in kept]
        ious = [o / (area(boxes[i]) + area(boxes[j]) - o) for o, j in zip(ious, kept, strict=True)]
        if all(x <= 0.4142 for x in ious):
            kept.append(i)
    assert 8 < len(kept) < 60
    found, scores = select_regions(boxes, logits, count, 0.4142)
    assert torch.equal(found, boxes[kept[:count]]) and torch.equal(scores, logits[kept[:count]])


def test_regions_are_apart_unless_one_covers_enough_of_the_other():
    boxes = torch.tensor([(0, 0, 8, 8), (2, 2, 4, 4), (4, 0, 12, 8), (3, 0, 11, 8)]).float()
    # The second lies in the first; the third shares exactly half with it, the fourth more.
    found = apart(boxes, 0.5)
    assert found[0].tolist() == found[:, 0].tolist() == [False, False, True, False]
    assert not apart(boxes, 1.0).diagonal().any()
    boxes = random_boxes(30, side=12)
    result = apart(boxes, 0.31).tolist()
    for (i, a), (j, b) in itertools.product(enumerate(boxes.tolist()), repeat=2):
        assert result[i][j] == (i != j and overlap(a, b) <= 0.31 * min(area(a), area(b)))


def test_one_region_is_chosen_for_each_object_the_most_object_like_first():
    masks = torch.zeros(6, 4, 12)
    masks[0, :, 0:4] = 0.9
    masks[1, :, 2:6] = 0.9  # shares exactly half with the first
    masks[2, :, 3:7] = 0.9  # shares more with the second, too little with the first
    masks[3, 1:3, 0:2] = 0.6  # inside the first
    masks[4, :, 8:] = 0.9
    masks[5] = 0.5  # no pixel over a half
    logits = torch.tensor([5.0, 4, 3, 2, 1, 9])
    assert distinct(masks, logits, 0.5).tolist() == [True, True, False, False, True, False]
    # With another order the third takes the second's place, and the inner one the outer one's.
    logits = torch.tensor([1.0, 2, 3, 4, 5, 9])
    assert distinct(masks, logits, 0.5).tolist() == [False, False, True, True, True, False]
    assert distinct(masks, logits, 0.49).tolist() == [False, False, True, True, True, False]
    assert distinct(masks[:0], logits[:0], 0.5).shape == (0,)


@pytest.mark.parametrize("count", [389, 391])  # bfloat16 has neither
def test_pixels_are_counted_exactly_under_autocast(count):
    masks = torch.zeros(2, 1, 3 * count)
    masks[0, :, : 2 * count] = 1
    masks[1, :, count:] = 1
    logits = torch.tensor([1.0, 0.0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for share, taken in ((0.5, True), (0.5 - 0.25 / count, False)):
            assert distinct(masks, logits, share).tolist() == [True, taken]
