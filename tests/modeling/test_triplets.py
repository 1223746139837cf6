import pytest
import torch
from box_data import area, overlap, seeded
from detectron2.structures import Boxes, Instances
from network_data import instances

from cosal_d2.config import get_cosal_config
from cosal_d2.modeling import OfflineSampler, OnlineSampler
from cosal_d2.modeling.regions import classify_regions, jitter_boxes, random_boxes
from cosal_d2.modeling.triplets import draw_triplets

A, B, D = (10, 10, 50, 50), (70, 10, 110, 50), (10, 70, 50, 110)
SCENE = instances((120, 120), [A, B, D], [True, True, False], [0, 0, 1])


def iou(a, b):
    return overlap(a, b) / (area(a) + area(b) - overlap(a, b))


def check(sample, targets, config=(0.5, 0.1)):
    """Every region of a sample meets the paper's conditions, and its quality is eq. 9's IoU."""
    objects = targets.gt_boxes.tensor.tolist()
    flags = targets.gt_cosalient.tolist()
    matched = []
    for i, box in enumerate(sample.boxes.tolist()):
        overlaps = [iou(box, o) if f else 0 for o, f in zip(objects, flags, strict=True)]
        if i < sample.num_positives:
            best = max(range(len(objects)), key=overlaps.__getitem__)
            matched.append(best)
            assert overlaps[best] > config[0]
            for j, o in enumerate(objects):
                assert j == best or overlap(box, o) <= (0.5 + 1e-5) * area(o)
            assert sample.quality[i].item() == pytest.approx(overlaps[best], abs=1e-5)
        else:
            assert max(overlaps) < config[1] and sample.quality[i] == 0
    classes = targets.gt_classes[matched].tolist()
    for a, p, n in sample.triplets.tolist():
        assert a != p and classes[a] == classes[p]
        assert max(a, p) < sample.num_positives <= n < len(sample.boxes)
    return matched


@pytest.mark.parametrize(
    ("box", "matched", "negative"),
    [
        (A, 0, False),
        (B, 1, False),
        ((10, 10, 50, 31), 0, False),  # IoU 0.525
        ((10, 10, 50, 30), -2, False),  # IoU 0.5 is not above 0.5
        ((10, 10, 50, 14), -2, False),  # IoU 0.1 is not below 0.1
        ((10, 10, 50, 13), -1, True),  # IoU 0.075
        (D, -1, True),
        ((80, 80, 118, 118), -1, True),
        ((10, 10, 110, 50), -2, False),  # both A and B
    ],
)
def test_conditions_on_hand_made_boxes(box, matched, negative):
    boxes = torch.tensor([box], dtype=torch.float32)
    got, best, is_negative = classify_regions(boxes, SCENE, 0.5, 0.1, 0.5)
    assert (got.item(), is_negative.item()) == (matched, negative)
    assert best.item() == pytest.approx(max(iou(box, A), iou(box, B)), abs=1e-6)


@pytest.mark.parametrize("cosalient", [True, False])
@pytest.mark.parametrize(("inner", "matched"), [((40, 40, 48, 48), -2), ((45, 20, 57, 30), 0)])
def test_a_positive_contains_only_one_salient_object(inner, matched, cosalient):
    targets = instances((120, 120), [A, inner], [True, cosalient])
    got, _, _ = classify_regions(torch.tensor([A]).float(), targets, 0.5, 0.1, 0.5)
    assert got.item() == matched


def test_nothing_is_positive_or_negative_without_a_cosalient_object():
    targets = instances((120, 120), [A, D], [False, False])
    matched, best, negative = classify_regions(torch.tensor([A, B]).float(), targets, 0.5, 0.1, 0.5)
    assert matched.tolist() == [-2, -2] and best.tolist() == [0, 0] and not negative.any()
    for sampler in (OfflineSampler, OnlineSampler):
        sample = sampler()(targets, regions([A, B], [1, 2]), seeded())
        assert (len(sample.boxes), sample.num_positives, len(sample.triplets)) == (0, 0, 0)


def test_triplets_pair_two_regions_of_one_class_and_any_negative():
    drawn = draw_triplets(torch.tensor([0, 0, 1, 2, 2]), 2, 600, seeded())
    assert drawn.shape == (600, 3)
    assert {tuple(t) for t in drawn[:, :2].tolist()} == {(0, 1), (1, 0), (3, 4), (4, 3)}
    assert set(drawn[:, 2].tolist()) == {5, 6}
    assert torch.equal(drawn, draw_triplets(torch.tensor([0, 0, 1, 2, 2]), 2, 600, seeded()))
    assert len(draw_triplets(torch.tensor([0, 1]), 2, 9, seeded())) == 0
    assert len(draw_triplets(torch.tensor([0, 0]), 0, 9, seeded())) == 0


def test_jitter_moves_and_scales_within_its_ranges_and_clips():
    boxes = torch.tensor([[400.0, 300, 500, 400]]).repeat(400, 1)
    out = jitter_boxes(boxes, (900, 900), 0.25, (0.75, 1.35), seeded())
    centre, size = (out[:, :2] + out[:, 2:]) / 2, out[:, 2:] - out[:, :2]
    shift = (centre - torch.tensor([450.0, 350.0])) / 100
    assert 0.2 < shift.abs().max() <= 0.2501
    assert 74.9 <= size.min() < 80 and 130 < size.max() <= 135.1
    clipped = jitter_boxes(boxes, (350, 420), 0.25, (0.75, 1.35), seeded())
    assert clipped[:, 2].max() == 420 and clipped[:, 3].max() == 350
    assert torch.equal(jitter_boxes(boxes, (900, 900), 0.0, (1.0, 1.0), seeded()), boxes)


def test_random_boxes_keep_the_ranges_of_side_and_aspect():
    out = random_boxes(500, (1200, 1500), (128, 512), (0.5, 2), seeded())
    w, h = (out[:, 2:] - out[:, :2]).T
    side, aspect = (w * h).sqrt(), w / h
    assert 127.9 < side.min() < 140 and 480 < side.max() < 512.1
    assert 0.499 < aspect.min() < 0.55 and 1.8 < aspect.max() < 2.001
    assert out.min() >= 0 and out[:, 2].max() <= 1500 and out[:, 3].max() <= 1200


def test_offline_fills_the_papers_counts_within_the_papers_ranges():
    boxes = [(50, 50, 290, 250), (400, 60, 560, 300), (80, 400, 300, 560)]
    targets = instances((700, 800), boxes, [True, True, False], [0, 0, 1])
    sampler = OfflineSampler(get_cosal_config("cosal_vgg16_online.yaml"))
    assert not sampler.needs_regions
    sample = sampler(targets, None, seeded(3))
    assert sample.num_positives == 32 and len(sample.boxes) == 32 + 96
    assert len(sample.triplets) == 128
    assert set(check(sample, targets)) == {0, 1}
    w, h = (sample.boxes[:, 2:] - sample.boxes[:, :2]).T
    side, aspect = (w * h).sqrt()[:32], (w / h)[:32]
    assert side.min() >= 128 and side.max() <= 512 and aspect.min() >= 0.5 and aspect.max() <= 2
    assert sample.boxes[32].tolist() == list(boxes[2])


def test_one_object_pairs_with_itself_and_small_ones_keep_their_own_size():
    targets = instances((400, 400), [(100, 100, 120, 118)])
    sample = OfflineSampler()(targets, None, seeded())
    assert sample.num_positives == 32 and len(sample.triplets) == 128
    assert set(check(sample, targets)) == {0}
    w, h = (sample.boxes[:32, 2:] - sample.boxes[:32, :2]).T
    assert (w * h).sqrt().max() < 30


def test_no_triplet_without_a_negative():
    targets = instances((100, 100), [(0, 0, 100, 100)])
    sample = OfflineSampler(region_sides=(90, 100))(targets, None, seeded())
    assert len(sample.boxes) == sample.num_positives > 0 and sample.triplets.shape == (0, 3)


def regions(boxes, losses):
    result = Instances((120, 120))
    result.proposal_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    result.region_loss = torch.tensor(losses, dtype=torch.float32)
    result.labelled = torch.ones(len(losses), dtype=torch.bool)
    return result


HARD = [(A, 1), (B, 3), ((10, 10, 50, 48), 5), ((80, 80, 118, 118), 4), ((60, 60, 75, 75), 2)]
HARD.append(((0, 0, 120, 120), 6))


def test_online_takes_the_hardest_that_meet_the_conditions():
    found = regions(*zip(*HARD, strict=True))
    sampler = OnlineSampler(num_positives=2, num_negatives=3, num_triplets=10)
    assert sampler.needs_regions
    # The first region overlaps the harder third one by 0.95 and goes.
    order = [HARD[i][0] for i in (5, 2, 3, 1, 4)]
    assert sampler.rank(found).tolist() == [list(map(float, b)) for b in order]
    sample = sampler(SCENE, found, seeded())
    # The distractor comes first among the negatives, though no region of the RPN hits it.
    expected = [HARD[2][0], B, D, HARD[3][0], HARD[4][0]]
    assert sample.boxes.tolist() == [list(map(float, b)) for b in expected]
    assert (sample.num_positives, sample.num_filled, len(sample.triplets)) == (2, 0, 10)
    assert check(sample, SCENE) == [0, 1]
    assert sample.quality.tolist() == pytest.approx([0.95, 1, 0, 0, 0])
    found.labelled[5] = False
    assert sampler.rank(found).tolist() == [list(map(float, b)) for b in order[1:]]
    found.labelled[5] = True
    short = OnlineSampler(pre_nms_topk=3, post_nms_topk=2)
    assert short.rank(found).tolist() == [list(map(float, b)) for b in order[:2]]


@pytest.mark.parametrize("found", [regions([], []), regions(*zip(*HARD, strict=True))])
def test_online_is_filled_up_while_the_rpn_is_poor(found):
    sampler = OnlineSampler(region_sides=(10, 60))
    sample = sampler(SCENE, found, seeded())
    kept = [2, 1] if len(found) else []
    hard = len(kept) + (3 if len(found) else 1)
    assert sample.boxes[: len(kept)].tolist() == [list(map(float, HARD[i][0])) for i in kept]
    assert sample.num_positives == 32 and len(sample.boxes) == 128
    assert sample.num_filled == 128 - hard and len(sample.triplets) == 128
    check(sample, SCENE)
