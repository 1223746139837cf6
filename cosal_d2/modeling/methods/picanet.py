"""PiCANet (Liu, Han and Yang, "PiCANet: Learning Pixel-wise Contextual Attention for Saliency
Detection", CVPR 2018): a U-Net decoder whose levels see, beside a pixel's own feature, the context
that the pixel attends to; global at the coarse levels, local at finer ones, none at the last. Each
level predicts a map, with a weight of its own in the loss (section 4).

Differences: the encoder is VGG-16 up to conv5_3 at stride 16, frozen, where the paper has it at
stride 8, dilated, with two more convolutions and their level. Attention is global at strides 16 and
8, local at 4 and 2. Pictures keep their shape, where the paper has 224x224; the 10x10 places of
global attention span the map whatever its size, as in the paper they span 28x28. Group
normalisation stands for batch normalisation. Levels are as wide as those of the other networks
compared (the paper's: CHANNELS (512, 256, 128, 64)). Side outputs are enlarged to the map's size,
where the paper shrinks the truth to theirs.
"""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from detectron2.layers import Conv2d, ShapeSpec
from fvcore.nn import weight_init
from torch import nn

from cosal_d2.modeling.backbone.encoder import check_features, finer_features
from cosal_d2.modeling.decoder import COSAL_DECODER_REGISTRY, MapDecoder, enlarge
from cosal_d2.modeling.layers import build_norm, conv
from cosal_d2.modeling.methods.contextual_attention import GlobalAttention, LocalAttention

GLOBAL_FROM = 8  # the least stride of a level with global attention


def level_weight(stride: int) -> float:
    """Weight in the loss of the map of a level, the paper's: 0.5, 0.5, 0.8, 0.8 and 1 at strides
    16, 8, 4, 2 and 1."""
    if stride >= GLOBAL_FROM:
        return 0.5
    return 0.8 if stride > 1 else 1.0


class AttentionLevel(nn.Module):
    """Fuse the encoder's feature with the level below, attend, predict (section 4)."""

    def __init__(
        self,
        feature: ShapeSpec,
        below: int,
        width: int,
        out: int,
        attention: nn.Module | None,
        norm: str,
    ) -> None:
        """
        Args:
            feature: of the encoder.
            below: channels that come from the level below, 0 for the first.
            width: channels of the fused feature.
            out: channels of what the next level gets.
            attention: keeps the shape; None for none, and then nothing goes on.
            norm: normalisation, "" for none.
        """
        super().__init__()
        self.norm = build_norm(norm, feature.channels) or nn.Identity()
        self.fuse = conv(feature.channels + below, width, 1, norm)
        self.attention = attention
        if attention is not None:
            self.merge = conv(2 * width, out, 1, norm)
        self.predictor = Conv2d(width if attention is None else out, 1, 1)
        weight_init.c2_xavier_fill(self.predictor)

    def forward(self, feature: torch.Tensor, below: torch.Tensor | None) -> torch.Tensor:
        """The feature (N, F, h, w) and what comes from below (N, B, h, w) to (N, out, h, w)."""
        x = self.norm(feature).relu()
        if below is not None:
            x = torch.cat([x.to(below.dtype), below], dim=1)
        x = self.fuse(x)
        if self.attention is None:
            return x
        return self.merge(torch.cat([x, self.attention(x)], dim=1))


@COSAL_DECODER_REGISTRY.register()
class PiCANetDecoder(MapDecoder):
    """U-Net decoder with contextual attention: a level for R, and one for each of SKIPS, as wide as
    CHANNELS says; NUM_CONVS and SKIP_CHANNELS have no part in it."""

    def __init__(self, cfg: CfgNode, r_shape: ShapeSpec, skip_shapes: dict[str, ShapeSpec]) -> None:
        """
        Raises:
            ValueError: SKIPS is not of the encoder, not coarse to fine, or of another length than
                CHANNELS.
        """
        keys = cfg.MODEL.DECODER
        skips = tuple(keys.SKIPS) or finer_features(skip_shapes)
        check_features("MODEL.DECODER.SKIPS", skips, skip_shapes)
        shapes = [r_shape, *(skip_shapes[name] for name in skips)]
        strides = [shape.stride for shape in shapes]
        if any(a <= b for a, b in zip(strides, strides[1:], strict=False)):
            raise ValueError(
                f"MODEL.DECODER.SKIPS {', '.join(skips)} and R have strides {strides}; list "
                "features finer than R, coarse to fine"
            )
        if len(skips) != len(keys.CHANNELS):
            raise ValueError(
                f"MODEL.DECODER.CHANNELS has {len(keys.CHANNELS)} entries for the {len(skips)} "
                f"features {', '.join(skips)}; it needs one each"
            )
        super().__init__(
            **self.loss_arguments(cfg), output_weights=[level_weight(s) for s in strides]
        )
        self.skips, self.strides, self.stride = skips, strides, strides[-1]
        widths = [keys.CHANNELS[0], *keys.CHANNELS]
        levels = []
        for i, (shape, width) in enumerate(zip(shapes, widths, strict=True)):
            attention = None
            if i < len(skips):
                kind = GlobalAttention if shape.stride >= GLOBAL_FROM else LocalAttention
                attention = kind(width)
            below, out = widths[i] if i else 0, widths[min(i + 1, len(skips))]
            levels.append(AttentionLevel(shape, below, width, out, attention, keys.NORM))
        self.levels = nn.ModuleList(levels)

    def forward(self, r: torch.Tensor, skips: dict[str, torch.Tensor]) -> torch.Tensor:
        """Predict logits.

        Args:
            r: (N, C, H/16, W/16).
            skips: the encoder's features by name.

        Returns:
            logits, float32 (N, 1, H/stride, W/stride); in training of all levels, (N, levels, ...),
            the finest last.
        """
        x, outputs, last = None, [], len(self.levels) - 1
        features = [r, *(skips[name] for name in self.skips)]
        for i, (level, feature) in enumerate(zip(self.levels, features, strict=True)):
            if i:
                x = enlarge(x, self.strides[i - 1] // self.strides[i])
            x = level(feature, x)
            if self.training or i == last:
                output = level.predictor(x).float()
                outputs.append(enlarge(output, self.strides[i] // self.stride))
        return torch.cat(outputs, dim=1)
