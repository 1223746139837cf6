"""The network as a function of tensors alone, with a fixed number of regions: what is exported."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.structures import ImageList
from torch import nn
from torchvision.ops import nms

from cosal_d2.modeling.grouping.gate import saturated
from cosal_d2.modeling.grouping.level_embedding import weighted_mean
from cosal_d2.modeling.grouping.region_masks import RegionSet, clip_boxes, tight_boxes, windows
from cosal_d2.modeling.grouping.region_selection import CANDIDATES
from cosal_d2.modeling.grouping.verdicts import NO_EVIDENCE, NO_REGION
from cosal_d2.modeling.meta_arch import CoSaliencyNet


class ExportedNetwork(nn.Module):
    """The network in its test mode, from pictures to maps and judged regions.

    Lists of regions of any length become K places an image, of which those without a region have
    no part in anything and a score of 0. Its parts, and so its numbers, are the network's own.
    """

    def __init__(self, model: CoSaliencyNet) -> None:
        """
        Args:
            model: the network with its weights, in float32.
        """
        super().__init__()
        self.model = model.eval()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what :meth:`forward` gives."""
        if self.model.grouping is None:
            return ("map", "logits")
        regions = ("boxes", "windows", "masks", "scores", "pairs", "embeddings")
        return ("map", "logits", "repeats", *regions)

    def forward(self, image: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Predict a batch.

        Args:
            image: (N, 3, H, W) uint8 in the config's ``INPUT.FORMAT``, H and W multiples of 16,
                padded at the right and below with anything.
            size: (N, 2) int64, height and width of each without the padding.

        Returns:
            ``map`` (N, H, W), the co-saliency map, and ``logits`` (N, H, W), from which maps of
            other sizes are made; with the grouping also ``repeats`` (N,), the probability that
            anything does; of the K regions of each image, best first, ``boxes`` (N, K, 4) XYXY
            around the masks, ``windows`` (N, K, 4) of the masks, ``masks`` (N, K, 28, 28),
            ``scores`` (N, K), ``pairs`` (N, K, K), probabilities of being two objects of one class,
            and ``embeddings`` (N, K, D).
        """
        model = self.model
        pixels = (image.float() - model.pixel_mean) / model.pixel_std
        rows = torch.arange(image.shape[2], device=image.device) < size[:, :1]
        columns = torch.arange(image.shape[3], device=image.device) < size[:, 1:]
        pixels = pixels * (rows[:, None, :, None] & columns[:, None, None, :])
        features, r = model.features(ImageList(pixels, []))
        logits = model.decoder(r, features)
        if model.grouping is None:
            logits = model.full_size(logits)[:, 0]
            return logits.sigmoid(), logits
        regions, embeddings = self._regions(features, logits, r, size)
        grouping = model.grouping
        judged = grouping.judge_regions((0, 0), regions, embeddings)
        verdicts = judged.verdicts
        logits = model.full_size(grouping.gated_by(logits, verdicts, regions))[:, 0]
        nothing = grouping.judge.repeats.bias + NO_EVIDENCE
        there = (regions.objectness > NO_REGION).any(dim=1)
        repeats = torch.where(there, verdicts.repeats, nothing).sigmoid()
        shown = repeats >= grouping.repeats_threshold
        cosal_map = saturated(logits.sigmoid()) * shown[:, None, None]
        found = (regions.boxes, windows(regions.proposals), regions.masks, judged.scores)
        return cosal_map, logits, repeats, *found, verdicts.pairs.sigmoid(), embeddings

    def _regions(
        self,
        features: dict[str, torch.Tensor],
        logits: torch.Tensor,
        r: torch.Tensor,
        size: torch.Tensor,
    ) -> tuple[RegionSet, torch.Tensor]:
        """The regions (N, K, ...) to compare, with masks, and their embeddings (N, K, D)."""
        grouping = self.model.grouping
        foreground = grouping.coarse(logits)
        boxes, objectness = self._proposals(r, size)
        count = objectness.shape[1]
        image = torch.arange(boxes.shape[0], device=boxes.device)[:, None, None]
        image = image.expand(-1, count, 1).flatten(0, 1).float()
        flat = boxes.flatten(0, 1)
        rois = torch.cat([image, windows(flat)], dim=1)
        masks = grouping.masks.in_windows(features, foreground, rois).sigmoid()
        sizes = size[:, None].expand(-1, count, 2).flatten(0, 1)
        tight = tight_boxes(masks, flat, sizes)
        colours = grouping.colour(features["image"], rois, masks)
        regions = RegionSet(flat, tight, objectness.flatten(), masks, colours)
        rois = torch.cat([image, tight], dim=1)
        embedding = grouping.embedding
        weights = embedding.bin_weights(foreground, rois, regions).unflatten(0, (-1, count))
        tight = tight.unflatten(0, (-1, count))
        parts = []
        for name in embedding.levels:
            level = features[name].float()
            mean = weighted_mean(level, tight / embedding.strides[name], weights)
            parts.append(F.layer_norm(mean, level.shape[1:2]))
        masks, colours = (x.unflatten(0, (-1, count)) for x in (masks, colours))
        regions = RegionSet(boxes, tight, objectness, masks, colours)
        return regions, F.normalize(torch.cat(parts, dim=2), dim=2)

    def _proposals(self, r: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """RPN's boxes (N, K, 4) and objectness (N, K), the most object-like first, as
        Detectron2's ``find_top_rpn_proposals`` and :func:`select_regions` choose them."""
        rpn, grouping = self.model.proposal_generator, self.model.grouping
        (logits,), (deltas,) = rpn.rpn_head([r])
        (anchors,) = rpn.anchor_generator([r])
        logits = logits.permute(0, 2, 3, 1).flatten(1)
        deltas = deltas.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3)
        best = rpn.pre_nms_topk[False]
        # A small picture has fewer anchors than that.
        scores, index = F.pad(logits, (0, best), value=NO_REGION).topk(best, dim=1)
        index = index.clamp(max=logits.shape[1] - 1)
        deltas = deltas.gather(1, index[:, :, None].expand(-1, -1, 4))
        boxes = rpn.box2box_transform.apply_deltas(
            deltas.flatten(0, 1), anchors.tensor[index].flatten(0, 1)
        )
        boxes = clip_boxes(boxes.unflatten(0, (-1, best)), size[:, None])
        large = (boxes[:, :, 2:] - boxes[:, :, :2] > rpn.min_box_size).all(dim=2)
        scores = torch.where(large, scores, NO_REGION)
        boxes, scores = _suppressed(boxes, scores, rpn.nms_thresh, rpn.post_nms_topk[False])
        most = CANDIDATES * grouping.num_regions
        return _suppressed(
            boxes[:, :most], scores[:, :most], grouping.nms_thresh, grouping.num_regions
        )


def _suppressed(
    boxes: torch.Tensor, scores: torch.Tensor, iou: float, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``count`` best boxes (N, M, 4) after non-maximum suppression in each image, and their
    scores, ``NO_REGION`` where there are fewer."""
    images, each = scores.shape
    # Side by side, boxes of two images share nothing.
    apart = (boxes.max() + 1) * torch.arange(images, device=boxes.device)[:, None, None]
    keep = nms((boxes + apart).flatten(0, 1), scores.flatten(), iou)
    kept = torch.zeros_like(scores.flatten(), dtype=torch.bool)
    kept = kept.scatter(0, keep, torch.ones_like(keep, dtype=torch.bool)).reshape(images, each)
    scores, index = torch.where(kept, scores, NO_REGION).topk(min(count, each), dim=1)
    return boxes.gather(1, index[:, :, None].expand(-1, -1, 4)), scores
