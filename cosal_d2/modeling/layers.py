"""Convolution and normalisation as every trainable part of the network uses them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, FrozenBatchNorm2d, get_norm
from fvcore.nn import weight_init
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


class GroupNorm(nn.GroupNorm):
    """PyTorch's group normalisation, faster where a CPU trains in a half type.

    PyTorch's backward pass over channels_last activations in a half type takes many times as long
    as over contiguous ones, so there they are rearranged; the numbers agree up to rounding.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, ...) to the same shape and layout."""
        half = x.dtype in (torch.bfloat16, torch.float16)
        slow = half and x.requires_grad and x.device.type == "cpu" and x.dim() == 4
        if not slow or x.is_contiguous():
            return super().forward(x)
        x = F.group_norm(x.contiguous(), self.num_groups, self.weight, self.bias, self.eps)
        return x.contiguous(memory_format=torch.channels_last)


def conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    norm: str,
    *,
    stride: int = 1,
    dilation: int = 1,
) -> Conv2d:
    """A convolution that keeps the size, but for its stride, He-initialised, then normalisation (if
    any) and a ReLU."""
    layer = Conv2d(
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        stride=stride,
        padding=dilation * (kernel_size // 2),
        dilation=dilation,
        bias=not norm,
        norm=build_norm(norm, out_channels),
        activation=nn.ReLU(inplace=True),
    )
    weight_init.c2_msra_fill(layer)
    return layer


def build_norm(norm: str, channels: int) -> nn.Module | None:
    """Detectron2's ``get_norm``; "GN", which has 32 groups there, gets fewer where 32 do not
    fit."""
    if norm == "GN":
        return GroupNorm(next(g for g in (32, 16, 8, 4, 2, 1) if channels % g == 0), channels)
    return get_norm(norm, channels)


@torch.no_grad()
def fold_frozen_norms(module: nn.Module) -> None:
    """Put the frozen batch norms that follow convolutions into the weights of these, in place: the
    same function up to rounding, with fewer steps. Norms that learn stay."""
    for part in module.modules():
        norm = getattr(part, "norm", None)
        if isinstance(part, Conv2d) and isinstance(norm, FrozenBatchNorm2d):
            statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
            part.weight, part.bias = fuse_conv_bn_weights(part.weight, part.bias, *statistics)
            part.norm = None
