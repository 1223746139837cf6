"""How many training boxes the RPN's anchors can reach."""

from __future__ import annotations

import logging
import math

import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, pairwise_iou
from torch import nn

logger = logging.getLogger(__name__)

WANTED_RECALL = 0.95


@torch.no_grad()
def anchor_recall(
    records: list[dict],
    anchor_generator: nn.Module,
    stride: int,
    short_side: int,
    max_size: int,
    with_distractors: bool = False,
    threshold: float = 0.5,
) -> float:
    """Share of ground-truth boxes that overlap some anchor by at least ``threshold`` IoU.

    Args:
        records: dataset dicts.
        anchor_generator: Detectron2's, over one feature map.
        stride: of that feature map, in pixels.
        short_side, max_size: the resize of the picture, as in ``ResizeShortestEdge``.
        with_distractors: count distractors' boxes too.
        threshold: IoU, 0.5 in the paper.

    Returns:
        the share, 1.0 when there is no box.
    """
    reached = total = 0
    device = next(anchor_generator.buffers()).device
    for record in records:
        boxes = [
            BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS)
            for a in record["annotations"]
            if not a.get("iscrowd", 0) and (with_distractors or a.get("cosalient", True))
        ]
        if not boxes:
            continue
        height, width = record["height"], record["width"]
        h, w = T.ResizeShortestEdge.get_output_shape(height, width, short_side, max_size)
        scale = torch.tensor([w / width, h / height] * 2)
        feature = torch.empty((1, 1, math.ceil(h / stride), math.ceil(w / stride)), device=device)
        anchors = anchor_generator([feature])[0]
        iou = pairwise_iou(Boxes((torch.tensor(boxes) * scale).to(device)), anchors)
        reached += int((iou.max(dim=1).values >= threshold).sum())
        total += len(boxes)
    return reached / total if total else 1.0


def log_anchor_recall(cfg: CfgNode, model: nn.Module, loader) -> None:
    """Log the recall at each training scale; warn below 95 %, naming the key to change."""
    rpn = model.proposal_generator
    if rpn is None:
        return
    records = loader.dataset.dataset._dataset.records
    for side in sorted(set(cfg.INPUT.MIN_SIZE_TRAIN)):
        recall = anchor_recall(
            records,
            rpn.anchor_generator,
            rpn.anchor_generator.strides[0],
            side,
            cfg.INPUT.MAX_SIZE_TRAIN,
            cfg.MODEL.RPN.DISTRACTORS_AS_OBJECTS,
        )
        logger.info(
            "%.1f %% of training boxes reach IoU 0.5 with an anchor at short side %d",
            100 * recall,
            side,
        )
        if recall < WANTED_RECALL:
            logger.warning(
                "fewer than 95 %% do: fit MODEL.ANCHOR_GENERATOR.SIZES to the objects' size"
            )
