"""PFA: CPFE's reach, both attentions, and the edge preservation loss."""

import numpy as np
import pytest
import torch
from base import MethodTests, noise, predict, seeded, step
from detectron2.layers import ShapeSpec
from network_data import RESNET, sample, tiny_config, tiny_model

from cosal_d2.modeling.decoder import cosal_loss
from cosal_d2.modeling.methods.cpfe import (
    ChannelAttention,
    ContextFeatures,
    CPFEDecoder,
    SpatialAttention,
    edge_loss,
    edges,
)

NAME = ["MODEL.DECODER.NAME", "CPFEDecoder"]


class TestCPFE(MethodTests):
    options = NAME

    def test_spatial_attention_closes_and_opens_the_low_level_features(self):
        """What it closes has no part in the map."""
        model = tiny_model(*self.opts).eval()
        decoder = model.decoder
        with torch.no_grad():
            features, r = model.features(model.preprocess([sample()["image"]]))
            other = {**features, "conv1_2": features["conv1_2"] + noise(1, 64, 64, 64)}
            assert not torch.equal(decoder(r, features), decoder(r, other))
            for scores in (
                decoder.spatial_attention.wide_first[1],
                decoder.spatial_attention.high_first[1],
            ):
                scores.weight.zero_()
                scores.bias.fill_(-200.0)
            assert torch.equal(decoder(r, features), decoder(r, other))
            moved = decoder(r + noise(*r.shape), features)
        assert not torch.equal(decoder(r, features), moved)

    def test_high_level_features_are_the_three_coarsest(self):
        decoder = self.model.decoder
        assert [c.views[0].in_channels for c in decoder.contexts] == [512, 512, 256]
        assert [c.in_channels for c in decoder.laterals] == [128, 64]
        assert decoder.channel_attention.scores[0].in_features == 3 * 4 * 32


def test_an_encoder_with_three_features_has_one_of_high_level():
    model = tiny_model(*RESNET, *NAME)
    assert len(model.decoder.contexts) == 1 and model.decoder.stride == 4
    step(model, sample())
    (found,) = predict(model, sample((40, 52))["image"])
    assert found.shape == (40, 52)


def test_an_encoder_with_too_few_features_is_refused():
    shapes = {name: ShapeSpec(channels=4, stride=s) for name, s in (("a", 16), ("b", 8))}
    with pytest.raises(ValueError, match="takes 2 features finer than R, but .* gives 1;"):
        CPFEDecoder(tiny_config(), shapes["a"], shapes)


def test_cpfe_sees_a_pixel_and_rings_three_five_and_seven_away():
    context = seeded(lambda: ContextFeatures(2, ""))
    x = torch.ones((1, 2, 15, 15), requires_grad=True)
    views = torch.cat([view(x) for view in context.views], dim=1)
    assert torch.equal(context(x), views.relu())
    for index, reach in enumerate((0, 3, 5, 7)):
        (gradient,) = torch.autograd.grad(
            views[0, 32 * index : 32 * index + 32, 7, 7].sum(), x, retain_graph=True
        )
        seen = {tuple(p) for p in (gradient[0].abs().sum(0) > 0).nonzero().tolist()}
        steps = sorted({-reach, 0, reach})
        assert seen == {(7 + dy, 7 + dx) for dy in steps for dx in steps}


def test_channel_attention_weighs_by_the_means_of_all_channels():
    attention = seeded(lambda: ChannelAttention(8))
    x = noise(2, 8, 5, 4)
    first, _, second = attention.scores
    means = np.array([[x[n, c].mean().item() for c in range(8)] for n in range(2)])
    hidden = np.maximum(means @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0)
    scores = hidden @ second.weight.detach().numpy().T + second.bias.detach().numpy()
    expected = x * torch.tensor(1 / (1 + np.exp(-scores)), dtype=torch.float32)[:, :, None, None]
    torch.testing.assert_close(attention(x), expected)


def test_channel_attention_can_leave_one_channel_alone():
    attention = seeded(lambda: ChannelAttention(4))
    torch.nn.init.zeros_(attention.scores[2].weight)
    with torch.no_grad():
        attention.scores[2].bias.copy_(torch.tensor([-100.0, 100.0, -100.0, -100.0]))
    x = noise(2, 4, 3, 3)
    expected = torch.zeros_like(x)
    expected[:, 1] = x[:, 1]
    torch.testing.assert_close(attention(x), expected)


def test_spatial_attention_sees_a_square_of_nine_through_a_cross_of_convolutions():
    attention = seeded(lambda: SpatialAttention(4, ""))
    shapes = [[layer.kernel_size for layer in part] for part in attention.children()]
    assert shapes == [[(1, 9), (9, 1)], [(9, 1), (1, 9)]]
    x = noise(1, 4, 13, 13).requires_grad_()
    weights = attention(x)
    assert weights.shape == (1, 1, 13, 13) and bool(((weights > 0) & (weights < 1)).all())
    weights[0, 0, 6, 6].backward()
    seen = x.grad[0].abs().sum(0) > 0
    assert not seen[:2].any() and not seen[11:].any()
    assert not seen[:, :2].any() and not seen[:, 11:].any()
    assert seen[2:11, 2:11].float().mean() > 0.9


def test_edges_are_the_inner_border_of_what_the_map_shows():
    truth = torch.zeros(1, 8, 9)
    truth[0, 2:6, 3:8] = 1
    found = edges(truth)[0]
    border = torch.zeros(6, 7)
    border[1:5, 2:7] = 1
    border[2:4, 3:6] = 0
    assert torch.equal(found > 0.5, border > 0) and not found[border == 0].any()
    assert edges(torch.full((1, 5, 5), 0.7)).max() < 1e-5


def slow_edge_loss(logits, targets):
    """Pixel by pixel, in float64."""

    def edge(values, i, j):
        around = values[i - 1 : i + 2, j - 1 : j + 2].sum()
        return max(np.tanh(9 * values[i, j] - around), 0)

    total, pixels = 0.0, 0
    for image, truth in zip(logits.astype(np.float64), targets, strict=True):
        p, y = 1 / (1 + np.exp(-image)), (truth == 1).astype(float)
        for i in range(1, len(truth) - 1):
            for j in range(1, len(truth[0]) - 1):
                if (truth[i - 1 : i + 2, j - 1 : j + 2] == 255).any():
                    continue
                e = min(max(edge(p, i, j), 1e-6), 1 - 1e-6)
                t = edge(y, i, j)
                total -= t * np.log(e) + (1 - t) * np.log(1 - e)
                pixels += 1
    return total / pixels


def test_the_edge_loss_equals_a_slow_one_and_leaves_padded_pixels_out():
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (2, 7, 9)).astype(np.float32)
    targets = rng.integers(0, 2, (2, 7, 9)).astype(np.uint8)
    targets[0, 5:] = 255
    z = torch.tensor(logits, requires_grad=True)
    loss = edge_loss(z, torch.tensor(targets))
    assert loss.item() == pytest.approx(slow_edge_loss(logits, targets), rel=1e-4)
    loss.backward()
    assert bool(z.grad.isfinite().all()) and not z.grad[0, 5:].any() and z.grad[0, :5].any()
    nothing = edge_loss(z, torch.full((2, 7, 9), 255, dtype=torch.uint8))
    nothing.backward()
    assert nothing.item() == 0


def test_a_sure_map_has_the_same_edge_loss_in_a_half_type():
    truth = torch.zeros((1, 16, 16), dtype=torch.uint8)
    truth[:, 4:12, 5] = 1
    for logits in (40 * truth.float() - 20, 20 - 40 * truth.float()):
        exact = edge_loss(logits, truth)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = edge_loss(logits, truth)
        assert bool(exact.isfinite()) and torch.equal(found, exact)


def test_a_blurred_border_costs_more_than_a_sharp_one():
    truth = torch.zeros((1, 16, 16), dtype=torch.uint8)
    truth[:, 4:12, 4:12] = 1
    sharp = 8 * (2 * truth.float() - 1)
    blurred = torch.nn.functional.avg_pool2d(sharp, 5, stride=1, padding=2)
    assert edge_loss(blurred, truth) > 3 * edge_loss(sharp, truth)


def test_the_loss_has_its_parts_weights():
    decoder = seeded(lambda: tiny_model(*NAME)).decoder
    decoder.iou_loss_weight, decoder.weak_mask_weight, decoder.loss_weight = 0.0, 0.25, 2.0
    logits = noise(2, 1, 8, 8)
    targets = (torch.arange(128).reshape(2, 8, 8) % 5 < 2).to(torch.uint8)
    weak = torch.tensor([True, False])
    weights = torch.tensor([0.25, 1.0])
    in_map = cosal_loss(logits[:, 0], targets, 0.0, weights, 1.12)
    on_edges = [edge_loss(z[0, None], t[None]).item() for z, t in zip(logits, targets, strict=True)]
    expected = 0.7 * in_map.item() + 0.3 * (0.25 * on_edges[0] + on_edges[1]) / 2
    found = decoder.losses(logits, targets, weak)["loss_cosal"].item()
    assert found == pytest.approx(2 * expected, rel=1e-5)
