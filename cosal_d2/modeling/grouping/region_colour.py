"""The colour of regions: of objects of one kind, the odd one may differ in nothing else (ours).

An encoder that learned to name objects hardly sees it: four green apples and a red one are five
apples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ROIAlign
from torch import nn

from cosal_d2.modeling.grouping.region_masks import SIDE

# sRGB's primaries and white (D65) in CIE XYZ, a row each of X, Y and Z over those of white.
RGB_TO_XYZ = (
    (0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754),
)
# Least probability of a member whose colour counts.
MEMBER = math.log(0.1)
# A colour is odd where it is further than this in CIELAB's a* and b* from that of any like member,
# and more than so many times as far as these are from theirs. Two colours are parted likewise.
LEAST_DISTANCE, TIMES = 12.0, 3.0
# What a unit of :func:`parted_colours` takes from the logit of a pair.
PARTING = 0.05


class RegionColour(nn.Module):
    """The mean colour of each region's mask, as a* and b* of CIELAB: light and shade have no part
    in it."""

    @configurable
    def __init__(
        self, *, pixel_mean: Sequence[float], pixel_std: Sequence[float], rgb: bool = False
    ) -> None:
        """
        Args:
            pixel_mean, pixel_std: of the network's input.
            rgb: whether its channels are RGB; else BGR.
        """
        super().__init__()
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std), persistent=False)
        self.order = [0, 1, 2] if rgb else [2, 1, 0]
        self.pooler = ROIAlign((SIDE, SIDE), 1.0, 2, aligned=True)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {
            "pixel_mean": tuple(cfg.MODEL.PIXEL_MEAN),
            "pixel_std": tuple(cfg.MODEL.PIXEL_STD),
            "rgb": cfg.INPUT.FORMAT == "RGB",
        }

    def forward(
        self, image: torch.Tensor, windows: torch.Tensor, masks: torch.Tensor
    ) -> torch.Tensor:
        """a* and b* (K, 2) of K regions, in float32 whatever the network's precision.

        Args:
            image: (N, 3, H, W), the network's input.
            windows: (K, 5): index of the image, and XYXY of the mask's window in input pixels.
            masks: (K, 28, 28) probabilities in the windows.
        """
        with torch.autocast(image.device.type, enabled=False):
            weights = (masks.float() - 0.5).clamp(min=0)[:, None]
            pixels = self.pooler(image.float(), windows.float())
            total = weights.sum(dim=(2, 3))
            mean = (pixels * weights).sum(dim=(2, 3)) / total.clamp(min=1e-6)
            mean = mean * self.pixel_std + self.pixel_mean
            return chroma(mean[:, self.order] / 255)


def chroma(rgb: torch.Tensor) -> torch.Tensor:
    """a* and b* (..., 2) of CIELAB of sRGB colours (..., 3) in [0, 1]."""
    rgb = rgb.clamp(0, 1)
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ linear.new_tensor(RGB_TO_XYZ).T
    small = 0.008856
    f = torch.where(xyz > small, xyz.clamp(min=small) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(dim=-1)
    return torch.stack([500 * (x - y), 200 * (y - z)], dim=-1)


def odd_colours(
    colours: torch.Tensor, pairs: torch.Tensor, member: torch.Tensor, different: torch.Tensor
) -> torch.Tensor:
    """How odd each region's colour is among those of the members that it otherwise resembles.

    Members of one kind may be of all colours, such as cars. So a colour is odd where the nearest
    one is far, while the like members have theirs near.

    Args:
        colours: (..., K, 2), a* and b*.
        pairs: (..., K, K) logits of being two instances of one class.
        member: (..., K) logarithms of the probability of belonging to the group.
        different: (..., K, K), whether two regions can be different objects.

    Returns:
        (..., K) in CIELAB's units, 0 where nothing is odd.
    """
    alike, _, nearest = _like_members(colours, pairs, member, different)
    some = alike.any(dim=-1, keepdim=True)
    nearest = torch.where(some, nearest, 0.0)
    others = alike & some.transpose(-1, -2)
    count = others.sum(dim=-1, keepdim=True)
    usual = torch.where(others, nearest.transpose(-1, -2), 0.0).sum(dim=-1, keepdim=True)
    limit = (TIMES * usual / count.clamp(min=1)).clamp(min=LEAST_DISTANCE)
    return torch.where(count > 0, nearest - limit, 0.0).clamp(min=0)[..., 0]


def parted_colours(
    colours: torch.Tensor, pairs: torch.Tensor, member: torch.Tensor, different: torch.Tensor
) -> torch.Tensor:
    """How much further apart two colours are than each is from its nearest among the members.

    Yellow lemons and blue eggs are two kinds, even if the encoder takes them for one; cars, each
    of another colour, are one.

    Args:
        colours, pairs, member, different: of :func:`odd_colours`.

    Returns:
        (..., K, K) in CIELAB's units, 0 for pairs that colour does not part.
    """
    _, distance, nearest = _like_members(colours, pairs, member, different)
    usual = torch.maximum(nearest, nearest.transpose(-1, -2))
    return (distance - (TIMES * usual).clamp(min=LEAST_DISTANCE)).clamp(min=0)


def _like_members(
    colours: torch.Tensor, pairs: torch.Tensor, member: torch.Tensor, different: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which members each region resembles (..., K, K), the colours' distances (..., K, K), and that
    of the nearest of these (..., K, 1), infinite where there is none."""
    alike = (pairs > 0) & different & (member > MEMBER)[..., None, :]
    distance = (colours[..., :, None, :] - colours[..., None, :, :]).norm(dim=-1)
    nearest = torch.where(alike, distance, torch.inf).amin(dim=-1, keepdim=True)
    return alike, distance, nearest
