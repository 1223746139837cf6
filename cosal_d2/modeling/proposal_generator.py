"""Detectron2's RPN on R, which also hands out every region with its own training loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.layers import cat
from detectron2.modeling import PROPOSAL_GENERATOR_REGISTRY
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import Boxes, Instances
from fvcore.nn import smooth_l1_loss


@PROPOSAL_GENERATOR_REGISTRY.register()
class CoSaliencyRPN(RPN):
    """RPN whose training proposals carry the loss of the anchor they come from.

    The losses that train it are Detectron2's own. In training it returns, for each image, one
    region per anchor with the fields ``proposal_boxes``, ``objectness_logits``, ``region_loss``
    and ``labelled`` (whether RPN's matcher calls the anchor object or background, before any are
    sampled); online hard example mining ranks the labelled ones by their loss (section "Sample
    Selection Strategy", after Shrivastava et al. 2016).
    """

    def label_and_sample_anchors(self, anchors, gt_instances):
        """Detectron2's labels, with every anchor's label kept from before the sampling."""
        self._all_labels: list[torch.Tensor] = []
        return super().label_and_sample_anchors(anchors, gt_instances)

    def _subsample_labels(self, label):
        self._all_labels.append(label.clone())
        return super()._subsample_labels(label)

    def losses(self, anchors, pred_objectness_logits, gt_labels, pred_anchor_deltas, gt_boxes):
        """Detectron2's losses in float32; each anchor's own loss is kept for the regions."""
        logits = [x.float() for x in pred_objectness_logits]
        deltas = [x.float() for x in pred_anchor_deltas]
        with torch.no_grad():
            anchor_boxes = Boxes.cat(anchors).tensor
            targets = torch.stack(
                [self.box2box_transform.get_deltas(anchor_boxes, b) for b in gt_boxes]
            )
            self._anchor_losses = anchor_losses(
                cat(logits, dim=1),
                cat(deltas, dim=1),
                torch.stack(self._all_labels),
                targets,
                self.smooth_l1_beta,
                self.loss_weight["loss_rpn_cls"],
                self.loss_weight["loss_rpn_loc"],
            )
        return super().losses(anchors, logits, gt_labels, deltas, gt_boxes)

    def predict_proposals(self, anchors, pred_objectness_logits, pred_anchor_deltas, image_sizes):
        """In training: every anchor's decoded box with its loss, unsuppressed."""
        logits = [x.float() for x in pred_objectness_logits]
        deltas = [x.float() for x in pred_anchor_deltas]
        if not self.training:
            return super().predict_proposals(anchors, logits, deltas, image_sizes)
        with torch.no_grad():
            boxes = cat(self._decode_proposals(anchors, deltas), dim=1)
            scores = cat(logits, dim=1).detach()
        regions = []
        for size, box, score, loss, label in zip(
            image_sizes, boxes, scores, self._anchor_losses, self._all_labels, strict=True
        ):
            region = Instances(size, proposal_boxes=Boxes(box), objectness_logits=score)
            region.region_loss, region.labelled = loss, label >= 0
            region = region[torch.isfinite(box).all(dim=1)]
            region.proposal_boxes.clip(size)
            regions.append(region[region.proposal_boxes.nonempty(self.min_box_size)])
        del self._anchor_losses, self._all_labels
        return regions


def anchor_losses(
    logits: torch.Tensor,
    deltas: torch.Tensor,
    labels: torch.Tensor,
    target_deltas: torch.Tensor,
    beta: float,
    cls_weight: float = 1.0,
    loc_weight: float = 1.0,
) -> torch.Tensor:
    """Eq. 7 without its sum: objectness cross-entropy plus, for objects, smooth-L1 of the box.

    Args:
        logits: (N, A) objectness logits.
        deltas: (N, A, 4) predicted box deltas.
        labels: (N, A) 1 object, 0 background, -1 neither.
        target_deltas: (N, A, 4) deltas of the matched ground-truth boxes (read where the label
        is 1).
        beta: smooth-L1's transition point.
        cls_weight, loc_weight: weights of the two parts.

    Returns:
        (N, A) losses, 0 where the label is -1.
    """
    objectness = F.binary_cross_entropy_with_logits(
        logits, (labels == 1).to(logits.dtype), reduction="none"
    )
    location = smooth_l1_loss(deltas, target_deltas, beta, reduction="none").sum(dim=-1)
    location = torch.where(labels == 1, location, torch.zeros_like(location))
    loss = cls_weight * objectness + loc_weight * location
    return torch.where(labels >= 0, loss, torch.zeros_like(loss))
