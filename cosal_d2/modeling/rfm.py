"""Regional feature mapping (RFM): regions of R become embeddings trained with triplets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import get_event_storage
from fvcore.nn import weight_init
from torch import nn

from cosal_d2.modeling.triplets import TripletRegions, build_triplet_sampler

MAX_HEAD_PARAMETERS = 2_000_000


class EmbeddingHead(nn.Module):
    """Eq. 3: a region of R becomes one vector by a 1x1 convolution, RoIAlign, ReLU and a linear
    layer.

    RoIAlign and a 1x1 convolution are both linear and commute (one acts on places, the other on
    channels), so R is narrowed once before its regions are pooled: the same vectors as from
    pooled R, at a quarter of the pooling's cost.
    """

    def __init__(
        self, in_channels: int, reduced: int, pooler: ROIPooler, dim: int, normalize: bool
    ) -> None:
        """
        Args:
            in_channels: channels of R.
            reduced: channels after the 1x1 convolution.
            pooler: Detectron2's pooler over one level.
            dim: length of an embedding.
            normalize: scale embeddings to unit length.

        Raises:
            ValueError: the head has more than two million parameters.
        """
        super().__init__()
        self.reduce = Conv2d(in_channels, reduced, 1, bias=False)
        weight_init.c2_msra_fill(self.reduce)
        self.pooler = pooler
        self.bias = nn.Parameter(torch.zeros(reduced, 1, 1))
        height, width = pooler.output_size
        self.embed = nn.Linear(reduced * height * width, dim)
        weight_init.c2_xavier_fill(self.embed)
        self.normalize = normalize
        size = sum(p.numel() for p in self.parameters())
        if size > MAX_HEAD_PARAMETERS:
            raise ValueError(
                f"the embedding head has {size} parameters, more than {MAX_HEAD_PARAMETERS}: lower "
                "MODEL.RFM.REDUCED_CHANNELS or MODEL.RFM.EMBEDDING_DIM"
            )

    def forward(self, r: torch.Tensor, boxes: list[Boxes]) -> torch.Tensor:
        """R (N, C, H/16, W/16) and N lists of regions to (M, D) float32 embeddings."""
        # torchvision's RoIAlign has no half-precision kernel on CPUs.
        pooled = self.pooler([self.reduce(r).float().contiguous()], boxes)
        x = self.embed(F.relu(pooled + self.bias).flatten(1)).float()
        return F.normalize(x, dim=1) if self.normalize else x


def triplet_loss(
    embeddings: torch.Tensor, regions: TripletRegions, margin: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Eq. 10 for each triplet, with the weights of eq. 9.

    Args:
        embeddings: (M, D) float32.
        regions: the triplets and the quality of each region.
        margin: added to the difference of squared distances.

    Returns:
        weighted losses (T,); squared distances anchor to positive (T,); anchor to negative (T,).
    """
    anchor, positive, negative = regions.triplets.unbind(dim=1)
    near = (embeddings[anchor] - embeddings[positive]).pow(2).sum(dim=1)
    far = (embeddings[anchor] - embeddings[negative]).pow(2).sum(dim=1)
    weight = regions.quality[anchor] * regions.quality[positive]
    return weight * F.relu(near - far + margin), near, far


class RegionalFeatureMapping(nn.Module):
    """Sampler, RoIAlign on R, embedding head and triplet loss (section of the same name)."""

    @configurable
    def __init__(
        self,
        *,
        sampler,
        head: EmbeddingHead,
        margin: float = 0.5,
        loss_weight: float = 1.0,
    ) -> None:
        """
        Args:
            sampler: from ``TRIPLET_SAMPLER_REGISTRY``.
            head: regions of R to embeddings.
            margin: the margin of eq. 10.
            loss_weight: gamma of eq. 5.
        """
        super().__init__()
        self.sampler = sampler
        self.head = head
        self.margin = margin
        self.loss_weight = loss_weight

    @classmethod
    def from_config(cls, cfg: CfgNode, r_shape: ShapeSpec) -> dict:
        keys = cfg.MODEL.RFM
        pooler = ROIPooler(
            output_size=keys.POOLER_RESOLUTION,
            scales=[1.0 / r_shape.stride],
            sampling_ratio=keys.POOLER_SAMPLING_RATIO,
            pooler_type="ROIAlignV2",
        )
        return {
            "sampler": build_triplet_sampler(cfg),
            "head": EmbeddingHead(
                r_shape.channels,
                keys.REDUCED_CHANNELS,
                pooler,
                keys.EMBEDDING_DIM,
                keys.NORMALIZE,
            ),
            "margin": keys.MARGIN,
            "loss_weight": keys.LOSS_WEIGHT,
        }

    @property
    def needs_regions(self) -> bool:
        """Whether the sampler ranks RPN's regions."""
        return self.sampler.needs_regions

    def embed(self, r: torch.Tensor, boxes: list[torch.Tensor]) -> list[torch.Tensor]:
        """Embeddings of regions.

        Args:
            r: (N, C, H/16, W/16).
            boxes: one (M_i, 4) tensor an image.

        Returns:
            one (M_i, D) float32 tensor an image.
        """
        embeddings = self.head(r, [Boxes(b) for b in boxes])
        return list(embeddings.split([len(b) for b in boxes]))

    def forward(
        self,
        r: torch.Tensor,
        targets: list[Instances],
        regions: list[Instances | None],
        generators: list[torch.Generator],
    ) -> dict[str, torch.Tensor]:
        """``loss_triplet``: the mean weighted loss over all triplets of the batch.

        Without a single triplet it is 0, still connected to every parameter of the branch.

        Args:
            r: (N, C, H/16, W/16).
            targets: ground truth an image: ``gt_boxes``, ``gt_classes``, ``gt_cosalient``.
            regions: RPN's regions an image, None where no RPN is built.
            generators: one CPU generator an image.
        """
        with torch.no_grad():
            samples = [
                self.sampler(t, p, g) for t, p, g in zip(targets, regions, generators, strict=True)
            ]
        embeddings = self.embed(r, [s.boxes for s in samples])
        parts = [triplet_loss(e, s, self.margin) for e, s in zip(embeddings, samples, strict=True)]
        losses, near, far = (torch.cat(x) for x in zip(*parts, strict=True))
        self._log(samples, near, far)
        if len(losses):
            loss = losses.mean()
        else:
            loss = sum((p * 0).sum() for p in self.parameters()) + (r * 0).sum()
        return {"loss_triplet": self.loss_weight * loss}

    @torch.no_grad()
    def _log(self, samples: list[TripletRegions], near: torch.Tensor, far: torch.Tensor) -> None:
        storage = get_event_storage()
        count = max(len(samples), 1)
        storage.put_scalar("rfm/triplets", len(near) / count)
        storage.put_scalar("rfm/filled_regions", sum(s.num_filled for s in samples) / count)
        if len(near):
            storage.put_scalar("rfm/satisfied", (near + self.margin <= far).float().mean().item())
            storage.put_scalar("rfm/distance_positive", near.mean().item())
            storage.put_scalar("rfm/distance_negative", far.mean().item())
