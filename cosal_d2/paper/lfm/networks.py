"""LFM from networks of this project: DCL gives the saliency, another one's RPN the proposals."""

from __future__ import annotations

import numpy as np
import torch
from detectron2.config import CfgNode

from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.paper.lfm.method import PROPOSALS, common_saliency


class LFM:
    """From a picture, uint8 BGR (H, W, 3), to LFM's map, float32 (H, W) in [0, 1]."""

    def __init__(self, saliency: CfgNode, regions: CfgNode) -> None:
        """
        Args:
            saliency: the network whose map says what is salient, with its weights.
            regions: the network whose RPN finds the proposals, with its weights.

        Raises:
            FileNotFoundError, ValueError: weights are missing or do not fit; ``regions`` has no
                RPN.
        """
        self.saliency = CoSaliencyPredictor(saliency)
        self.regions = CoSaliencyPredictor(regions)
        if self.regions.model.proposal_generator is None:
            raise ValueError('LFM: its regions need an RPN: set MODEL.RFM.SAMPLER "OnlineSampler"')

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        saliency = self.saliency(picture).map
        return common_saliency(picture, saliency, find_proposals(self.regions, picture, PROPOSALS))


@torch.inference_mode()
def find_proposals(predictor: CoSaliencyPredictor, picture: np.ndarray, count: int) -> np.ndarray:
    """RPN's regions of a picture, uint8 BGR (H, W, 3): the ``count`` most object-like ones, (N, 4)
    XYXY in its pixels."""
    model, seen = predictor.model, predictor.network_input(picture)["image"]
    images = model.preprocess([seen])
    with model.autocast():
        _, r = model.features(images)
        (found,), _ = model.proposal_generator(images, {"r": r})
    scale_x, scale_y = picture.shape[1] / seen.shape[2], picture.shape[0] / seen.shape[1]
    boxes = found.proposal_boxes.tensor[:count].float().cpu().numpy()
    return boxes * [scale_x, scale_y, scale_x, scale_y]
