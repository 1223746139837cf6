"""Convolution and normalisation as every trainable part of the network uses them."""

from __future__ import annotations

from detectron2.layers import Conv2d, get_norm
from fvcore.nn import weight_init
from torch import nn


def conv(in_channels: int, out_channels: int, kernel_size: int, norm: str) -> Conv2d:
    """A same-size convolution, He-initialised, then normalisation (if any) and a ReLU."""
    layer = Conv2d(
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        padding=kernel_size // 2,
        bias=not norm,
        norm=build_norm(norm, out_channels),
        activation=nn.ReLU(inplace=True),
    )
    weight_init.c2_msra_fill(layer)
    return layer


def build_norm(norm: str, channels: int) -> nn.Module | None:
    """Detectron2's ``get_norm``; "GN", which has 32 groups there, gets fewer where 32 do not
    fit."""
    if norm == "GN" and channels % 32:
        groups = next(g for g in (16, 8, 4, 2, 1) if channels % g == 0)
        return nn.GroupNorm(groups, channels)
    return get_norm(norm, channels)
