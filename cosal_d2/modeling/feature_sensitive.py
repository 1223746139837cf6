"""The feature-sensitive block, eq. 2 of the paper: R = F_sensitive(H)."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from torch import nn

from cosal_d2.modeling.layers import conv


class FeatureSensitiveBlock(nn.Sequential):
    """Trainable 3x3 convolutions that map H, (N, 512, H/16, W/16), to R of the same size.

    R is what the decoder, the RPN and the regional feature mapping share.
    """

    @configurable
    def __init__(
        self,
        *,
        input_shape: ShapeSpec,
        channels: int = 512,
        num_convs: int = 3,
        norm: str = "GN",
        identity: bool = False,
    ) -> None:
        """
        Args:
            input_shape: channels and stride of H.
            channels: channels of R.
            num_convs: number of convolutions, at least one.
            norm: normalisation after each convolution, "" for none.
            identity: start from convolutions that change nothing, instead of random ones.

        Raises:
            ValueError: there is no convolution, or R and H differ in channels with ``identity``.
        """
        if num_convs < 1:
            raise ValueError(
                f"MODEL.FEATURE_SENSITIVE.NUM_CONVS is {num_convs}; it needs at least 1 "
                "(MODEL.FEATURE_SENSITIVE.ENABLED False leaves the block out)"
            )
        if identity and channels != input_shape.channels:
            raise ValueError(
                "MODEL.FEATURE_SENSITIVE.IDENTITY needs as many channels as the encoder gives: set "
                f"MODEL.FEATURE_SENSITIVE.CHANNELS {input_shape.channels}, not {channels}"
            )
        widths = [input_shape.channels] + [channels] * num_convs
        super().__init__(*(conv(a, b, 3, norm) for a, b in zip(widths, widths[1:], strict=False)))
        if identity:
            for layer in self:
                nn.init.dirac_(layer.weight)
        self.output_shape = ShapeSpec(channels=channels, stride=input_shape.stride)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict:
        keys = cfg.MODEL.FEATURE_SENSITIVE
        return {
            "input_shape": input_shape,
            "channels": keys.CHANNELS,
            "num_convs": keys.NUM_CONVS,
            "norm": keys.NORM,
            "identity": keys.IDENTITY,
        }

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Map H (N, C, H/16, W/16) to R (N, channels, H/16, W/16)."""
        return super().forward(h)
