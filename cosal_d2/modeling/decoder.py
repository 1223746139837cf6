"""Decoders from R and the encoder's features to a co-saliency map, with their loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.utils.registry import Registry
from fvcore.nn import weight_init
from torch import nn

from cosal_d2.modeling.backbone.encoder import check_features, finer_features
from cosal_d2.modeling.layers import build_norm, conv

COSAL_DECODER_REGISTRY = Registry("COSAL_DECODER")
COSAL_DECODER_REGISTRY.__doc__ = """
Decoders. A decoder is built from ``(cfg, r_shape, skip_shapes)`` and offers
``forward(r, skips) -> logits (N, 1, H/stride, W/stride)``,
``losses(logits, targets, weak) -> dict``, and the attributes ``stride`` and ``skips`` (names of the
features that it fuses). ``skips`` of ``forward`` also has the network's input, ``"image"``
(N, 3, H, W), normalised. In training ``forward`` may give several outputs as channels, the last of
which is the map: side outputs, time steps or streams, which ``losses`` weighs.
"""

IGNORE = 255


def build_decoder(cfg: CfgNode, r_shape: ShapeSpec, skip_shapes: dict[str, ShapeSpec]) -> nn.Module:
    """Build the decoder that ``MODEL.DECODER.NAME`` names."""
    return COSAL_DECODER_REGISTRY.get(cfg.MODEL.DECODER.NAME)(cfg, r_shape, skip_shapes)


class DecoderLevel(nn.Module):
    """Upsample, fuse one skip if there is one, convolve."""

    def __init__(
        self,
        in_channels: int,
        skip: ShapeSpec | None,
        out: int,
        num_convs: int,
        narrow: int,
        norm: str,
    ) -> None:
        super().__init__()
        # VGG's activations reach thousands: a skip is normalised before it meets the level below.
        self.skip, fused = None, 0
        if skip is not None and narrow:
            self.skip, fused = conv(skip.channels, narrow, 1, norm), narrow
        elif skip is not None:
            self.skip, fused = build_norm(norm, skip.channels) or nn.Identity(), skip.channels
        widths = [in_channels + fused] + [out] * num_convs
        self.convs = nn.Sequential(
            *(conv(a, b, 3, norm) for a, b in zip(widths, widths[1:], strict=False))
        )

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        """x (N, C, h, w) and the skip (N, S, 2h, 2w), if there is one, to (N, out, 2h, 2w)."""
        x = enlarge(x, 2)
        if skip is None:
            return self.convs(x)
        skip = self.skip(skip)
        return self.convs(torch.cat([x, skip.to(x.dtype)], dim=1))


def enlarge(x: torch.Tensor, factor: int) -> torch.Tensor:
    """(N, C, h, w), bilinearly, to (N, C, factor h, factor w)."""
    if factor == 1:
        return x
    x = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    if x.requires_grad:
        x.register_hook(_channels_last)
    return x


def _channels_last(gradient: torch.Tensor | None) -> torch.Tensor | None:
    """The gradient in the layout of the activations: on CPUs, interpolation's backward pass is
    several times slower on the strided slice that ``cat``'s backward pass gives it."""
    if gradient is None:
        return None
    return gradient.contiguous(memory_format=torch.channels_last)


class MapDecoder(nn.Module):
    """What decoders share: the loss of their outputs, the last of which is the map."""

    def __init__(
        self,
        *,
        loss_weight: float = 1.0,
        iou_loss_weight: float = 0.0,
        weak_mask_weight: float = 1.0,
        output_weights: Sequence[float] = (1.0,),
    ) -> None:
        """
        Args:
            loss_weight: weight of the binary cross-entropy.
            iou_loss_weight: weight of the soft IoU term, 0 for none.
            weak_mask_weight: weight of an image whose masks are rough.
            output_weights: weight of each output in the loss.
        """
        super().__init__()
        self.loss_weight = loss_weight
        self.iou_loss_weight = iou_loss_weight
        self.weak_mask_weight = weak_mask_weight
        self.output_weights = tuple(output_weights)

    @staticmethod
    def loss_arguments(cfg: CfgNode) -> dict[str, float]:
        """The arguments of ``__init__`` that are keys of the config."""
        keys = cfg.MODEL.DECODER
        return {
            "loss_weight": keys.LOSS_WEIGHT,
            "iou_loss_weight": keys.IOU_LOSS_WEIGHT,
            "weak_mask_weight": keys.WEAK_MASK_WEIGHT,
        }

    def losses(
        self, logits: torch.Tensor, targets: torch.Tensor, weak: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """``loss_cosal``: eq. 6, binary cross-entropy averaged over the pixels that count, a sum
        over the outputs by their weights.

        Args:
            logits: (N, K, H, W) float32, the last K outputs.
            targets: (N, H, W) uint8: 1 co-salient, 0 not, 255 padded or ignored.
            weak: (N,) bool, the images whose masks are rough; None where none is.
        """
        weights = None
        if weak is not None:
            weights = torch.where(weak, self.weak_mask_weight, 1.0)
        outputs = logits.unbind(dim=1)
        loss = sum(
            weight * self.output_loss(output, targets, weights)
            for weight, output in zip(self.output_weights[-len(outputs) :], outputs, strict=True)
        )
        return {"loss_cosal": self.loss_weight * loss}

    def output_loss(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        """The loss of one output (N, H, W); ``weights`` (N,) of the images, None for 1."""
        return cosal_loss(logits, targets, self.iou_loss_weight, weights)


@COSAL_DECODER_REGISTRY.register()
class UNetDecoder(MapDecoder):
    """U-Net decoder (Ronneberger et al. 2015; section "Encoder-Decoder Block").

    Each level doubles the resolution, concatenates the encoder's feature of that resolution and
    convolves; a 1x1 convolution gives the logits.
    """

    @configurable
    def __init__(
        self,
        *,
        r_shape: ShapeSpec,
        skip_shapes: dict[str, ShapeSpec],
        skips: Sequence[str] = (),
        channels: Sequence[int] = (512, 256, 128, 64),
        num_convs: Sequence[int] = (3, 3, 2, 2),
        skip_channels: Sequence[int] = (0, 0, 0, 0),
        norm: str = "GN",
        dropout: float = 0.0,
        extra_channels: int = 0,
        **loss: float | Sequence[float],
    ) -> None:
        """
        Args:
            r_shape: channels and stride of R.
            skip_shapes: channels and stride of the encoder's features, by name.
            skips: names of the fused features, coarse to fine, each at half the stride before it,
                "" for a level without one; empty for every feature finer than H.
            channels, num_convs, skip_channels: per level, see ``MODEL.DECODER`` in the config.
            norm: normalisation after each 3x3 convolution, "" for none.
            dropout: probability of dropping a whole channel of R in training.
            extra_channels: channels that a subclass puts beside the input of each level and of the
                predictor.
            loss: the weights of :class:`MapDecoder`.
        """
        super().__init__(**loss)
        levels = []
        skips = tuple(skips) or finer_features(skip_shapes)
        if len(skips) != len(channels):
            raise ValueError(
                f"MODEL.DECODER.CHANNELS has {len(channels)} entries for the {len(skips)} features "
                f"{', '.join(skips)}; CHANNELS, NUM_CONVS and SKIP_CHANNELS need one each"
            )
        width, stride = r_shape.channels, r_shape.stride
        check_features("MODEL.DECODER.SKIPS", filter(None, skips), skip_shapes)
        for name, out, depth, narrow in zip(skips, channels, num_convs, skip_channels, strict=True):
            if not name and stride == 1:
                raise ValueError(
                    'MODEL.DECODER.SKIPS has a "" after the level at stride 1: drop that level'
                )
            skip = skip_shapes[name] if name else None
            if skip is not None and skip.stride * 2 != stride:
                raise ValueError(
                    f"MODEL.DECODER.SKIPS: {name} has stride {skip.stride}, but the level before "
                    f"it has {stride}; list the features coarse to fine, each at half the stride"
                )
            levels.append(DecoderLevel(width + extra_channels, skip, out, depth, narrow, norm))
            width, stride = out, stride // 2
        if min(num_convs) < 1:
            raise ValueError(f"MODEL.DECODER.NUM_CONVS is {tuple(num_convs)}; use 1 or more each")
        self.skips = skips
        self.stride = stride
        self.levels = nn.ModuleList(levels)
        self.dropout = nn.Dropout2d(dropout)
        self.predictor = Conv2d(width + extra_channels, 1, 1)
        weight_init.c2_xavier_fill(self.predictor)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, r_shape: ShapeSpec, skip_shapes: dict[str, ShapeSpec]
    ) -> dict:
        keys = cfg.MODEL.DECODER
        return {
            "r_shape": r_shape,
            "skip_shapes": skip_shapes,
            "skips": keys.SKIPS,
            "channels": keys.CHANNELS,
            "num_convs": keys.NUM_CONVS,
            "skip_channels": keys.SKIP_CHANNELS,
            "norm": keys.NORM,
            "dropout": keys.DROPOUT,
            **cls.loss_arguments(cfg),
        }

    def forward(self, r: torch.Tensor, skips: dict[str, torch.Tensor]) -> torch.Tensor:
        """Predict logits.

        Args:
            r: (N, C, H/16, W/16).
            skips: the encoder's features by name.

        Returns:
            logits, float32 (N, 1, H/stride, W/stride).
        """
        x = self.dropout(r)
        for name, level in zip(self.skips, self.levels, strict=True):
            x = level(x, skips[name] if name else None)
        return self.predictor(x).float()


def cosal_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    iou_weight: float = 0.0,
    weights: torch.Tensor | None = None,
    positive_weight: float = 1.0,
) -> torch.Tensor:
    """Binary cross-entropy on logits (eq. 6) plus ``iou_weight`` times a soft IoU loss.

    Args:
        logits: (N, H, W) float32.
        targets: (N, H, W) uint8 in {0, 1, 255}; 255 is left out of every mean.
        iou_weight: weight of 1 - sum(p y) / sum(p + y - p y), a mean over images (Rahman and Wang
            2016); images whose truth is empty take no part in it.
        weights: (N,), of each image in both means; None for 1.
        positive_weight: factor of the cross-entropy of a co-salient pixel.

    Returns:
        A scalar; 0, connected to ``logits``, when no pixel counts.
    """
    valid = targets != IGNORE
    y = (targets == 1).to(logits.dtype)
    weight = valid.to(logits.dtype)
    if weights is None:
        weights = logits.new_ones(len(logits))
    losses = F.binary_cross_entropy_with_logits(logits, y, weight, reduction="none")
    if positive_weight != 1:
        losses = losses * torch.where(targets == 1, positive_weight, 1.0)
    loss = (losses.sum((1, 2)) * weights).sum() / weight.sum().clamp(min=1)
    if iou_weight > 0:
        p = logits.sigmoid() * weight
        inter = (p * y).sum((1, 2))
        union = (p + y - p * y).sum((1, 2))
        has_truth = (y.sum((1, 2)) > 0).to(logits.dtype)
        iou_loss = (1 - inter / union.clamp(min=1)) * has_truth * weights
        loss = loss + iou_weight * iou_loss.sum() / has_truth.sum().clamp(min=1)
    return loss
