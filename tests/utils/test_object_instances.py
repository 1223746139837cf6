import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from box_data import seeded

from cosal_d2.modeling.grouping.region_masks import RegionSet, windows
from cosal_d2.utils import object_instances
from cosal_d2.utils.object_instances import InstanceOptions, find_instances, group_regions


def discs(*boxes):
    """Regions whose masks are the ellipses in their boxes (a window is 1.3 times its box)."""
    at = ((torch.arange(28) + 0.5) / 28 * 2 - 1) * 1.3
    disc = (at[None] ** 2 + at[:, None] ** 2 <= 1).float()
    boxes = torch.tensor(boxes).float().reshape(-1, 4)
    count = len(boxes)
    masks, colours = disc.repeat(count, 1, 1), torch.zeros(count, 2)
    return RegionSet(boxes, boxes, torch.full((count,), 4.0), masks, colours)


def found(regions, scores, pairs, cosal_map, size=None):
    vectors = torch.arange(len(regions)).float()[:, None]
    size = size or tuple(cosal_map.shape)
    scores = np.float32(scores)
    if pairs is not None:
        pairs = np.float32(pairs).reshape(len(scores), len(scores))
    arrays = (x.numpy() for x in (windows(regions.proposals), regions.masks, vectors))
    return find_instances(
        size, *arrays, scores, pairs, cosal_map.numpy(), InstanceOptions()
    ).to_detectron2()


def alike(*groups):
    """Probabilities of resemblance: 0.9 inside of a group, 0.1 between."""
    ids = torch.tensor(groups)
    return torch.where(ids[:, None] == ids, 0.9, 0.1).tolist()


@pytest.mark.parametrize("scale", [1, 2])
def test_touching_objects_get_masks_of_their_own_at_the_maps_size(scale):
    boxes = ((10, 10, 40, 40), (40, 10, 70, 40), (10, 60, 40, 90))
    cosal_map = torch.zeros(100, 80)
    for x0, y0, x1, y1 in boxes:
        cosal_map[y0:y1, x0:x1] = 0.9
    cosal_map = cosal_map.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    result = found(discs(*boxes), [0.7, 0.9, 0.8], alike(0, 0, 0), cosal_map, (100, 80))
    assert result.image_size == (100 * scale, 80 * scale)
    assert result.scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert result.embeddings[:, 0].tolist() == [1, 2, 0] and result.group_ids.tolist() == [0, 0, 0]
    masks = result.pred_masks
    assert masks.dtype == torch.bool and int(masks.sum(dim=0).max()) == 1
    assert not (masks & (cosal_map < 0.5)).any()
    for mask, box, k in zip(masks, result.pred_boxes.tensor / scale, (1, 2, 0), strict=True):
        assert mask.sum() > 0.75 * 900 * scale**2
        torch.testing.assert_close(box, torch.tensor(boxes[k]).float(), atol=1.5, rtol=0)


def test_weak_hidden_and_double_regions_are_no_instances():
    boxes = [(0, 0, 20, 20), (30, 0, 50, 20), (1, 1, 20, 20), (60, 0, 80, 20), (0, 40, 20, 60)]
    shown = torch.ones(64, 96)
    shown[:, 60:] = 0.4  # the fourth is not in the map
    scores = [0.9, 0.8, 0.7, 0.9, 0.29]
    result = found(discs(*boxes), scores, alike(*[0] * 5), shown)
    assert result.embeddings[:, 0].tolist() == [0, 1]
    nothing = found(discs(*boxes), scores, alike(*[0] * 5), torch.zeros(64, 96))
    assert len(nothing) == 0 and nothing.pred_masks.shape == (0, 64, 96)
    assert nothing.pred_boxes.tensor.shape == (0, 4) and nothing.embeddings.shape == (0, 1)
    assert len(found(discs(), [], [], shown)) == 0


def test_groups_keep_their_own_ids_and_single_objects_are_none():
    boxes = [(x, y, x + 16, y + 16) for y, x in itertools.product((0, 20, 40), (0, 20))]
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.95]
    result = found(discs(*boxes), scores, alike(0, 1, 1, 1, 0, 2), torch.ones(64, 40))
    assert result.group_ids.tolist() == [0, 0, 0, 1, 1]
    assert result.embeddings[:, 0].tolist() == [1, 2, 3, 0, 4]


@pytest.mark.parametrize("count", [1, 3])
def test_without_resemblances_all_are_one_group(count):
    boxes = [(0, 0, 16, 16), (20, 0, 36, 16), (0, 20, 16, 36)][:count]
    result = found(discs(*boxes), [0.9, 0.8, 0.7][:count], None, torch.ones(40, 40))
    assert result.group_ids.tolist() == [0] * count


def test_groups_equal_a_slow_average_linkage():
    points = torch.rand((9, 2), generator=seeded())
    pairs = (1 - torch.cdist(points, points)).clamp(0, 1).fill_diagonal_(1).numpy()
    clusters = [[i] for i in range(9)]

    def mean(pair):
        return sum(pairs[i, j].item() for i in pair[0] for j in pair[1]) / (
            len(pair[0]) * len(pair[1])
        )

    while len(clusters) > 1:
        best = max(itertools.combinations(clusters, 2), key=mean)
        if mean(best) < 0.7:
            break
        clusters = [c for c in clusters if c not in best] + [best[0] + best[1]]
    groups = group_regions(pairs, 0.7)
    expected = {frozenset(c) for c in clusters if len(c) > 1}
    got = [frozenset(i for i, g in enumerate(groups) if g == k) for k in range(max(groups) + 1)]
    assert set(got) == expected and len(expected) > 1
    assert [len(c) for c in got] == sorted(map(len, got), reverse=True)
    assert all(g == -1 for i, g in enumerate(groups) if not any(i in c for c in got))
    assert group_regions(pairs[:1, :1], 0.5) == [-1] and group_regions(pairs[:0, :0], 0.5) == []


def test_masks_of_a_large_picture_are_those_of_a_smaller_one(monkeypatch):
    boxes = ((10, 10, 40, 40), (40, 10, 70, 40), (10, 60, 40, 90))
    cosal_map = torch.zeros(300, 240)
    for x0, y0, x1, y1 in boxes:
        cosal_map[3 * y0 : 3 * y1, 3 * x0 : 3 * x1] = 0.9
    arguments = discs(*boxes), [0.7, 0.9, 0.8], alike(0, 0, 0), cosal_map, (100, 80)
    usual = found(*arguments)
    monkeypatch.setattr(object_instances, "MASK_PIXELS", 10000)
    smaller = found(*arguments)
    assert torch.equal(usual.embeddings, smaller.embeddings)
    for mask, own in zip(usual.pred_masks, smaller.pred_masks, strict=True):
        assert (mask & own).sum() > 0.95 * (mask | own).sum()
        assert not (own & (cosal_map < 0.5)).any()


def test_a_large_picture_takes_a_few_bytes_a_pixel():
    cosal_map = np.ones((4000, 3000), np.float32)
    regions = discs(*[(10 * i, 10 * i, 3000, 4000) for i in range(40)])
    arrays = (x.numpy() for x in (windows(regions.proposals), regions.masks, regions.boxes))
    scores, options = np.full(40, 0.9, np.float32), InstanceOptions(same_object_share=1.0)
    tracemalloc.start()
    instances = find_instances((4000, 3000), *arrays, scores, None, cosal_map, options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(instances) and peak < 200e6 + 5 * cosal_map.size
