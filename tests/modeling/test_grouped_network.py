import re

import pytest
import torch
from detectron2.structures import Boxes, Instances
from network_data import GROUPED, sample, tiny_model

from cosal_d2.modeling.grouping.region_grouping import SURE

NEW = {"loss_group", "loss_pair"}
EXTENSION = {*NEW, "loss_foreground", "loss_mask"}


@pytest.fixture(scope="module")
def grouped():
    return tiny_model(*GROUPED)


def test_losses_weigh_and_train_the_grouping_alone(storage, grouped, monkeypatch):
    grouped.train().zero_grad()
    losses = grouped([sample()])
    (losses["loss_group"] + losses["loss_pair"]).backward()
    for name, parameter in grouped.named_parameters():
        judged = name.startswith("grouping.") and not re.search(r"\.voice\.|\.masks\.", name)
        assert (parameter.grad is not None) == judged, name
    own = dict(grouped.grouping.named_parameters())
    voice = {"judge.voice.weight", "judge.voice.bias"}
    judged = {n: p for n, p in own.items() if not n.startswith("masks.") and n not in voice}
    assert all(bool(p.grad.any()) for p in judged.values())
    grouped.zero_grad()
    grouped([sample()])["loss_mask"].backward()
    for name, parameter in grouped.named_parameters():
        assert (parameter.grad is not None) == name.startswith("grouping.masks."), name
    grouped.zero_grad()
    grouped([sample()])["loss_cosal"].backward()
    # The map's loss judges the verdicts and their voices; the foreground has a loss of its own.
    assert all(bool(grouped.get_parameter(f"grouping.{n}").grad.any()) for n in voice)
    assert all(p.grad is None for p in grouped.decoder.parameters())
    grouped([sample()])["loss_foreground"].backward()
    assert all(bool(p.grad.any()) for p in grouped.decoder.parameters())
    monkeypatch.setattr(grouped.grouping, "loss_weight", 3.0)
    weighed = grouped([sample()])
    for name, value in losses.items():
        factor = 3 if name in NEW else 1
        assert weighed[name].item() == pytest.approx(factor * value.item(), rel=1e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("boxes", [(), ((4, 4, 28, 30),)])
def test_pictures_without_a_group_train(storage, grouped, monkeypatch, boxes, precision):
    monkeypatch.setattr(grouped, "dtype", precision)
    if not boxes:
        monkeypatch.setattr(grouped.grouping, "num_regions", 0)
    grouped.train().zero_grad()
    losses = grouped([sample(boxes=boxes, cosalient=[False] * len(boxes))])
    assert losses.keys() >= EXTENSION and losses["loss_pair"].item() == 0
    assert all(v.dtype == torch.float32 and bool(v.isfinite()) for v in losses.values())
    sum(losses.values()).backward()
    for name, parameter in grouped.named_parameters():
        if not name.startswith("backbone."):
            assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name


def test_a_grouped_step_is_a_function_of_its_seed(storage, grouped):
    grouped.train()
    torch.manual_seed(1)
    first = {k: v.item() for k, v in grouped([sample()]).items()}
    torch.manual_seed(2)
    assert first == {k: v.item() for k, v in grouped([sample()]).items()}
    other = grouped([sample() | {"seed": 2}])
    assert all(other[k].item() != first[k] for k in NEW)


def test_distractors_are_foreground_and_no_truth(storage, grouped, monkeypatch):
    seen = []
    decoder_losses = grouped.decoder.losses

    def spy(logits, targets):
        seen.append(targets)
        return decoder_losses(logits, targets)

    monkeypatch.setattr(grouped.decoder, "losses", spy)
    boxes = ((4, 4, 28, 30), (34, 30, 50, 60), (0, 40, 20, 50))
    item = sample((60, 52), boxes, [True, True, False])
    item["sem_seg"][:2] = 255
    grouped.train()([item])
    foreground, truth = seen
    assert foreground.shape == truth.shape == (1, 64, 64)
    assert torch.equal(truth[0, :60, :52], item["sem_seg"])
    expected = item["sem_seg"].clone()
    expected[40:50, :20] = 1
    assert torch.equal(foreground[0, :60, :52], expected)
    assert (foreground[0, 60:] == 255).all() and (foreground[0, :, 52:] == 255).all()


def test_the_gates_of_a_mixed_batch_are_each_pictures_own(grouped, monkeypatch):
    grouped.eval()
    images = grouped.preprocess([sample((37, 50))["image"], sample((64, 33))["image"]])
    boxes = torch.tensor([(4, 4, 20, 20), (4, 4, 20, 21), (24, 0, 40, 12)]).float()
    found = Instances((37, 50), proposal_boxes=Boxes(boxes))
    found.objectness_logits = torch.tensor([2.0, 1.0, 3.0])
    # Masks that fill the windows.
    head = grouped.grouping.masks
    monkeypatch.setattr(
        head, "forward", lambda f, s, boxes: [torch.full((len(b), 28, 28), 20.0) for b in boxes]
    )
    with torch.no_grad():
        features, r = grouped.features(images)
        foreground = grouped.decoder(r, features)
        logits, verdicts, sets = grouped.grouping.group(features, foreground, [found, found[:0]])
    # Without regions nothing is gated.
    torch.testing.assert_close(
        logits[1].sigmoid(), (5 * foreground[1]).sigmoid(), rtol=1e-3, atol=1e-4
    )
    assert verdicts[1].group.shape == (0,) and verdicts[1].pairs.shape == (0, 0)
    # The second region is a worse copy of the first, so it is not compared.
    assert torch.equal(sets[0].proposals, boxes[[2, 0]])
    share = (logits.sigmoid() / (5 * foreground).sigmoid())[0, 0]
    for place, (y, x) in enumerate([(6, 32), (12, 12)]):
        own = (4 * (verdicts[0].group[place] - 0.5)).sigmoid().item()
        assert share[y, x].item() == pytest.approx(own, abs=0.05)
    assert share[50:, 20:].min() > 0.999


def test_known_objects_are_compared_among_themselves(grouped):
    grouped.eval()
    images = grouped.preprocess([sample((37, 50))["image"], sample((64, 33))["image"]])
    known = [torch.tensor([(4.0, 4, 20, 20), (24, 0, 40, 12), (24, 16, 48, 30)]), torch.zeros(0, 4)]
    with torch.no_grad():
        features, r = grouped.features(images)
        foreground = grouped.decoder(r, features)
        regions, _ = grouped.proposal_generator(images, {"r": r})
        group = grouped.grouping.group
        alone = group(features, foreground, regions)
        logits, verdicts, sets = group(features, foreground, regions, known)
        sure = [Instances(x.image_size) for x in regions]
        for x, boxes in zip(sure, known, strict=True):
            x.proposal_boxes = Boxes(boxes)
            x.objectness_logits = torch.full((len(boxes),), SURE)
        of_known = group(features, foreground, sure)
    torch.testing.assert_close(logits, alone[0])
    assert len(verdicts) == len(sets) == 4
    assert len(alone[1][0].group) > 3 and len(verdicts[2].group) == 3
    assert torch.equal(sets[2].proposals, known[0])
    for found, expected in zip(verdicts, [*alone[1], *of_known[1]], strict=True):
        torch.testing.assert_close(vars(found), vars(expected))
    for found, expected in zip(sets, [*alone[2], *of_known[2]], strict=True):
        torch.testing.assert_close(vars(found), vars(expected))


def test_the_grouping_learns_alone(storage):
    model = tiny_model(*GROUPED, "MODEL.GROUPING.TRAIN_ALONE", "True")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    model.train()
    assert model.grouping.training and not model.decoder.training and not model.rfm.training
    losses = model([sample()])
    assert sorted(losses) == ["loss_cosal", "loss_group", "loss_mask", "loss_pair"]
    sum(losses.values()).backward()
    optimizer.step()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {k for k, _ in model.named_parameters() if k.startswith("grouping.")}


def test_what_does_not_learn_is_frozen_from_the_start(storage):
    model = tiny_model(*GROUPED, "MODEL.GROUPING.TRAIN_ALONE", "True")
    for _ in range(2):
        assert model.training and model.grouping.training
        others = [part for name, part in model.named_children() if name != "grouping"]
        assert len(others) == 5 and not any(m.training for p in others for m in p.modules())
        model.eval()
        assert not any(m.training for m in model.modules())
        model.train()


@pytest.mark.parametrize("size", [(37, 50), (16, 16), (5, 7)])
def test_compared_regions_stay_inside_their_own_picture(grouped, monkeypatch, size):
    head = grouped.grouping.masks
    monkeypatch.setattr(
        head, "forward", lambda f, s, boxes: [torch.full((len(b), 28, 28), 20.0) for b in boxes]
    )
    pictures = [sample(size, ())["image"], sample((64, 64))["image"]]
    grouped.eval()
    with torch.no_grad():
        images = grouped.preprocess(pictures)
        features, r = grouped.features(images)
        regions = [
            Instances(s, proposal_boxes=Boxes([[0.0, 0, s[1], s[0]]])) for s in images.image_sizes
        ]
        for x in regions:
            x.objectness_logits = torch.ones(1)
        sets = grouped.grouping.group(features, grouped.decoder(r, features), regions)[2]
    for own, (h, w) in zip(sets, [size, (64, 64)], strict=True):
        assert own.boxes.tolist() == [[0, 0, w, h]]


@pytest.mark.parametrize("found", [True, False])
def test_prediction_repeats_itself_with_and_without_regions(grouped, monkeypatch, found):
    grouped.eval()
    if not found:
        monkeypatch.setattr(grouped.grouping, "num_regions", 0)
    item = {"image": sample((37, 50))["image"], "height": 21, "width": 30}
    with torch.no_grad():
        (first,), (again,) = grouped([item]), grouped([item])
    assert torch.equal(first["cosal_map"], again["cosal_map"])
    assert first["cosal_map"].shape == (21, 30) and bool(first["cosal_map"].isfinite().all())
