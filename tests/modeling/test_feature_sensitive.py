import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec

from cosal_d2.config import get_cosal_config
from cosal_d2.modeling import FeatureSensitiveBlock

H = ShapeSpec(channels=24, stride=16)


def test_the_papers_block_maps_512_channels_to_512_of_the_same_size():
    cfg = get_cosal_config("cosal_vgg16_online.yaml")
    block = FeatureSensitiveBlock(cfg, ShapeSpec(channels=512, stride=16))
    assert [tuple(c.weight.shape) for c in block] == [(512, 512, 3, 3)] * 3
    assert (block.output_shape.channels, block.output_shape.stride) == (512, 16)
    assert block(torch.rand(1, 512, 2, 3)).shape == (1, 512, 2, 3)


@pytest.mark.parametrize("norm", ["GN", ""])
def test_gradients_reach_every_parameter_and_the_input(norm):
    block = FeatureSensitiveBlock(input_shape=H, channels=40, num_convs=2, norm=norm)
    h = torch.randn(2, 24, 5, 4, requires_grad=True)
    out = block(h)
    assert out.shape == (2, 40, 5, 4) and bool((out >= 0).all())
    (out * torch.randn_like(out)).sum().backward()
    assert h.grad.abs().sum() > 0
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_without_norm_it_is_plain_convolutions_and_relus():
    block = FeatureSensitiveBlock(input_shape=H, channels=8, num_convs=3, norm="")
    h = torch.randn(1, 24, 6, 6)
    expected = h
    for layer in block:
        expected = F.conv2d(expected, layer.weight, layer.bias, padding=1).clamp(min=0)
    torch.testing.assert_close(block(h), expected)


def test_with_group_norm_each_convolution_is_normalised_and_has_no_bias():
    block = FeatureSensitiveBlock(input_shape=H, channels=12, num_convs=2, norm="GN")
    assert all(layer.bias is None for layer in block)
    assert [layer.norm.num_groups for layer in block] == [4, 4]
    h = torch.randn(1, 24, 6, 6)
    x = F.conv2d(h, block[0].weight, padding=1).reshape(1, 4, -1)
    x = (x - x.mean(2, keepdim=True)) / (x.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(block[0](h), x.reshape(1, 12, 6, 6).clamp(min=0))


def test_no_convolution_at_all_is_refused():
    with pytest.raises(ValueError, match="NUM_CONVS is 0.*ENABLED False"):
        FeatureSensitiveBlock(input_shape=H, num_convs=0)
