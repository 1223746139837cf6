"""The network with the grouping of regions."""

import copy

import pytest
import torch
from box_data import seeded
from detectron2.structures import Boxes, Instances
from network_data import GROUPED, sample, tiny_model

from cosal_d2.modeling.triplets import TRIPLET_SAMPLER_REGISTRY, OfflineSampler, OnlineSampler

BOXES = ((4, 4, 28, 30), (34, 30, 50, 60), (0, 40, 20, 50))


@pytest.fixture(scope="module")
def grouped():
    model = tiny_model(*GROUPED)
    for head in ("verdict", "weight", "repeats"):  # they start at 0 and let no gradient pass
        getattr(model.grouping.judge, head).weight.data.uniform_(-0.3, 0.3, generator=seeded())
    return model


def trained_by(model, *losses):
    """Names of the parameters that losses reach, and of those that they change."""
    model.train().zero_grad()
    sum(model([sample()])[name] for name in losses).backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return gradients.keys(), {n for n, g in gradients.items() if g.any()}


def test_each_loss_trains_its_own_part(storage, grouped):
    own = {n for n, _ in grouped.named_parameters() if n.startswith("grouping.")}
    masks = {n for n in own if n.startswith("grouping.masks.")}
    weight, repeats = (
        {f"grouping.judge.{head}.{n}" for n in ("weight", "bias")} for head in ("weight", "repeats")
    )
    judged = own - masks - weight - repeats
    assert trained_by(grouped, "loss_group", "loss_pair") == (judged, judged)
    assert trained_by(grouped, "loss_mask") == (masks, masks)
    reached, changed = trained_by(grouped, "loss_repeats")
    assert reached == judged | repeats and repeats <= changed
    # The map's loss judges verdicts and weights; the foreground has a loss of its own.
    reached, _ = trained_by(grouped, "loss_cosal")
    assert weight <= reached <= own - masks
    decoder = {n for n, _ in grouped.named_parameters() if n.startswith("decoder.")}
    assert decoder <= trained_by(grouped, "loss_foreground")[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mask_head_learns_from_the_regions_that_have_a_truth_alone(
    storage, grouped, monkeypatch, dtype
):
    monkeypatch.setattr(grouped, "dtype", dtype)
    calls = []
    handle = grouped.grouping.masks.head.mask_fcn1.register_forward_hook(
        lambda _, inputs, __: calls.append((torch.is_grad_enabled(), len(inputs[0])))
    )
    _, changed = trained_by(grouped, "loss_mask")
    handle.remove()
    (with_gradient, compared), (learns, learning) = calls
    assert not with_gradient and learns and 0 < learning < compared
    assert changed == {n for n, _ in grouped.named_parameters() if ".masks." in n}


@pytest.mark.parametrize("count", [0, 1])
def test_without_a_second_region_it_trains_and_predicts(storage, grouped, monkeypatch, count):
    monkeypatch.setattr(grouped.grouping, "num_regions", count)
    reached, _ = trained_by(grouped, *grouped.train()([sample(boxes=())]))
    assert reached == {n for n, p in grouped.named_parameters() if p.requires_grad}
    assert all(bool(grouped.get_parameter(n).grad.isfinite().all()) for n in reached)
    with torch.no_grad():
        (out,) = grouped.eval()([sample()])
    assert bool(out["cosal_map"].isfinite().all())
    assert count or out["repeats"] < 0.01


@torch.no_grad()
def test_below_the_threshold_of_its_score_a_map_is_empty(grouped):
    model = copy.deepcopy(grouped).eval()
    model.decoder.predictor.bias.fill_(3)
    batch = [sample(), sample((40, 60), seed=2)]
    outputs = model(batch)
    scores = [out["repeats"] for out in outputs]
    assert all(isinstance(s, float) and 0 <= s <= 1 for s in scores) and scores[0] != scores[1]
    assert all(out["cosal_map"].any() for out in outputs)
    model.grouping.repeats_threshold = sum(scores) / 2
    for out, score, item in zip(model(batch), scores, outputs, strict=True):
        passes = score > sum(scores) / 2
        assert out["repeats"] == score
        assert torch.equal(out["cosal_map"], item["cosal_map"] * passes)


def test_a_map_that_is_all_but_0_is_0(grouped):
    model = copy.deepcopy(grouped).eval()
    with torch.no_grad():
        model.decoder.predictor.weight.zero_()
        model.decoder.predictor.bias.fill_(-1.3)  # 0.0015 after sharpening
        assert not model([sample()])[0]["cosal_map"].any()


def test_distractors_are_foreground_and_no_truth_and_padding_is_neither(
    storage, grouped, monkeypatch
):
    seen, losses = [], grouped.decoder.losses
    monkeypatch.setattr(
        grouped.decoder,
        "losses",
        lambda z, truth, weak: [losses(z, truth, weak), seen.append(truth)][0],
    )
    item = sample((60, 52), BOXES, [True, True, False])
    item["sem_seg"][:2] = 255
    grouped.train()([item])
    foreground, truth = seen
    expected = item["sem_seg"].clone()
    assert torch.equal(truth[0, :60, :52], expected)
    expected[40:50, :20] = 1
    assert torch.equal(foreground[0, :60, :52], expected)
    for target in seen:
        assert target.shape == (1, 64, 64)
        assert bool((target[0, 60:] == 255).all()) and bool((target[0, :, 52:] == 255).all())


def regions(size, *boxes):
    """Regions of one picture, the most object-like first."""
    found = Instances(size, proposal_boxes=Boxes(torch.tensor(boxes).float().reshape(-1, 4)))
    found.objectness_logits = torch.arange(len(boxes), 0, -1).float()
    return found


@pytest.fixture
def full_masks(grouped, monkeypatch):
    """Masks that fill their windows; gives what the comparison is handed."""
    monkeypatch.setattr(
        grouped.grouping.masks,
        "in_windows",
        lambda f, s, rois: torch.full((len(rois), 28, 28), 20.0),
    )
    seen = []
    handle = grouped.grouping.embedding.register_forward_pre_hook(
        lambda _, inputs: seen.extend(inputs[2])
    )
    yield seen
    handle.remove()


@torch.no_grad()
def gated(model, sizes, found):
    """Logits of the foreground, and those that the grouping lets pass."""
    images = model.eval().preprocess([sample(s, ())["image"] for s in sizes])
    features, r = model.features(images)
    foreground = model.decoder(r, features)
    own = model.grouping.find_regions(features, foreground, found)
    judged = [model.grouping.judge_regions(s, *x) for s, x in zip(sizes, own, strict=True)]
    return foreground, model.grouping.gated(foreground, judged)


def test_the_gates_of_a_mixed_batch_are_each_pictures_own(grouped, full_masks, monkeypatch):
    monkeypatch.setattr(grouped.grouping, "threshold", 20.0)  # no region belongs to a group
    boxes = ((24, 0, 40, 12), (4, 4, 20, 20), (4, 4, 20, 21))
    found = [regions((37, 50), *boxes), regions((64, 33))]
    foreground, logits = gated(grouped, [(37, 50), (64, 33)], found)
    # The third region is a worse copy of the second, so it is not compared.
    assert full_masks[0].proposals.tolist() == [list(b) for b in boxes[:2]]
    assert len(full_masks[1]) == 0
    share = logits.sigmoid() / (5 * foreground).sigmoid()
    assert share[1].min() > 0.999 and share[0, 0, 50:, 20:].min() > 0.999
    assert share[0, 0, 4:20, 4:20].max() < 0.01


def test_compared_regions_stay_inside_their_own_picture(grouped, full_masks):
    sizes = [(5, 7), (64, 64)]
    gated(grouped, sizes, [regions(s, (0, 0, s[1], s[0])) for s in sizes])
    assert [own.boxes.tolist() for own in full_masks] == [[[0, 0, w, h]] for h, w in sizes]


def test_known_objects_are_compared_apart_and_gate_nothing(storage, grouped, full_masks):
    item = sample()
    features, r = grouped.train().features(grouped.preprocess([item["image"]]))
    foreground = grouped.decoder(r, features)
    results = []
    for seed in (1, 1, 2):
        generator = torch.Generator().manual_seed(seed)
        found = [regions((64, 64), *BOXES)]
        logits, losses = grouped.grouping(
            features, foreground, found, [item["instances"]], [generator]
        )
        results.append((logits, losses["loss_group"]))
    assert full_masks[0].proposals.tolist()[:3] == [list(b) for b in BOXES]
    assert len(full_masks[0]) == 5
    assert torch.equal(results[0][0], results[2][0])
    assert results[0][1] == results[1][1] != results[2][1]


def test_a_sampler_of_ones_own_may_feed_the_grouping(monkeypatch):
    regionless = type("Regionless", (OfflineSampler,), {})
    for sampler in (type("Mine", (OnlineSampler,), {}), regionless):
        monkeypatch.setitem(TRIPLET_SAMPLER_REGISTRY._obj_map, sampler.__name__, sampler)
    assert tiny_model(*GROUPED, "MODEL.RFM.SAMPLER", "Mine").grouping is not None
    with pytest.raises(ValueError, match=r"MODEL.RFM.SAMPLER \"Regionless\" does without"):
        tiny_model(*GROUPED, "MODEL.RFM.SAMPLER", "Regionless")
