"""The VGG-16 encoder (Simonyan and Zisserman, arXiv 1409.1556) as a Detectron2 backbone."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import nn

# Convolutions per block and their channels; the last ReLU of a block is the feature that others
# see.
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
FEATURES = tuple(f"conv{i}_{len(b)}" for i, b in enumerate(BLOCKS, start=1))


class VGG16(Backbone):
    """The 13 convolutions of VGG-16 (section "Encoder-Decoder Block").

    Modules and state dict carry torchvision's names, ``features.0.weight`` to ``features.28.bias``.
    """

    def __init__(self, freeze_at: int = len(BLOCKS)) -> None:
        """
        Args:
            freeze_at: the first so many blocks do not learn; 5 freezes all (paper), 0 none.
        """
        super().__init__()
        layers: list[nn.Module] = []
        self._taps: dict[int, str] = {}
        self._out_features = list(FEATURES)
        self._out_feature_channels = {}
        self._out_feature_strides = {}
        channels = 3
        for level, block in enumerate(BLOCKS):
            if level:
                layers.append(nn.MaxPool2d(2))
            for width in block:
                convolution = nn.Conv2d(channels, width, 3, padding=1)
                layers += [convolution.requires_grad_(level >= freeze_at), nn.ReLU(inplace=True)]
                channels = width
            self._taps[len(layers) - 1] = FEATURES[level]
            self._out_feature_channels[FEATURES[level]] = channels
            self._out_feature_strides[FEATURES[level]] = 2**level
        self.features = nn.Sequential(*layers)

    @property
    def size_divisibility(self) -> int:
        """Images are padded to a multiple of 16, so that every level lines up with the next."""
        return 16

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Encode a batch.

        Args:
            x: (N, 3, H, W) float, BGR 0-255 minus the mean; H and W multiples of 16.

        Returns:
            ``conv1_2`` (N, 64, H, W), ``conv2_2`` (N, 128, H/2, W/2), ``conv3_3`` (N, 256, H/4,
            W/4), ``conv4_3`` (N, 512, H/8, W/8) and ``conv5_3`` (N, 512, H/16, W/16), after their
            ReLU.
        """
        outputs = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._taps:
                outputs[self._taps[index]] = x
        return outputs


@BACKBONE_REGISTRY.register()
def build_cosal_vgg16_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> VGG16:
    """Build the encoder, frozen as ``MODEL.BACKBONE.FREEZE_AT`` says.

    Raises:
        ValueError: the input does not have three channels.
    """
    if input_shape.channels != 3:
        raise ValueError(
            f"VGG-16 takes 3 channels, but MODEL.PIXEL_MEAN has {input_shape.channels}"
        )
    encoder = VGG16(cfg.MODEL.BACKBONE.FREEZE_AT)
    if not cfg.MODEL.BACKBONE.WEIGHTS:
        for module in encoder.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return encoder
