import pytest
import torch
from torch import nn

from cosal_d2.modeling.layers import GroupNorm, build_norm

CHANNELS_LAST = torch.channels_last


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (48, 16), (6, 2), (5, 1)])
def test_groups_fit_the_channels(channels, groups):
    norm = build_norm("GN", channels)
    assert isinstance(norm, nn.GroupNorm) and norm.num_groups == groups


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_group_norm_equals_pytorchs_and_keeps_the_layout(dtype):
    own, reference = GroupNorm(4, 8).to(dtype), nn.GroupNorm(4, 8)
    with torch.no_grad():
        for parameter in (own.weight, own.bias):
            parameter.copy_(torch.randn(8, generator=torch.Generator().manual_seed(1)))
    reference.load_state_dict({k: v.float() for k, v in own.state_dict().items()})
    x = torch.randn((2, 8, 5, 7), generator=torch.Generator().manual_seed(0)).to(dtype)
    upstream = torch.linspace(-1, 1, x.numel()).view_as(x).to(dtype)
    inputs, outputs = [], []
    for norm, kind in ((own, dtype), (reference, torch.float32)):
        y = x.to(kind, memory_format=CHANNELS_LAST, copy=True).requires_grad_()
        z = norm(y)
        z.backward(upstream.to(kind))
        inputs.append(y.grad.float())
        outputs.append(z)
    assert outputs[0].dtype == dtype and outputs[0].is_contiguous(memory_format=CHANNELS_LAST)
    tolerance = (
        {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.05}
    )
    torch.testing.assert_close(outputs[0].float(), outputs[1], **tolerance)
    torch.testing.assert_close(*inputs, **tolerance)
    grads = [own.weight.grad.float(), reference.weight.grad]
    torch.testing.assert_close(*grads, **tolerance)
