"""What the grouping says of the regions of one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from detectron2.structures import Instances

from cosal_d2.modeling.grouping.region_masks import RegionSet, windows
from cosal_d2.modeling.grouping.verdicts import Verdicts
from cosal_d2.utils.object_instances import InstanceOptions, ObjectInstances, find_instances


@dataclass
class JudgedRegions:
    """The K regions of one image that were compared, with what the grouping says of them.

    Attributes:
        image_size: (h, w) of the image in input pixels, without the padding.
        regions: boxes, masks and objectness.
        embeddings: (K, D) of unit length.
        verdicts: of the regions, and of the image.
        scores: (K,) objectness times membership in a group times certainty of the mask.
        options: of the instances.
        by_exemplar: whether the group is what resembles the last region.
    """

    image_size: tuple[int, int]
    regions: RegionSet
    embeddings: torch.Tensor
    verdicts: Verdicts
    scores: torch.Tensor
    options: InstanceOptions
    by_exemplar: bool = False

    def __getitem__(self, part: torch.Tensor) -> JudgedRegions:
        verdicts = self.verdicts
        pairs = verdicts.pairs[part][:, part]
        return replace(
            self,
            regions=self.regions[part],
            embeddings=self.embeddings[part],
            verdicts=Verdicts(verdicts.group[part], verdicts.weight[part], verdicts.repeats, pairs),
            scores=self.scores[part],
        )

    def seen_in(self, view: Sequence[float], size: tuple[int, int]) -> JudgedRegions:
        """The regions whose masks reach into a view of the image, in the pixels of an input.

        Args:
            view: XYXY in the image.
            size: (h, w) of the view in input pixels.
        """
        x0, y0, x1, y1 = view
        reach = windows(self.regions.proposals)
        low, high = reach.new_tensor([x0, y0]), reach.new_tensor([x1, y1])
        part = self[((reach[:, 2:] > low) & (reach[:, :2] < high)).all(dim=1)]
        height, width = self.image_size
        fx, fy = size[1] / (x1 - x0), size[0] / (y1 - y0)
        frame = (-x0 * fx, -y0 * fy, (width - x0) * fx, (height - y0) * fy)
        return replace(part, image_size=size, regions=part.regions.moved(frame, self.image_size))

    def find(self, cosal_map: np.ndarray) -> ObjectInstances:
        """The objects of the repeated groups, each with a mask; none where nothing repeats.

        Args:
            cosal_map: (H, W) in [0, 1], the image's map at the wanted size.

        Returns:
            see :func:`find_instances`.
        """
        pairs = None if self.by_exemplar else _array(self.verdicts.pairs.sigmoid())
        return find_instances(
            self.image_size,
            windows(self.regions.proposals.float().cpu()).numpy(),
            _array(self.regions.masks),
            _array(self.embeddings),
            _array(self.scores),
            pairs,
            cosal_map,
            self.options,
        )

    def instances(self, cosal_map: torch.Tensor) -> Instances:
        """As :meth:`find`, in Detectron2's type."""
        return self.find(cosal_map.cpu().numpy()).to_detectron2()


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()
