"""Region embeddings from the frozen encoder's own levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import nn

from cosal_d2.modeling.gate import centre_weight

POOLED = 7
# Input pixels per pixel of the foreground map that is pooled.
FOREGROUND_STRIDE = 4
# A place without foreground still counts this much, so that a region never has no place at all.
FLOOR = 0.05


class LevelEmbedding(nn.Module):
    """A linear metric on what the frozen encoder already knows, for regions at test time.

    Regions are pooled from several encoder levels, each place of the RoIAlign grid weighted by how
    near to the centre it lies and how much foreground is there, normalised, and projected by one
    linear layer that starts orthogonal: at first the encoder's own similarity, which holds for
    classes that the training lacks.
    """

    def __init__(self, shapes: dict[str, ShapeSpec], levels: Sequence[str], dim: int) -> None:
        """
        Args:
            shapes: channels and stride of the encoder's features, by name.
            levels: names of the levels that are compared.
            dim: length of an embedding.

        Raises:
            ValueError: the encoder lacks a level.
        """
        super().__init__()
        for name in levels:
            if name not in shapes:
                raise ValueError(
                    f"MODEL.GROUPING.LEVELS names {name!r}; the encoder has {sorted(shapes)}"
                )
        self.levels = tuple(levels)
        self.poolers = nn.ModuleList(
            ROIPooler(POOLED, [1.0 / shapes[n].stride], 2, "ROIAlignV2") for n in levels
        )
        self.foreground_pooler = ROIPooler(POOLED, [1.0 / FOREGROUND_STRIDE], 2, "ROIAlignV2")
        offsets = (torch.arange(POOLED) + 0.5) * 2 / POOLED - 1
        centre = centre_weight(offsets[None], offsets[:, None]).flatten()
        self.register_buffer("centre", centre, persistent=False)
        self.norms = nn.ModuleList(nn.LayerNorm(shapes[n].channels) for n in levels)
        self.project = nn.Linear(sum(shapes[n].channels for n in levels), dim, bias=False)
        nn.init.orthogonal_(self.project.weight)

    def forward(
        self,
        features: dict[str, torch.Tensor],
        foreground: torch.Tensor,
        boxes: list[torch.Tensor],
    ) -> list[torch.Tensor]:
        """Embed regions.

        Args:
            features: the encoder's features by name.
            foreground: (N, 1, H, W) probability of any object, at the input's resolution.
            boxes: (K_i, 4), a tensor an image.

        Returns:
            (K_i, D) float32 of unit length, a tensor an image.
        """
        regions = [Boxes(b) for b in boxes]
        with torch.no_grad():
            coarse = F.avg_pool2d(foreground.float(), FOREGROUND_STRIDE)
            weight = self.foreground_pooler([coarse], regions).flatten(1) + FLOOR
            weight = weight * self.centre
            weight = weight / weight.sum(dim=1, keepdim=True)
        parts = []
        for name, pooler, norm in zip(self.levels, self.poolers, self.norms, strict=True):
            with torch.no_grad():
                pooled = pooler([features[name].float()], regions).flatten(2)
                mean = (pooled * weight[:, None]).sum(dim=2)
            parts.append(norm(mean))
        embeddings = F.normalize(self.project(torch.cat(parts, dim=1)).float(), dim=1)
        return list(embeddings.split([len(b) for b in boxes]))
