"""Region embeddings from the frozen encoder's own levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import nn

POOLED = 7


class LevelEmbedding(nn.Module):
    """A linear metric on what the frozen encoder already knows, for regions at test time.

    Regions are pooled from several encoder levels, each place of the RoIAlign grid weighted by
    where it lies and what it looks like, normalised, and projected by one linear layer that
    starts orthogonal: at first the encoder's own similarity, which holds for classes that the
    training lacks.
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
        self.places = nn.Parameter(torch.zeros(len(levels), POOLED * POOLED))
        # What an object looks like, against the background in the corners of its box.
        self.focus = nn.ParameterList(torch.zeros(shapes[n].channels) for n in levels)
        self.norms = nn.ModuleList(nn.LayerNorm(shapes[n].channels) for n in levels)
        self.project = nn.Linear(sum(shapes[n].channels for n in levels), dim, bias=False)
        nn.init.orthogonal_(self.project.weight)

    def forward(
        self, features: dict[str, torch.Tensor], boxes: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Embeddings (K_i, D) float32 of unit length for boxes (K_i, 4), a tensor an image."""
        parts = []
        for name, pooler, place, focus, norm in zip(
            self.levels, self.poolers, self.places, self.focus, self.norms, strict=True
        ):
            with torch.no_grad():
                pooled = pooler([features[name].float()], [Boxes(b) for b in boxes])
                pooled = pooled.flatten(2).transpose(1, 2)
                looks = F.layer_norm(pooled, pooled.shape[-1:])
            weight = (place + looks @ focus).softmax(dim=1)
            parts.append(norm((pooled * weight[:, :, None]).sum(dim=1)))
        embeddings = F.normalize(self.project(torch.cat(parts, dim=1)).float(), dim=1)
        return list(embeddings.split([len(b) for b in boxes]))
