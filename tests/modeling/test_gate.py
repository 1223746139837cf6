import itertools

import pytest
import torch
from box_data import seeded

from cosal_d2.modeling.grouping.gate import PRIOR, gated_logits, paint_gate, saturated


def test_a_gate_equals_a_slow_loop():
    masks = torch.rand((7, 6, 11), generator=seeded()) ** 3
    member, weight = torch.rand((2, 7), generator=seeded(1))
    gate = paint_gate(masks, member, weight)
    assert gate.shape == (6, 11)
    for y, x in itertools.product(range(6), range(11)):
        yes = total = PRIOR
        for mask, m, w in zip(masks, member.tolist(), weight.tolist(), strict=True):
            yes, total = yes + w * mask[y, x].item() * m, total + w * mask[y, x].item()
        assert gate[y, x].item() == pytest.approx(yes / total, abs=1e-5)


def test_a_gate_is_open_where_no_mask_is():
    assert torch.equal(paint_gate(torch.zeros(0, 3, 2), *torch.zeros(2, 0)), torch.ones(3, 2))
    mask = torch.zeros(1, 4, 4)
    mask[0, :2, :2] = 1
    gate = paint_gate(mask, torch.zeros(1), torch.ones(1))
    assert torch.equal(gate[2:], torch.ones(2, 4)) and gate[:2, :2].max() < 0.001


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
