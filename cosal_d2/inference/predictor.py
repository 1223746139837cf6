"""From one picture to its co-saliency map."""

from __future__ import annotations

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T

from cosal_d2.data.augmentations import build_augmentation
from cosal_d2.engine.checkpoint import load_network
from cosal_d2.modeling.layers import fold_frozen_norms


class CoSaliencyPredictor:
    """The network for single pictures, as Detectron2's ``DefaultPredictor``."""

    def __init__(self, cfg: CfgNode) -> None:
        """Build the network and load ``MODEL.WEIGHTS``, or the released file if that is empty."""
        self.cfg = cfg.clone()
        self.model = load_network(cfg)
        fold_frozen_norms(self.model.backbone)
        self.resize = T.AugmentationList(build_augmentation(cfg, is_train=False))

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Predict.

        Args:
            image: uint8 BGR (H, W, 3), as :func:`cosal_d2.utils.pictures.read_image` gives it.

        Returns:
            float32 (H, W) in [0, 1].
        """
        height, width = image.shape[:2]
        resized = T.AugInput(image[:, :, ::-1] if self.cfg.INPUT.FORMAT == "RGB" else image)
        self.resize(resized)
        pixels = torch.from_numpy(np.ascontiguousarray(resized.image.transpose(2, 0, 1)))
        output = self.model([{"image": pixels, "height": height, "width": width}])[0]
        return output["cosal_map"].cpu().numpy()
