import itertools
import math

import pytest
import torch

from cosal_d2.modeling.gate import PRIOR, gated_logits, paint_gate, saturated


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_gate_equals_a_slow_loop():
    corners = torch.rand((7, 2, 2), generator=seeded()) * 40
    boxes = torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)
    member, weight = torch.rand((2, 7), generator=seeded(1))
    gate = paint_gate(boxes, member, weight, (6, 11), 4)
    assert gate.shape == (6, 11)
    heard = 0
    for y, x in itertools.product(range(6), range(11)):
        yes = total = PRIOR
        for (x1, y1, x2, y2), m, w in zip(
            boxes.tolist(), member.tolist(), weight.tolist(), strict=True
        ):
            cx, cy = 4 * x + 2, 4 * y + 2
            if x1 < cx < x2 and y1 < cy < y2:
                u, v = (2 * cx - x1 - x2) / (x2 - x1), (2 * cy - y1 - y2) / (y2 - y1)
                loudness = w * math.exp(-(u * u + v * v) / 0.6)
                yes, total, heard = yes + loudness * m, total + loudness, heard + 1
        assert gate[y, x].item() == pytest.approx(yes / total, abs=1e-5)
    assert heard > 20


def test_a_gate_is_open_where_no_region_is():
    empty = torch.zeros(0)
    assert torch.equal(paint_gate(empty.reshape(0, 4), empty, empty, (3, 2), 4), torch.ones(3, 2))
    box = torch.tensor([[0.0, 0, 8, 8]])
    gate = paint_gate(box, torch.zeros(1), torch.ones(1), (4, 4), 4)
    assert torch.equal(gate[2:], torch.ones(2, 4)) and gate[:2, :2].max() < 0.05
    # A region without area speaks for nothing.
    flat = paint_gate(box * 0, torch.zeros(1), torch.ones(1), (4, 4), 4)
    assert torch.equal(flat, torch.ones(4, 4))


def test_the_louder_and_the_nearer_region_wins_where_two_overlap():
    boxes = torch.tensor([(0.0, 0, 40, 40), (16, 0, 56, 40)])
    member = torch.tensor([1.0, 0.0])
    gate = paint_gate(boxes, member, torch.ones(2), (10, 14), 4)
    middle = gate[5, 4:10]
    assert (middle.diff() < 0).all() and middle[0] > 0.6 and middle[-1] < 0.4
    louder = paint_gate(boxes, member, torch.tensor([1.0, 0.2]), (10, 14), 4)
    assert (louder[5, 4:10] > middle).all()


def test_gated_logits_are_the_product_of_the_probabilities():
    logits = torch.randn((2, 1, 8, 12), generator=seeded(2)) * 6
    gates = torch.rand((2, 8, 12), generator=seeded(3)) * 0.98 + 0.01
    found = gated_logits(logits, gates).sigmoid()
    expected = logits.double().sigmoid() * gates[:, None].double()
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gate", [0.0, 1.0])
def test_gated_logits_stay_finite_at_the_ends(gate):
    logits = torch.tensor([-200.0, -30, 0, 30, 200]).reshape(1, 1, 1, 5).requires_grad_()
    gates = torch.full((1, 1, 5), gate, requires_grad=True)
    found = gated_logits(logits, gates)
    assert bool(found.isfinite().all()) and bool((found[..., 1:].diff() >= 0).all())
    found.sum().backward()
    assert bool(logits.grad.isfinite().all()) and bool(gates.grad.isfinite().all())


def test_a_coarse_gate_is_resized_to_the_map():
    gates = torch.tensor([[[0.1, 0.9]]])
    found = gated_logits(torch.full((1, 1, 4, 8), 50.0), gates).sigmoid()[0, 0]
    assert torch.allclose(found[:, :2], torch.tensor(0.1), atol=1e-4)
    assert torch.allclose(found[:, -2:], torch.tensor(0.9), atol=1e-4)
    assert (found.diff(dim=1) >= -1e-6).all()


def test_saturated_maps_reach_their_ends_and_keep_their_order():
    maps = torch.tensor([0.0, 0.0019, 0.002, 0.3, 0.5, 0.998, 0.9981, 1.0])
    found = saturated(maps)
    assert found.tolist()[:2] == [0, 0] and found.tolist()[-2:] == [1, 1]
    assert (found[1:-1].diff() > 0).all() and found[4].item() == pytest.approx(0.5)
    assert (found - maps).abs().max() < 0.5 / 255
