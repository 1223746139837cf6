"""What the network found in one picture: judged again without a forward pass of the encoder."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.inference.results import CoSaliencyResult
from cosal_d2.modeling.grouping.region_masks import SIDE, RegionSet, windows
from cosal_d2.modeling.meta_arch import CoSaliencyNet

# A region holds a point where its mask is at least so probable there.
HELD = 0.5


@dataclasses.dataclass
class SeenPicture:
    """A picture with the regions and the foreground that the network found in it.

    Attributes:
        model: the network, with the grouping.
        image: the picture, uint8 BGR (H, W, 3).
        size: (h, w) of the network's input.
        logits: (1, 1, h/s, w/s) of the foreground, with the padding.
        regions: K, in the input's pixels.
        embeddings: (K, D) of the regions.
        by_last: whether the last region is a box that was asked for.
        picked: index of the region that its visitor clicked.
    """

    model: CoSaliencyNet
    image: np.ndarray
    size: tuple[int, int]
    logits: torch.Tensor
    regions: RegionSet
    embeddings: torch.Tensor
    by_last: bool
    picked: int | None = None

    @classmethod
    @torch.inference_mode()
    def look(
        cls,
        predictor: CoSaliencyPredictor,
        image: np.ndarray,
        like: tuple[float, ...] | None = None,
    ) -> SeenPicture:
        """Pass a picture through the network.

        Args:
            predictor: its network has the grouping.
            image: uint8 BGR (H, W, 3).
            like: a box XYXY in the picture's pixels: then results are of what resembles its object.

        Raises:
            ValueError: the box holds nothing of the picture.
        """
        model = predictor.model
        given = predictor.network_input(image, like)
        with model.autocast():
            images = model.preprocess([given["image"]])
            logits, found = model.find(images, [given.get("exemplar")])
        return cls(model, image, images.image_sizes[0], logits, *found[0], like is not None)

    @property
    def nbytes(self) -> int:
        """Memory that it takes, about."""
        tensors = (self.logits, self.embeddings, self.regions.masks)
        return self.image.nbytes + sum(x.numel() * x.element_size() for x in tensors)

    @torch.inference_mode()
    def result(self, threshold: float | None = None, like: int | None = None) -> CoSaliencyResult:
        """Judge the regions, and draw the map.

        Args:
            threshold: least score of an object, by default the config's.
            like: index of a region: then the result is of all that resembles it.

        Raises:
            IndexError: there is no such region.
        """
        count, by_last = len(self.regions), self.by_last or like is not None
        order = list(range(count))
        if like is not None:
            order.append(order.pop(like))
        picked = torch.tensor(order, dtype=torch.int64, device=self.embeddings.device)
        grouping = self.model.grouping
        # Indexed by a tensor the regions are copies, of which judging may change the objectness.
        judged = grouping.judge_regions(
            self.size, self.regions[picked], self.embeddings[picked], by_last
        )
        if threshold is not None:
            judged.options = dataclasses.replace(judged.options, score_threshold=threshold)
        with self.model.autocast():
            logits = self.model.full_size(grouping.gated(self.logits, [judged]))
        height, width = self.image.shape[:2]
        (output,) = self.model.postprocess(
            logits, [self.size], [{"height": height, "width": width}]
        )
        answer = self.model.answer(output["cosal_map"], judged, by_last)
        return CoSaliencyResult(self.image, answer | {"cosal_map": answer["cosal_map"].cpu()})

    def region_at(self, x: float, y: float) -> int | None:
        """Index of the most object-like region whose mask holds a point of the picture."""
        (height, width), (h, w) = self.image.shape[:2], self.size
        point = np.array([x / width * w, y / height * h])
        frame = windows(self.regions.proposals.float().cpu()).numpy()
        masks = self.regions.masks.float().cpu().numpy()
        sides = np.maximum(frame[:, 2:] - frame[:, :2], 1e-6)
        cells = np.floor((point - frame[:, :2]) / sides * SIDE).astype(np.int64)
        inside = ((cells >= 0) & (cells < SIDE)).all(axis=1)
        columns, rows = cells.clip(0, SIDE - 1).T
        held = inside & (masks[np.arange(len(masks)), rows, columns] >= HELD)
        objectness = self.regions.objectness.float().cpu().numpy()
        return int(np.where(held, objectness, -np.inf).argmax()) if held.any() else None
