"""The frozen VGG-16 encoder (Simonyan and Zisserman, arXiv 1409.1556) as a Detectron2 backbone."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import nn

from cosal_d2.modeling.backbone.vgg_weights import load_vgg16_state_dict

# Convolutions per block and their channels; the last ReLU of a block is the feature that others
# see.
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
FEATURES = tuple(f"conv{i}_{len(b)}" for i, b in enumerate(BLOCKS, start=1))


class VGG16(Backbone):
    """The 13 convolutions of VGG-16, frozen (section "Encoder-Decoder Block").

    The encoder stays in eval mode, runs without autograd and has no parameter that requires a
    gradient, so neither the optimizer nor DistributedDataParallel's buckets see it. Modules and
    state dict carry torchvision's names, ``features.0.weight`` to ``features.28.bias``.
    """

    def __init__(self) -> None:
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
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            self._taps[len(layers) - 1] = FEATURES[level]
            self._out_feature_channels[FEATURES[level]] = channels
            self._out_feature_strides[FEATURES[level]] = 2**level
        self.features = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.eval()

    @property
    def size_divisibility(self) -> int:
        """Images are padded to a multiple of 16, so that every level lines up with the next."""
        return 16

    def train(self, mode: bool = True) -> VGG16:
        """Stay in eval mode whatever the network around it does."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Encode a batch.

        Args:
            x: (N, 3, H, W) float, BGR 0-255 minus the mean; H and W multiples of 16.

        Returns:
            ``conv1_2`` (N, 64, H, W), ``conv2_2`` (N, 128, H/2, W/2), ``conv3_3`` (N, 256, H/4,
            W/4),
            ``conv4_3`` (N, 512, H/8, W/8) and ``conv5_3`` (N, 512, H/16, W/16), after their ReLU.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        outputs = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._taps:
                outputs[self._taps[index]] = x
        return outputs

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each output."""
        return {
            name: ShapeSpec(
                channels=self._out_feature_channels[name], stride=self._out_feature_strides[name]
            )
            for name in self._out_features
        }


@BACKBONE_REGISTRY.register()
def build_cosal_vgg16_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> VGG16:
    """Build the encoder and load ``MODEL.VGG.WEIGHTS`` into it.

    Raises:
        ValueError: no weights are named and ``MODEL.VGG.ALLOW_RANDOM`` is off, or the input does
        not
            have three channels.
        RuntimeError: the weights cannot be had, or ``vgg16://imagenet`` has another content hash.
    """
    if input_shape.channels != 3:
        raise ValueError(
            f"VGG-16 takes 3 channels, but MODEL.PIXEL_MEAN has {input_shape.channels}"
        )
    encoder = VGG16()
    if cfg.MODEL.VGG.ALLOW_RANDOM:
        for module in encoder.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        return encoder
    if not cfg.MODEL.VGG.WEIGHTS:
        raise ValueError(
            "MODEL.VGG.WEIGHTS is empty: a frozen encoder with random weights cannot learn; use "
            '"vgg16://imagenet", or MODEL.VGG.ALLOW_RANDOM True in a test'
        )
    encoder.load_state_dict(load_vgg16_state_dict(cfg.MODEL.VGG.WEIGHTS))
    return encoder
