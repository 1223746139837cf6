import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from detectron2.modeling import build_backbone
from network_data import RESNET, tiny_config
from torch import nn

from cosal_d2.config import get_cosal_config
from cosal_d2.modeling import FeatureSensitiveBlock
from cosal_d2.modeling.layers import GroupNorm, build_norm, fold_frozen_norms

CHANNELS_LAST = torch.channels_last
H = ShapeSpec(channels=24, stride=16)


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (48, 16), (6, 2), (5, 1)])
def test_groups_fit_the_channels(channels, groups):
    norm = build_norm("GN", channels)
    assert isinstance(norm, nn.GroupNorm) and norm.num_groups == groups


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_group_norm_equals_pytorchs_and_keeps_the_layout(dtype):
    generator = torch.Generator().manual_seed(0)
    reference = nn.GroupNorm(4, 8)
    for parameter in reference.parameters():
        parameter.data = torch.randn(8, generator=generator).to(dtype).float()
    own = GroupNorm(4, 8).to(dtype)
    own.load_state_dict(reference.state_dict())
    x = torch.randn((2, 8, 5, 7), generator=generator).to(dtype)
    found = []
    for norm, kind in ((own, dtype), (reference, torch.float32)):
        y = x.to(kind, memory_format=CHANNELS_LAST, copy=True).requires_grad_()
        z = norm(y)
        z.backward(torch.linspace(-1, 1, x.numel()).view_as(x).to(kind))
        assert z.dtype == kind and z.is_contiguous(memory_format=CHANNELS_LAST)
        found.append([z.float(), y.grad.float(), norm.weight.grad.float(), norm.bias.grad.float()])
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(*found, rtol=tolerance, atol=tolerance)


def test_the_papers_block_maps_512_channels_to_512_of_the_same_size():
    cfg = get_cosal_config("cosal_vgg16_online.yaml")
    block = FeatureSensitiveBlock(cfg, ShapeSpec(channels=512, stride=16))
    assert [tuple(c.weight.shape) for c in block] == [(512, 512, 3, 3)] * 3
    assert (block.output_shape.channels, block.output_shape.stride) == (512, 16)
    assert block(torch.rand(1, 512, 2, 3)).shape == (1, 512, 2, 3)


@pytest.mark.parametrize("norm", ["GN", ""])
def test_a_block_is_convolutions_normalised_or_with_bias_and_relus(norm):
    block = FeatureSensitiveBlock(input_shape=H, channels=12, num_convs=3, norm=norm)
    assert all((layer.bias is None) == bool(norm) for layer in block)
    h = torch.randn(1, 24, 6, 6)
    expected = h
    for layer in block:
        expected = F.conv2d(expected, layer.weight, layer.bias, padding=1)
        if norm:
            x = expected.reshape(1, 4, -1)
            x = (x - x.mean(2, keepdim=True)) / (x.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
            expected = x.reshape(1, 12, 6, 6)
        expected = expected.clamp(min=0)
    torch.testing.assert_close(block(h), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("norm", ["FrozenBN", "GN"])
def test_frozen_norms_are_folded_into_convolutions_and_others_stay(norm):
    backbone = build_backbone(tiny_config(*RESNET, "MODEL.RESNETS.NORM", norm)).eval()
    generator = torch.Generator().manual_seed(0)
    for name, value in backbone.state_dict().items():
        if ".norm." in name:
            value.add_(torch.rand(value.shape, generator=generator) * 0.2)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    image = torch.rand((1, 3, 64, 96), generator=generator)
    expected = backbone(image)
    fold_frozen_norms(backbone)
    for name, feature in backbone(image).items():
        scale = expected[name].abs().max()
        torch.testing.assert_close(feature / scale, expected[name] / scale, rtol=0, atol=1e-4)
    assert not any(isinstance(part, FrozenBatchNorm2d) for part in backbone.modules())
    after = backbone.state_dict()
    if norm == "GN":
        assert after.keys() == before.keys()
        assert all(torch.equal(v, before[k]) for k, v in after.items())


def test_a_block_that_starts_as_identity_changes_nothing():
    block = FeatureSensitiveBlock(input_shape=H, channels=24, norm="", identity=True)
    h = torch.rand(1, 24, 5, 6)
    torch.testing.assert_close(block(h), h)


def test_a_block_that_narrows_cannot_be_identity():
    with pytest.raises(ValueError, match="IDENTITY.*CHANNELS 24, not 12"):
        FeatureSensitiveBlock(input_shape=H, channels=12, identity=True)


def test_no_convolution_at_all_is_refused():
    with pytest.raises(ValueError, match="NUM_CONVS is 0.*ENABLED False"):
        FeatureSensitiveBlock(input_shape=H, num_convs=0)
