import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from box_data import random_boxes, seeded
from detectron2.layers import ShapeSpec
from network_data import instances
from torch import nn
from torchvision.ops import roi_align

from cosal_d2.modeling.grouping.level_embedding import LevelEmbedding
from cosal_d2.modeling.grouping.region_grouping import (
    DUPLICATE_WEIGHT,
    RegionGrouping,
    Verdicts,
)
from cosal_d2.modeling.grouping.region_judge import (
    MANY,
    NEAREST,
    RegionJudge,
    counted,
    describe,
)
from cosal_d2.modeling.grouping.region_labels import (
    BACKGROUND,
    OTHER,
    UNDECIDED,
    YES,
    RegionLabels,
    balanced_bce,
    grouping_losses,
    label_regions,
    repeats_loss,
)
from cosal_d2.modeling.grouping.region_masks import RegionSet, windows
from cosal_d2.modeling.grouping.region_selection import different_objects

SHAPES = {"a": ShapeSpec(channels=6, stride=4), "b": ShapeSpec(channels=8, stride=8)}


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def scramble(module, seed=0):
    """Weights that no symmetry hides behind."""
    generator = seeded(seed)
    for parameter in module.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module


def grouping(**options):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        parts = {name: nn.Identity() for name in ("masks", "embedding", "colour")}
        return RegionGrouping(**parts, **options)


def filled(boxes, objectness):
    """Regions whose masks fill their windows."""
    masks = torch.ones(len(boxes), 28, 28)
    return RegionSet(boxes, boxes, objectness, masks, torch.zeros(len(boxes), 2))


def described(count, dim=5, seed=0):
    """Random embeddings of unit length, and regions."""
    embeddings = F.normalize(torch.randn((count, dim), generator=seeded(seed)), dim=1)
    objectness = torch.randn(count, generator=seeded(seed + 1))
    return embeddings, filled(random_boxes(count, seed), objectness)


def test_labels_of_objects_distractors_background_and_undecided():
    objects = {"A": (0, 0, 20, 20), "B": (40, 0, 60, 20), "C": (0, 40, 20, 60)}
    objects |= {"D": (40, 40, 60, 60), "E": (80, 40, 99, 60)}
    classes = dict(zip("ABCDE", (0, 0, 1, 2, 2), strict=True))
    flags = [True] * 3 + [False] * 2
    targets = instances((100, 100), list(objects.values()), flags, [0, 0, 1, 2, 2])
    regions = [*objects.items(), ("A", (0, 0, 20, 16)), ("A", (0, 0, 20, 10))]
    regions += [("D", (41, 40, 60, 58)), ("?", (48, 40, 68, 60))]
    regions += [("?", (0, 0, 20, 8)), ("?", (0, 0, 20, 7))]
    regions += [("-", (0, 0, 20, 5)), ("-", (25, 25, 35, 35)), ("-", (0, 0, 90, 90))]
    names = [name for name, _ in regions]
    labels = label_regions(torch.tensor([b for _, b in regions]).float(), targets)
    kinds = dict(zip("ABCDE-?", (YES,) * 3 + (OTHER,) * 2 + (BACKGROUND, UNDECIDED), strict=True))
    assert labels.group.tolist() == [kinds[n] for n in names]
    for (i, a), (j, b) in itertools.product(enumerate(names), repeat=2):
        if "?" in a + b or (a == b != "-") or not {a, b} & set("ABC"):
            expected = UNDECIDED
        elif "-" in a + b:
            expected = BACKGROUND
        else:
            expected = YES if classes[a] == classes[b] else OTHER
        assert labels.pairs[i, j] == expected, (a, b)
    empty = label_regions(torch.tensor([b for _, b in regions]).float(), instances((9, 9), []))
    assert (empty.group == BACKGROUND).all() and (empty.pairs == UNDECIDED).all()


def test_each_kind_has_its_share_and_the_undecided_none():
    logits = torch.tensor([2.0, -1.0, 0.5, 3.0, -2.0], requires_grad=True)
    labels = torch.tensor([YES, OTHER, OTHER, UNDECIDED, BACKGROUND])
    yes, *no = (-math.log(sigmoid(x)) for x in (2.0, 1.0, -0.5, 2.0))
    loss = balanced_bce(logits, labels)
    assert loss.item() == pytest.approx(0.4 * yes + 0.2 * (no[0] + no[1]) + 0.2 * no[2], rel=1e-5)
    loss.backward()
    assert torch.equal(logits.grad == 0, labels == UNDECIDED)
    assert balanced_bce(logits[:1], labels[:1]).item() == pytest.approx(0.4 * yes, rel=1e-5)
    nothing = balanced_bce(logits, torch.full((5,), UNDECIDED))
    assert nothing.item() == 0 and nothing.requires_grad


def test_of_a_picture_with_one_object_left_nobody_says_whether_anything_repeats():
    logits = torch.tensor([2.0, -1.0, 0.5, 3.0], requires_grad=True)
    boxes = [(0, 0, 9, 9), (9, 9, 20, 20), (20, 20, 30, 30)]
    flags = [[True, True, False], [False, False, False], [False, True, False], []]
    targets = [instances((30, 30), boxes[: len(f)], f) for f in flags]
    loss = repeats_loss(logits, targets)
    expected = -(math.log(sigmoid(2)) + math.log(sigmoid(1)) + math.log(sigmoid(-3))) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert (logits.grad != 0).tolist() == [True, True, False, True]
    alone = repeats_loss(logits[2:3], targets[2:3])
    assert alone.item() == 0 and alone.requires_grad


def test_embeddings_equal_a_slow_pooling_of_their_own_picture():
    embed = LevelEmbedding(SHAPES, ("b", "a"))
    assert not list(embed.parameters())
    features = {
        k: torch.randn((3, s.channels, 48 // s.stride, 48 // s.stride), generator=seeded(3))
        for k, s in SHAPES.items()
    }
    boxes = [random_boxes(4), random_boxes(0), random_boxes(2, 1)]
    foreground = torch.rand((3, 1, 12, 12), generator=seeded(4))
    regions = [
        RegionSet(
            b + torch.tensor([-1.0, -2, 2, 1]),
            b,
            torch.zeros(len(b)),
            torch.rand((len(b), 28, 28), generator=seeded(5 + n)),
            torch.zeros(len(b), 2),
        )
        for n, b in enumerate(boxes)
    ]
    embeddings = embed(features, foreground, regions)
    assert [len(e) for e in embeddings] == [4, 0, 2]
    for n, own in enumerate(regions):
        for k, embedding in enumerate(embeddings[n]):
            box, mask = own.boxes[k], own.masks[k][None, None]
            x0, y0, x1, y1 = windows(own.proposals)[k].tolist()
            scale = torch.tensor([28 / (x1 - x0), 28 / (y1 - y0)] * 2)
            inner = (box - torch.tensor([x0, y0, x0, y0])) * scale
            share = roi_align(mask, [inner[None]], 7, 1.0, 2, aligned=True).flatten()
            own_place = (foreground[n : n + 1], [box[None]], 7, 1 / 4, 2)
            share = share * roi_align(*own_place, aligned=True).flatten()
            weights = [
                (o + 0.02) * math.exp(-((i // 7 - 3) ** 2 + (i % 7 - 3) ** 2) * (2 / 7) ** 2 / 0.3)
                for i, o in enumerate(share.tolist())
            ]
            weights = torch.tensor(weights) / sum(weights)
            parts = []
            for name in ("b", "a"):
                feature, scale = features[name][n : n + 1], 1 / SHAPES[name].stride
                pooled = roi_align(feature, [box[None]], 7, scale, 2, aligned=True)[0].flatten(1)
                mean = pooled @ weights
                parts.append((mean - mean.mean()) / (mean.var(correction=0) + 1e-5).sqrt())
            vector = torch.cat(parts)
            torch.testing.assert_close(embedding, vector / vector.norm(), rtol=1e-4, atol=1e-5)


def test_evidence_and_features_equal_a_slow_count():
    network = scramble(grouping(same_object_share=0.31))
    embeddings, regions = described(9)
    objectness, seen = regions.objectness, []
    network.judge.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    pairs = network.compare(embeddings, regions).pairs
    scale, shift = network.scale.item(), network.shift.item()
    different = different_objects(regions.boxes, 0.31)
    evidence = [[-20.0] * 9 for _ in range(9)]
    for i, j in itertools.product(range(9), repeat=2):
        pair = scale * (embeddings[i] * embeddings[j]).sum().item() + shift
        assert pairs[i, j].item() == pytest.approx(pair, abs=1e-4)
        if different[i, j]:
            evidence[i][j] = max(pair + math.log(sigmoid(objectness[j])), -20.0)
    assert any(v > -20 for row in evidence for v in row) and different.sum() < 72
    best = [sorted(row)[-1] for row in evidence]
    leader = [math.exp(b) * sigmoid(o) for b, o in zip(best, objectness, strict=True)]
    for i, row in enumerate(evidence):
        odds = [sigmoid(e) for e in row]
        group = sum(o * v for o, v in zip(odds, leader, strict=True)) / sum(leader)
        about = [best[i] / 4, sorted(row)[-2] / 4, (best[i] - max(best)) / 4, group * 4]
        about += [sum(odds), sigmoid(objectness[i])]
        assert seen[0][i].tolist() == pytest.approx(about, rel=1e-3, abs=1e-4)
        assert seen[1][i].tolist() == pytest.approx(row, rel=1e-3, abs=1e-4)


def test_regions_are_compared_in_float32_under_autocast():
    network = scramble(grouping())
    embeddings, regions = described(10)
    first = network.compare(embeddings, regions)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = network.compare(embeddings, regions)
    assert all(torch.equal(getattr(again, k), v) for k, v in vars(first).items())


def test_the_judge_takes_in_what_each_region_resembles():
    judge = scramble(RegionJudge(6, 4))
    features = torch.randn((5, 6), generator=seeded(5))
    evidence = torch.randn((5, 5), generator=seeded(6)) * 2
    objectness = torch.randn(5, generator=seeded(7))
    x = [judge.start(f) for f in features]
    for step in judge.rounds:
        taken = []
        for own, row in zip(x, evidence, strict=True):
            nearest = sum(w * v for w, v in zip(row.softmax(dim=0), x, strict=True))
            resembling = sum(sigmoid(e) * v for e, v in zip(row, x, strict=True))
            count = torch.tensor([sum(sigmoid(e) for e in row)])
            taken.append(own + step(torch.cat([own, nearest, resembling, count])))
        x = taken
    group, weight, repeats = judge(features, evidence, objectness)
    for found, head in ((group, judge.verdict), (weight, judge.weight)):
        expected = torch.cat([head(v) for v in x])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    # The picture's verdict is about its most object-like regions of the group.
    shares = [math.exp(g) * sigmoid(o) for g, o in zip(group, objectness, strict=True)]
    mean = sum(s * v for s, v in zip(shares, x, strict=True)) / sum(shares)
    torch.testing.assert_close(repeats, judge.repeats(mean)[0], rtol=1e-4, atol=1e-4)


def test_in_a_crowd_the_judge_sums_over_the_nearest_alone():
    for count in (2, MANY, MANY + 1, 300):
        evidence = torch.randn((count, count), generator=seeded(count)) * 3
        shares = counted(evidence)
        if count <= MANY:
            assert torch.equal(shares, evidence.sigmoid())
            continue
        assert (shares > 0).sum(dim=1).tolist() == [NEAREST] * count
        nearest = evidence.sigmoid().sort(dim=1, descending=True).values[:, :NEAREST]
        assert torch.equal(shares.sort(dim=1, descending=True).values[:, :NEAREST], nearest)


@torch.no_grad()
@pytest.mark.parametrize("count", [70, 150, 600])
def test_the_judge_says_of_a_large_crowd_what_it_says_of_a_small_one(count):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        judge = scramble(RegionJudge(6, 4))

    def judged(number):
        evidence = torch.full((number, number), 2.0).fill_diagonal_(-20.0)
        objectness = torch.full((number,), 2.0)
        group, weight, repeats = judge(describe(evidence, objectness), evidence, objectness)
        return torch.stack([group[0], weight[0], repeats])

    torch.testing.assert_close(judged(count), judged(NEAREST + 1), atol=0.1, rtol=0.05)


def test_a_map_decides_at_test_time_only():
    network = grouping(sharpness=3.0, threshold=0.25, foreground_sharpness=1.0)
    known = torch.tensor([9.0])
    verdicts = Verdicts(torch.tensor([0.5]), known, torch.tensor(0.0), torch.zeros(1, 1))
    regions = filled(torch.tensor([[0.0, 0, 16, 16]]), known)
    for training, expected in ((True, sigmoid(0.5)), (False, sigmoid(3 * 0.25))):
        gate = network.train(training).gate(verdicts, regions, (4, 4))
        assert gate[1:3, 1:3].tolist() == [[pytest.approx(expected, abs=0.02)] * 2] * 2


def test_regions_count_by_objectness_and_weight_and_hardly_where_they_repeat_an_object():
    boxes = torch.tensor([(0.0, 0, 16, 16), (0.0, 0, 16, 16), (16.0, 0, 32, 16)])
    group, weight, objectness = [2.0, -3.0, -3.0], [0.3, 0.3, -1.0], [1.0, 0.9, -0.5]
    verdicts = Verdicts(
        torch.tensor(group), torch.tensor(weight), torch.tensor(0.0), torch.zeros(3, 3)
    )
    gate = grouping().train().gate(verdicts, filled(boxes, torch.tensor(objectness)), (4, 14))
    shares = [sigmoid(o) * sigmoid(w) for o, w in zip(objectness, weight, strict=True)]
    shares[1] *= DUPLICATE_WEIGHT
    for x, regions in ((1, (0, 1)), (3, (0, 1, 2)), (6, (2,))):
        expected = sum(shares[i] * sigmoid(group[i]) for i in regions)
        expected /= sum(shares[i] for i in regions)
        assert gate[1, x].item() == pytest.approx(expected, abs=5e-3)


def scene(generator, dim=32):
    """Three near copies of a random vector and five others, each alone in its place."""
    vectors = torch.randn((6, dim), generator=generator)[[0, 0, 0, 1, 2, 3, 4, 5]]
    vectors = vectors + 0.25 * torch.randn(vectors.shape, generator=generator)
    boxes = torch.arange(8)[:, None] * 10 + torch.tensor([0.0, 0, 8, 8])
    group = torch.tensor([YES] * 3 + [OTHER] * 3 + [BACKGROUND] * 2)
    labels = RegionLabels(group, torch.maximum(group[:, None], group))
    labels.pairs[:3, 3:6] = labels.pairs[3:6, :3] = OTHER
    return (F.normalize(vectors, dim=1), filled(boxes, torch.full((8,), 2.0))), labels


def test_the_repeated_class_is_learned_in_a_few_dozen_steps(storage):
    network, generator = grouping(), seeded()
    optimizer, history = torch.optim.Adam(network.parameters(), lr=0.01), []
    for _ in range(80):
        regions, labels = scene(generator)
        losses = grouping_losses([network.compare(*regions)], [labels])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append(losses["loss_group"].item())
    assert history[0] > 0.5 and sum(history[-10:]) / 10 < 0.15
    for regions, labels in (scene(seeded(s)) for s in range(100, 110)):  # vectors never met
        assert torch.equal(network.compare(*regions).group > 0, labels.group == YES)
    assert storage.latest()["grouping/found"][0] == storage.latest()["grouping/rejected"][0] == 1
