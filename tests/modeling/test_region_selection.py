import itertools

import pytest
import torch
from box_data import area, overlap, random_boxes, seeded

from cosal_d2.modeling.grouping.region_selection import (
    different_objects,
    select_regions,
    suppress_duplicates,
)


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


def test_regions_are_different_objects_unless_one_covers_enough_of_the_other():
    boxes = random_boxes(30, side=12)
    result = different_objects(boxes, 0.31).tolist()
    for (i, a), (j, b) in itertools.product(enumerate(boxes.tolist()), repeat=2):
        assert result[i][j] == (i != j and overlap(a, b) <= 0.31 * min(area(a), area(b)))
    halves = torch.tensor([(0, 0, 8, 8), (4, 0, 12, 8)]).float()  # exactly half is shared
    assert different_objects(halves, 0.5)[0, 1] and not different_objects(halves, 0.49)[0, 1]


def greedy(masks, objectness, share):
    """Which masks stay, counted one by one."""
    stays = []
    inside = [set(m.flatten().gt(0.5).nonzero()[:, 0].tolist()) for m in masks]
    for i in sorted(range(len(masks)), key=lambda i: -objectness[i].item()):
        shared = [
            len(inside[i] & inside[j]) / min(len(inside[i]) or 1, len(inside[j])) for j in stays
        ]
        if inside[i] and all(x <= share for x in shared):
            stays.append(i)
    return [i in stays for i in range(len(masks))]


def random_masks(seed, count=20):
    """Blurred blocks of several sizes, and one empty mask."""
    masks = torch.rand((count, 6, 6), generator=seeded(seed))
    for i, mask in enumerate(masks):
        mask[:, : i % 5] = 0
        mask[: i % 4] *= 0.6
    masks[count // 2] = 0.5
    return masks, (torch.randn(count, generator=seeded(seed + 100)) * 2).round()


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("seed", range(4))
def test_one_region_is_kept_for_each_object(share, seed):
    masks, objectness = random_masks(seed)
    expected = greedy(masks, objectness, share)
    assert 1 < sum(expected) < len(masks)
    assert suppress_duplicates(masks, objectness, share).tolist() == expected
    assert suppress_duplicates(masks[:0], objectness[:0], share).shape == (0,)


@pytest.mark.filterwarnings("ignore")
def test_suppression_can_be_traced():
    traced = torch.jit.trace(lambda m, o: suppress_duplicates(m, o, 0.5), random_masks(0))
    for seed in range(1, 6):
        inputs = random_masks(seed)
        assert torch.equal(traced(*inputs), suppress_duplicates(*inputs, 0.5))


@pytest.mark.parametrize("count", [389, 391])  # bfloat16 has neither
def test_pixels_are_counted_exactly_under_autocast(count):
    masks = torch.zeros(2, 1, 3 * count)
    masks[0, :, : 2 * count] = 1
    masks[1, :, count:] = 1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for share, taken in ((0.5, True), (0.5 - 0.25 / count, False)):
            found = suppress_duplicates(masks, torch.tensor([1.0, 0.0]), share)
            assert found.tolist() == [True, taken]
