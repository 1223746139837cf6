"""PFA, the pyramid feature attention network (Zhao and Wu, "Pyramid Feature Attention Network for
Saliency Detection", CVPR 2019), with its context-aware pyramid feature extraction, CPFE.

High-level features pass CPFE and channel-wise attention; what comes out weighs the places of
low-level features by spatial attention; both together give the map. Numbers are the paper's; where
it leaves one open, those of the authors' code, whose edges these are as well
(CaitinZhao/cvpr2019_Pyramid-Feature-Attention-Network-for-Saliency-detection).

Differences: the encoder is frozen, where the paper trains it. Pictures keep their shape, where the
paper has 256x256. Group normalisation stands for batch normalisation, and the two maps of spatial
attention are added as they are, where that code normalises each and cuts it at 0. An edge counts
where all nine pixels around it have a truth.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import Conv2d, ShapeSpec
from fvcore.nn import weight_init
from torch import nn

from cosal_d2.modeling.backbone.encoder import finer_features
from cosal_d2.modeling.decoder import (
    COSAL_DECODER_REGISTRY,
    IGNORE,
    MapDecoder,
    cosal_loss,
    enlarge,
)
from cosal_d2.modeling.layers import build_norm, conv

NUM_LOW = 2  # the finest features, VGG's conv1_2 and conv2_2, are the low-level ones (section 3)
DILATIONS = (3, 5, 7)  # of CPFE's 3x3 convolutions, beside a 1x1 one (section 3.1)
CONTEXT_CHANNELS = 32  # of each of them (section 3.1)
CHANNELS = 64  # of the high-level and of the low-level features that are fused
REDUCTION = 4  # of the hidden layer of channel-wise attention
KERNEL = 9  # of spatial attention, 1x9 and 9x1 (section 3.2)
MAP_SHARE = 0.7  # alpha: of the map in the loss, the edges have the rest (section 3.3)
POSITIVE_WEIGHT = 1.12  # alpha_s / (1 - alpha_s) for alpha_s = 0.528 (section 3.3)


class ContextFeatures(nn.Module):
    """CPFE of one feature: four views of different reach, side by side."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        views = [Conv2d(channels, CONTEXT_CHANNELS, 1, bias=not norm)]
        views += [
            Conv2d(channels, CONTEXT_CHANNELS, 3, padding=d, dilation=d, bias=not norm)
            for d in DILATIONS
        ]
        for view in views:
            weight_init.c2_msra_fill(view)
        self.views = nn.ModuleList(views)
        self.channels = len(views) * CONTEXT_CHANNELS
        self.norm = build_norm(norm, self.channels) or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to (N, 128, h, w)."""
        return self.norm(torch.cat([view(x) for view in self.views], dim=1)).relu()


class ChannelAttention(nn.Module):
    """Weighs each channel by a number in (0, 1) that two layers give from the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scores = nn.Sequential(
            nn.Linear(channels, channels // REDUCTION),
            nn.ReLU(inplace=True),
            nn.Linear(channels // REDUCTION, channels),
        )

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Of the channels of (N, C, h, w): (N, C)."""
        return self.scores(x.mean(dim=(2, 3))).sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weights(x)[:, :, None, None]


class SpatialAttention(nn.Module):
    """Weighs each place by a number in (0, 1): two maps, by 1x9 after 9x1 convolutions and the
    other way round, are added."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        wide, high = (1, KERNEL), (KERNEL, 1)
        self.wide_first = self._scores(channels, wide, high, norm)
        self.high_first = self._scores(channels, high, wide, norm)

    @staticmethod
    def _scores(
        channels: int, first: tuple[int, int], second: tuple[int, int], norm: str
    ) -> nn.Sequential:
        half = channels // 2
        layers = nn.Sequential(
            Conv2d(
                channels,
                half,
                first,
                padding=(first[0] // 2, first[1] // 2),
                bias=not norm,
                norm=build_norm(norm, half),
                activation=nn.ReLU(inplace=True),
            ),
            Conv2d(half, 1, second, padding=(second[0] // 2, second[1] // 2)),
        )
        weight_init.c2_msra_fill(layers[0])
        weight_init.c2_xavier_fill(layers[1])
        return layers

    def forward(self, high: torch.Tensor) -> torch.Tensor:
        """From high-level features (N, C, h, w), the weight of each place, (N, 1, h, w)."""
        return (self.wide_first(high) + self.high_first(high)).sigmoid()


@COSAL_DECODER_REGISTRY.register()
class CPFEDecoder(MapDecoder):
    """The decoder of the pyramid feature attention network, at the finest feature's stride.

    It takes every feature finer than R; of MODEL.DECODER's keys it has NORM and the weights of the
    loss.
    """

    def __init__(self, cfg: CfgNode, r_shape: ShapeSpec, skip_shapes: dict[str, ShapeSpec]) -> None:
        """
        Raises:
            ValueError: the encoder has fewer than two features finer than R.
        """
        super().__init__(**self.loss_arguments(cfg))
        self.skips = finer_features(skip_shapes)
        if len(self.skips) < NUM_LOW:
            raise ValueError(
                f"MODEL.DECODER.NAME CPFEDecoder takes {NUM_LOW} features finer than R, but "
                f"MODEL.BACKBONE gives {len(self.skips)}; name finer ones in its OUT_FEATURES"
            )
        norm = cfg.MODEL.DECODER.NORM
        shapes = [r_shape, *(skip_shapes[name] for name in self.skips)]
        self.strides = [shape.stride for shape in shapes]
        self.stride = self.strides[-1]
        high, low = shapes[:-NUM_LOW], shapes[-NUM_LOW:]
        self.contexts = nn.ModuleList(ContextFeatures(shape.channels, norm) for shape in high)
        width = sum(context.channels for context in self.contexts)
        self.channel_attention = ChannelAttention(width)
        self.reduce = conv(width, CHANNELS, 1, norm)
        self.spatial_attention = SpatialAttention(CHANNELS, norm)
        self.laterals = nn.ModuleList(conv(shape.channels, CHANNELS, 3, norm) for shape in low)
        self.join = conv(NUM_LOW * CHANNELS, CHANNELS, 3, norm)
        self.predictor = Conv2d(2 * CHANNELS, 1, 3, padding=1)
        weight_init.c2_xavier_fill(self.predictor)

    def forward(self, r: torch.Tensor, skips: dict[str, torch.Tensor]) -> torch.Tensor:
        """Predict logits.

        Args:
            r: (N, C, H/16, W/16).
            skips: the encoder's features by name.

        Returns:
            logits, float32 (N, 1, H/stride, W/stride).
        """
        features = [r, *(skips[name] for name in self.skips)]
        finest = self.strides[-NUM_LOW - 1]  # of the high-level ones
        contexts = [
            enlarge(context(feature), stride // finest)
            for context, feature, stride in zip(
                self.contexts, features[:-NUM_LOW], self.strides[:-NUM_LOW], strict=True
            )
        ]
        high = self.reduce(self.channel_attention(torch.cat(contexts, dim=1)))
        high = enlarge(high, finest // self.stride)
        laterals = [
            enlarge(lateral(feature), stride // self.stride)
            for lateral, feature, stride in zip(
                self.laterals, features[-NUM_LOW:], self.strides[-NUM_LOW:], strict=True
            )
        ]
        low = self.join(torch.cat(laterals, dim=1)) * self.spatial_attention(high)
        return self.predictor(torch.cat([low, high], dim=1)).float()

    def output_loss(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        """The edge preservation loss: cross-entropy of the map and of its edges."""
        in_map = cosal_loss(logits, targets, self.iou_loss_weight, weights, POSITIVE_WEIGHT)
        return MAP_SHARE * in_map + (1 - MAP_SHARE) * edge_loss(logits, targets, weights)


def edges(cosal_map: torch.Tensor) -> torch.Tensor:
    """Edges of maps (N, H, W) in [0, 1], on their inner side: the Laplacian, squashed by tanh and
    cut at 0, of all pixels but the outermost, (N, H - 2, W - 2)."""
    # Eight times a pixel minus the sum of its neighbours; autocast would round a convolution.
    laplacian = 9 * (cosal_map[:, 1:-1, 1:-1] - F.avg_pool2d(cosal_map, 3, stride=1))
    return laplacian.tanh().relu()


def edge_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Binary cross-entropy of the edges of a map against those of the truth, a mean over the pixels
    whose neighbours all count.

    Args:
        logits: (N, H, W) float32.
        targets: (N, H, W) uint8 in {0, 1, 255}; 255 does not count.
        weights: (N,), of each image; None for 1.

    Returns:
        A scalar; 0, connected to ``logits``, when no pixel counts.
    """
    if weights is None:
        weights = logits.new_ones(len(logits))
    counts = (targets == IGNORE).to(logits.dtype)
    counts = (F.max_pool2d(counts[:, None], 3, stride=1)[:, 0] == 0).to(logits.dtype)
    truth = edges((targets == 1).to(logits.dtype))
    found = edges(logits.sigmoid()).clamp(1e-6, 1 - 1e-6)
    losses = -(truth * found.log() + (1 - truth) * (-found).log1p()) * counts
    return (losses.sum((1, 2)) * weights).sum() / counts.sum().clamp(min=1)
