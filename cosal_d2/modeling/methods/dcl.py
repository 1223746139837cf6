"""DCL, deep contrast learning, as a decoder.

G. Li, Y. Yu: "Deep Contrast Learning for Salient Object Detection", CVPR 2016. Two streams predict
saliency: a multi-scale fully convolutional one, a branch an encoder level with its own score, and a
segment-wise one, which pools the encoder's features over each superpixel, its neighbours and the
whole picture. A learned 1x1 convolution fuses their maps.

Differences. The encoder is frozen, so its last level has stride 16, not the 8 that the paper gets
by dilating it; the branch on it is dilated alone, and its features are enlarged where superpixels
pool them. Pooling is a mean over a superpixel's own pixels, where the paper takes cells of the
windows around it. New convolutions are normalised like those of all decoders here. Both streams and
the fusion are trained together with a loss each, by plain cross-entropy, where the paper alternates
between the streams and balances the classes. The fully connected CRF, which the paper applies to
the result as an option, is left out: no maintained library has it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec
from torch import nn

from cosal_d2.modeling.backbone.encoder import finer_features
from cosal_d2.modeling.decoder import COSAL_DECODER_REGISTRY, MapDecoder
from cosal_d2.modeling.layers import conv
from cosal_d2.modeling.methods.superpixels import superpixels
from cosal_d2.utils.requirements import require_modules

STRIDE = 8  # of the fully convolutional stream's scores (section 3.1)
BRANCH_CHANNELS = 128  # of the branches on the finer levels (section 3.1)
TOP_CHANNELS, TOP_DILATION = 1024, 6  # of the branch on the last level, in place of VGG's fc6, fc7
SEGMENTS = 200  # superpixels of a picture, about
HIDDEN = 300  # width of the segment-wise stream's two hidden layers (section 3.2)


@COSAL_DECODER_REGISTRY.register()
class DCLDecoder(MapDecoder):
    """Multi-scale fully convolutional stream, segment-wise stream and their fusion: three outputs
    in training, in this order."""

    @configurable
    def __init__(
        self,
        *,
        r_shape: ShapeSpec,
        skip_shapes: dict[str, ShapeSpec],
        norm: str = "GN",
        **loss: float,
    ) -> None:
        """
        Args:
            r_shape: channels and stride of R.
            skip_shapes: channels and stride of the encoder's features, by name.
            norm: normalisation of the convolutions, "" for none.
            loss: the weights of :class:`MapDecoder`.

        Raises:
            ImportError: scikit-image is missing.
        """
        super().__init__(output_weights=(1.0, 1.0, 1.0), **loss)
        require_modules(("skimage",), "MODEL.DECODER.NAME DCLDecoder")
        self.stride = 1
        self.skips = finer_features(skip_shapes)
        self.branches = nn.ModuleList(_branch(skip_shapes[name], norm) for name in self.skips)
        self.top = nn.Sequential(
            conv(r_shape.channels, TOP_CHANNELS, 3, norm, dilation=TOP_DILATION),
            conv(TOP_CHANNELS, TOP_CHANNELS, 1, norm),
            Conv2d(TOP_CHANNELS, 1, 1),
        )
        self.scales = Conv2d(len(self.skips) + 1, 1, 1)
        width = 3 * r_shape.channels
        self.segments = nn.Sequential(
            nn.LayerNorm(width),  # VGG's activations reach thousands
            *(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()),
            nn.Linear(HIDDEN, 1),
        )
        self.fusion = Conv2d(2, 1, 1)
        for layer, share in ((self.scales, len(self.skips) + 1), (self.fusion, 2)):
            nn.init.constant_(layer.weight, 1 / share)  # the mean, to begin with
            nn.init.zeros_(layer.bias)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, r_shape: ShapeSpec, skip_shapes: dict[str, ShapeSpec]
    ) -> dict:
        return {
            "r_shape": r_shape,
            "skip_shapes": skip_shapes,
            "norm": cfg.MODEL.DECODER.NORM,
            **cls.loss_arguments(cfg),
        }

    def forward(self, r: torch.Tensor, skips: dict[str, torch.Tensor]) -> torch.Tensor:
        """Predict logits.

        Args:
            r: (N, C, H/16, W/16).
            skips: the encoder's features by name, and the network's input, ``image``.

        Returns:
            logits, float32: in training (N, 3, H, W), of the streams and of their fusion; else
            (N, 1, H, W), of the fusion.
        """
        image = skips["image"]
        height, width = image.shape[-2:]
        grid = (height // STRIDE, width // STRIDE)
        scores = [
            branch(skips[name]) for name, branch in zip(self.skips, self.branches, strict=True)
        ]
        scores.append(_resize(self.top(r), grid))
        dense = _resize(self.scales(torch.cat(scores, dim=1)), (height, width)).float()
        segments = self._segment_logits(image, _resize(r, grid))
        fused = self.fusion(torch.cat([dense, segments], dim=1)).float()
        return torch.cat([dense, segments, fused], dim=1) if self.training else fused

    def _segment_logits(self, image: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """The segment-wise stream: (N, 1, H, W) float32 with one value a superpixel, of the image
        and features (N, C, H/8, W/8)."""
        maps = []
        for picture, own in zip(image, features, strict=True):
            labels = superpixels(picture, SEGMENTS)
            logits = self.segments(pool_segments(labels, own.float()))
            maps.append(logits.float()[:, 0][labels])
        return torch.stack(maps)[:, None]


def _branch(shape: ShapeSpec, norm: str) -> nn.Module:
    """Score (N, 1, H/8, W/8) of a level: where it is finer, VGG's pooling and a convolution with a
    stride."""
    pooled = min(2 * shape.stride, STRIDE)
    return nn.Sequential(
        nn.MaxPool2d(pooled // shape.stride),
        conv(shape.channels, BRANCH_CHANNELS, 3, norm, stride=STRIDE // pooled),
        conv(BRANCH_CHANNELS, BRANCH_CHANNELS, 1, norm),
        Conv2d(BRANCH_CHANNELS, 1, 1),
    )


def pool_segments(labels: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Means of features over each superpixel, over those that touch it, and over the picture.

    Args:
        labels: int64 (H, W), numbers of K superpixels from 0.
        features: float32 (C, H/s, W/s) for a whole s.

    Returns:
        (K, 3 C).
    """
    count = int(labels.max()) + 1
    channels, rows, columns = features.shape
    scale = labels.shape[0] // rows
    places = torch.arange(rows * columns, device=labels.device).reshape(rows, columns)
    places = places.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    cells = rows * columns
    shares = torch.bincount((labels * cells + places).ravel(), minlength=count * cells)
    shares = shares.reshape(count, cells).to(features.dtype)
    touching = torch.zeros((count, count), device=labels.device, dtype=features.dtype)
    for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        touching[a, b] = 1
        touching[b, a] = 1
    touching.fill_diagonal_(0)
    sums = shares @ features.reshape(channels, -1).T
    sizes = shares.sum(dim=1, keepdim=True)
    around = (touching @ sums) / (touching @ sizes).clamp(min=1)
    whole = (sums.sum(dim=0) / sizes.sum()).expand_as(sums)
    return torch.cat([sums / sizes.clamp(min=1), around, whole], dim=1)


def _resize(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
