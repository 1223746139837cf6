"""RFCN, the recurrent fully convolutional network (Wang et al., "Saliency Detection with Recurrent
Fully Convolutional Networks", ECCV 2016).

Each time step takes the map of the step before as its prior; the first prior is made of low-level
contrast and of the distance to the centre (section 3.2). Each step has its loss.

Differences: of the paper's two architectures this is RFCN-B, whose convolutions run once, because
the encoder is frozen and cannot take the prior as a fourth channel. The paper prefers the other one
since RFCN-B sees its prior only at the size of the last convolution; here every level of the
deconvolutional part and the predictor get it, each at its own size. That part fuses conv4_3 and
conv3_3 (FCN-8s's pool3 and pool4) and ends at stride 4; there are no fully connected layers, no
pre-training on semantic segmentation, no fusion of scales and no post-processing by colour and
place. Superpixels are those of the input at stride 4. The numbers below are ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from torch import nn

from cosal_d2.modeling.decoder import COSAL_DECODER_REGISTRY, UNetDecoder
from cosal_d2.modeling.layers import build_norm
from cosal_d2.modeling.methods.superpixels import segment_means, superpixels
from cosal_d2.utils.requirements import require_modules

TIME_STEPS = 3
SUPERPIXELS = 200
# Standard deviations, in shares of the picture's diagonal: how far contrast reaches, and how fast
# the centre prior falls.
CONTRAST_REACH = 0.25
CENTRE_REACH = 0.25


@COSAL_DECODER_REGISTRY.register()
class RFCNDecoder(UNetDecoder):
    """A deconvolutional part that is applied several times, each with the last map as its prior.

    Its keys are those of :class:`UNetDecoder`.
    """

    def __init__(self, cfg: CfgNode, r_shape: ShapeSpec, skip_shapes: dict[str, ShapeSpec]) -> None:
        require_modules(("skimage",), "MODEL.DECODER.NAME RFCNDecoder")
        arguments = self.from_config(cfg, r_shape, skip_shapes)
        weights = (1.0,) * TIME_STEPS
        super().__init__(**arguments, extra_channels=1, output_weights=weights)
        # VGG's activations reach thousands, beside which a prior in [0, 1] would not be seen.
        self.r_norm = build_norm(arguments["norm"], r_shape.channels) or nn.Identity()

    def forward(self, r: torch.Tensor, skips: dict[str, torch.Tensor]) -> torch.Tensor:
        """Predict logits.

        Args:
            r: (N, C, H/16, W/16).
            skips: the encoder's features by name, and its input ``image``.

        Returns:
            logits, float32 (N, 1, H/stride, W/stride), in training (N, TIME_STEPS, ...), the last
            step's last.
        """
        prior = self.first_prior(skips["image"])
        r = self.dropout(self.r_norm(r))
        outputs = []
        for _ in range(TIME_STEPS):
            logits = self.step(r, skips, prior)
            outputs.append(logits)
            prior = logits.sigmoid()
        return torch.cat(outputs, dim=1) if self.training else logits

    def first_prior(self, image: torch.Tensor) -> torch.Tensor:
        """The contrast prior (N, 1, H/stride, W/stride) of the input (N, 3, H, W)."""
        small = F.avg_pool2d(image.float(), self.stride)
        return torch.stack([contrast_prior(x) for x in small])[:, None]

    def step(
        self, r: torch.Tensor, skips: dict[str, torch.Tensor], prior: torch.Tensor
    ) -> torch.Tensor:
        """Logits (N, 1, H/stride, W/stride) of one time step, given the map (same shape, in [0, 1])
        of the step before."""
        x = r
        for name, level in zip(self.skips, self.levels, strict=True):
            x = level(with_prior(x, prior), skips[name] if name else None)
        return self.predictor(with_prior(x, prior)).float()


def with_prior(x: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    """x (N, C, h, w) with the prior (N, 1, k h, k w), averaged to its size, as channel C + 1."""
    prior = F.avg_pool2d(prior, prior.shape[-1] // x.shape[-1])
    return torch.cat([x, prior.to(x.dtype)], dim=1)


@torch.no_grad()
def contrast_prior(image: torch.Tensor) -> torch.Tensor:
    """The first prior, P = U (C + I + O): contrast of superpixels in colour C, intensity I and
    orientation O, times the centre prior U.

    A superpixel's contrast is its mean squared difference from the others, near ones counting more;
    each contrast and the result are scaled to a maximum of 1.

    Args:
        image: (3, h, w), any range of values.

    Returns:
        (h, w) float32 in [0, 1]; 0 where the picture has one colour.
    """
    height, width = image.shape[1:]
    y = torch.arange(height, device=image.device, dtype=torch.float32)
    x = torch.arange(width, device=image.device, dtype=torch.float32)
    places = torch.stack(torch.meshgrid(y, x, indexing="ij"))
    centre = places.new_tensor([(height - 1) / 2, (width - 1) / 2])
    places = (places - centre[:, None, None]) / (height**2 + width**2) ** 0.5
    intensity = image.mean(dim=0, keepdim=True)
    labels = superpixels(image, SUPERPIXELS)
    where = segment_means(places, labels)
    nearness = torch.exp(-_squared_distances(where) / (2 * CONTRAST_REACH**2))
    nearness = nearness / nearness.sum(dim=1, keepdim=True)
    contrast = torch.zeros_like(where[:, 0])
    for cue in (image, intensity, _orientation(intensity)):
        differences = _squared_distances(segment_means(cue, labels))
        contrast += _up_to_one((nearness * differences).sum(dim=1))
    centred = torch.exp(-where.square().sum(dim=1) / (2 * CENTRE_REACH**2))
    return _up_to_one(centred * contrast)[labels]


def _orientation(intensity: torch.Tensor) -> torch.Tensor:
    """Strength (4, h, w) of the derivatives of (1, h, w) along 0, 45, 90 and 135 degrees."""
    padded = F.pad(intensity[None], (1, 1, 1, 1), mode="replicate")[0]
    dx = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    dy = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return torch.cat([dx, (dx + dy) / 2**0.5, dy, (dx - dy) / 2**0.5]).abs()


def _squared_distances(points: torch.Tensor) -> torch.Tensor:
    """Between each two of (S, C): (S, S)."""
    return (points[:, None] - points[None]).square().sum(dim=2)


def _up_to_one(values: torch.Tensor) -> torch.Tensor:
    return values / values.max().clamp(min=1e-6)
