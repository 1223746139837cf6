"""PiCANet: its attention against slow loops, and what each level adds to the loss."""

import pytest
import torch
import torch.nn.functional as F
from base import MethodTests, noise, predict, seeded, step
from detectron2.layers import ShapeSpec
from network_data import RESNET, sample, tiny_config, tiny_model

from cosal_d2.modeling.methods import contextual_attention
from cosal_d2.modeling.methods.contextual_attention import GlobalAttention, LocalAttention, ReNet
from cosal_d2.modeling.methods.picanet import PiCANetDecoder

NAME = ["MODEL.DECODER.NAME", "PiCANetDecoder"]
ATTENTIONS = pytest.mark.parametrize(
    ("kind", "count"), [(GlobalAttention, 100), (LocalAttention, 49)]
)


@pytest.fixture(scope="module", autouse=True)
def small_renet():
    """The paper's LSTMs take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contextual_attention, "RENET_HIDDEN", 16)
        yield


class TestPiCANet(MethodTests):
    options = NAME

    def test_global_where_coarse_local_where_finer_none_at_last(self):
        kinds = [type(level.attention) for level in self.model.decoder.levels]
        assert kinds == [GlobalAttention] * 2 + [LocalAttention] * 2 + [type(None)]

    def test_each_level_predicts_in_training_by_its_weight(self):
        decoder = self.model.train().decoder
        assert decoder.output_weights == (0.5, 0.5, 0.8, 0.8, 1.0)
        features, r = self.model.features(self.model.preprocess([sample()["image"]]))
        outputs = decoder(r, features)
        assert outputs.shape == (1, 5, 64, 64) and outputs.dtype == torch.float32
        coarse = decoder.levels[0].predictor(decoder.levels[0](r, None))
        enlarged = F.interpolate(coarse, scale_factor=16, mode="bilinear")
        torch.testing.assert_close(outputs[:, :1], enlarged)
        targets = sample()["sem_seg"][None]
        each = [F.binary_cross_entropy_with_logits(z, targets.float()) for z in outputs.unbind(1)]
        total = 0.5 * each[0] + 0.5 * each[1] + 0.8 * each[2] + 0.8 * each[3] + each[4]
        assert decoder.losses(outputs, targets)["loss_cosal"].item() == pytest.approx(total.item())
        torch.testing.assert_close(decoder.eval()(r, features), outputs[:, -1:])


def test_a_decoder_that_ends_at_stride_4_has_three_levels():
    model = tiny_model(*RESNET, *NAME)
    assert model.decoder.stride == 4 and model.decoder.output_weights == (0.5, 0.5, 0.8)
    step(model, sample())
    (found,) = predict(model, sample((40, 52))["image"])
    assert found.shape == (40, 52)


@ATTENTIONS
def test_the_weights_of_each_pixel_sum_to_one(kind, count):
    attention = seeded(lambda: kind(6))
    weights = attention.weights(50 * noise(2, 6, 9, 13))
    assert weights.shape == (2, count, 9, 13) and weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, 9, 13))
    assert weights.min() >= 0 and weights.std() > 0


@pytest.mark.parametrize("place", [0, 37, 99])
def test_global_attention_picks_the_one_place_that_matters(place):
    attention = seeded(lambda: GlobalAttention(3))
    torch.nn.init.zeros_(attention.scores.predictor.weight)
    with torch.no_grad():
        attention.scores.predictor.bias[place] = 100.0
    x = noise(2, 3, 28, 28)
    # The places of a map of 28x28 are every third pixel, the paper's 10x10 kernel of dilation 3.
    chosen = x[:, :, place // 10 * 3, place % 10 * 3]
    torch.testing.assert_close(attention(x), chosen[:, :, None, None].expand_as(x))


@pytest.mark.parametrize(("row", "column"), [(3, 3), (0, 0), (2, 6)])
def test_local_attention_picks_the_one_neighbour_that_matters(row, column):
    attention = seeded(lambda: LocalAttention(3))
    torch.nn.init.zeros_(attention.scores[1].weight)
    with torch.no_grad():
        attention.scores[1].bias[7 * row + column] = 100.0
    x = noise(1, 3, 16, 15)
    dy, dx = 2 * (row - 3), 2 * (column - 3)
    expected = torch.zeros_like(x)
    for i in range(16):
        for j in range(15):
            if 0 <= i + dy < 16 and 0 <= j + dx < 15:
                expected[:, :, i, j] = x[:, :, i + dy, j + dx]
    torch.testing.assert_close(attention(x), expected)


def test_local_attention_equals_a_slow_loop():
    attention = seeded(lambda: LocalAttention(4))
    x = noise(2, 4, 7, 6)
    weights, expected = attention.weights(x), torch.zeros_like(x)
    for n in range(2):
        for i in range(7):
            for j in range(6):
                for k in range(49):
                    a, b = i + 2 * (k // 7 - 3), j + 2 * (k % 7 - 3)
                    if 0 <= a < 7 and 0 <= b < 6:
                        expected[n, :, i, j] += weights[n, k, i, j] * x[n, :, a, b]
    torch.testing.assert_close(attention(x), expected)


def test_global_attention_equals_a_slow_loop():
    attention = seeded(lambda: GlobalAttention(2))
    x = noise(1, 2, 10, 10)
    weights, expected = attention.weights(x)[0], torch.zeros_like(x)
    for k in range(100):
        expected[0] += weights[k] * x[0, :, k // 10, k % 10, None, None]
    torch.testing.assert_close(attention(x), expected)


def test_every_place_of_a_renet_knows_of_all_others():
    net = seeded(lambda: ReNet(3, 1))
    x = noise(2, 3, 5, 4).requires_grad_()
    net(x)[0, 0, 2, 1].backward()
    assert bool((x.grad[0].abs().sum(dim=0) > 0).all()) and not x.grad[1].any()


def test_an_export_for_one_size_alone_is_refused(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    with pytest.raises(ValueError, match="LSTMs along rows and columns is not exported"):
        ReNet(3, 1)(noise(1, 3, 4, 4))


def test_a_renet_reads_rows_then_columns():
    net = seeded(lambda: ReNet(3, 2))
    x = noise(1, 3, 4, 5)
    rows = torch.stack([net.rows(x[:, :, i].transpose(1, 2))[0] for i in range(4)], dim=1)
    columns = [net.columns(rows[:, :, j])[0] for j in range(5)]  # (1, 4, 2H) each
    expected = net.predictor(torch.stack(columns, dim=3).transpose(1, 2))
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (["MODEL.DECODER.SKIPS", "('a', 'b', 'c', 'd')"], "SKIPS names 'a'"),
        (
            ["MODEL.DECODER.SKIPS", "('conv2_2', 'conv3_3', 'conv4_3', 'conv1_2')"],
            r"have strides \[16, 2, 4, 8, 1\]; list features finer than R, coarse to fine",
        ),
        (["MODEL.DECODER.SKIPS", "('conv5_3', 'conv4_3', 'conv3_3', 'conv2_2')"], "finer than R"),
    ],
)
def test_levels_that_cannot_be_built_are_refused(opts, message):
    with pytest.raises(ValueError, match=message):
        tiny_model(*NAME, *opts)


def test_a_level_without_a_width_is_refused():
    shapes = {name: ShapeSpec(channels=4, stride=s) for name, s in (("a", 4), ("b", 2))}
    with pytest.raises(ValueError, match="CHANNELS has 4 entries for the 1 features b;"):
        PiCANetDecoder(tiny_config(), shapes["a"], shapes)
