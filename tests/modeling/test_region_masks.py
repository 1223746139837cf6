import pytest
import torch
from box_data import seeded
from detectron2.layers import ShapeSpec, paste_masks_in_image
from network_data import sample

from cosal_d2.modeling.grouping.region_masks import (
    MAX_REGIONS,
    RegionMasks,
    paste_masks,
    tight_boxes,
    windows,
)

SHAPES = {"a": ShapeSpec(channels=6, stride=4), "b": ShapeSpec(channels=8, stride=8)}


def network(seed=0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return RegionMasks(SHAPES, ("a", "b"), 8, 8)


def inputs(count=1, side=64):
    features = {
        k: torch.randn((count, s.channels, side // s.stride, side // s.stride), generator=seeded())
        for k, s in SHAPES.items()
    }
    return features, torch.rand((count, 1, side // 4, side // 4), generator=seeded(1))


def test_masks_are_pasted_as_detectron2_pastes_them_into_their_windows():
    box = torch.tensor([(8.0, 12, 32, 40)])
    masks = torch.rand((1, 28, 28), generator=seeded())
    pasted = paste_masks(masks, box, (64, 48), 1)
    assert pasted.shape == (1, 64, 48)
    expected = paste_masks_in_image(masks, windows(box), (64, 48), threshold=-1)  # in 255 steps
    torch.testing.assert_close(pasted, expected / 255, rtol=0, atol=1.01 / 255)
    coarse = paste_masks(torch.ones(1, 28, 28), box, (16, 12), 4)
    assert coarse[0, 5, 4] == 1 and coarse[0, 0, 0] == 0 and coarse.shape == (1, 16, 12)


def test_boxes_are_tight_around_the_pixels_over_a_half():
    boxes = torch.tensor([(0.0, 0, 28, 28), (30.0, 30, 58, 58), (40.0, 0, 68, 28)])
    masks = torch.zeros(3, 28, 28)
    masks[0, 14:20, 10:15] = 0.9
    masks[1, 3, 3] = 0.9  # too small
    masks[2] = 0.51  # reaches out of the picture
    masks[0, 0, 0] = 0.5
    found = tight_boxes(masks, boxes, (64, 64))
    side, corner = 1.3, 14 - 14 * 1.3
    expected = [corner + side * 10, corner + side * 14, corner + side * 15, corner + side * 20]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-4)
    assert torch.equal(found[1], boxes[1])
    assert found[2].tolist() == pytest.approx([54 - 14 * 1.3, 0, 64, 14 * 2.3], abs=1e-4)
    # A mask outside the picture leaves the box as it is.
    box, mask = torch.tensor([(30.0, 0, 50, 20)]), torch.zeros(1, 28, 28)
    mask[0, 10:20, 25:] = 0.9  # from x = 50.2 on
    assert tight_boxes(mask, box, (64, 64))[0, 0] > 50
    assert torch.equal(tight_boxes(mask, box, (64, 50)), box)


def test_each_picture_has_its_own_masks_and_no_gradient_leaves():
    model = network()
    features, foreground = inputs(2)
    boxes = torch.tensor([(4.0, 4, 28, 30), (20, 30, 60, 60)])
    for tensor in features.values():
        tensor.requires_grad_()
    first, second = model(features, foreground, [boxes, boxes[:1]])
    assert first.shape == (2, 28, 28) and second.shape == (1, 28, 28)
    alone = model({k: v[1:] for k, v in features.items()}, foreground[1:], [boxes[:1]])[0]
    torch.testing.assert_close(alone, second, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(first[0], second[0])
    first.sum().backward()
    assert all(t.grad is None for t in features.values())
    # What lies beside a box but in its window counts.
    wide, other = [torch.tensor([(8.0, 8, 56, 56)])] * 2, 1 - foreground
    other[..., 1:] = foreground[..., 1:]
    assert not torch.equal(model(features, other, wide)[0], model(features, foreground, wide)[0])
    with pytest.raises(ValueError, match=r"LEVELS names 'c'; the encoder has \['a', 'b'\]"):
        RegionMasks(SHAPES, ("a", "c"), 8, 8)


def test_the_loss_is_of_regions_on_objects_and_of_their_windows(monkeypatch):
    boxes = torch.tensor([(10.0, 8, 40, 42), (44.0, 44, 60, 60)])  # on the object, and on none
    targets = [sample(boxes=[(8, 8, 40, 40)])["instances"]]
    logits = torch.full((1, 28, 28), -8.0)
    step = (windows(boxes)[0, 2:] - windows(boxes)[0, :2]) / 28
    x, y = (
        (torch.arange(28) + 0.5) * s + low for s, low in zip(step, windows(boxes)[0], strict=False)
    )
    logits[0, ((y > 8) & (y < 40))[:, None] & ((x > 8) & (x < 40))] = 8
    model, passed = network(), []
    monkeypatch.setattr(
        model, "forward", lambda _, __, b: [passed.append(b[0]), logits.repeat(len(b[0]), 1, 1)][1:]
    )
    good = model.losses(*inputs(), [boxes], targets, [seeded()])["loss_mask"]
    assert good.item() < 0.4  # all but the rim agree
    assert passed[0].tolist() == boxes[:1].tolist()
    many = [boxes[:1].repeat(40, 1)]
    model.losses(*inputs(), many, targets, [seeded()])
    assert len(passed[1]) == MAX_REGIONS
