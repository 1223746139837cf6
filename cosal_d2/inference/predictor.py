"""From pictures to what repeats in them."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T

from cosal_d2.config import DEFAULT_CONFIG, check_config, check_device, get_cosal_config
from cosal_d2.data.augmentations import build_augmentation
from cosal_d2.engine.checkpoint import load_network, released_weights
from cosal_d2.inference.box_masks import masks_in_boxes
from cosal_d2.inference.inputs import Box, Picture, checked_box, named_picture
from cosal_d2.inference.picture_predictor import PicturePredictor
from cosal_d2.inference.results import CoSaliencyResult
from cosal_d2.inference.tiles import predict_tiles
from cosal_d2.modeling.backbone.encoder import TOP_STRIDE
from cosal_d2.modeling.layers import fold_frozen_norms

logger = logging.getLogger(__name__)


class CoSaliencyPredictor(PicturePredictor):
    """The network with its weights, for pictures of any size and kind.

        predictor = CoSaliencyPredictor()
        result = predictor("apples.jpg")
        result.count, result.map, result.instances

    Attributes:
        cfg: the config.
        model: the network, in its test mode.
    """

    def __init__(
        self,
        config: str | os.PathLike | CfgNode = DEFAULT_CONFIG,
        *,
        weights: str | os.PathLike = "",
        device: str = "",
        dtype: str = "",
        size: int | None = None,
    ) -> None:
        """
        Args:
            config: the name of a shipped config, a path, or a config.
            weights: a checkpoint; by default the config's ``MODEL.WEIGHTS``, or its released file.
            device: "cpu" or "cuda"; by default a GPU where there is one.
            dtype: "float32", "bfloat16" or "float16"; by default the config's, which falls back to
                float32 on a CPU that has no such instructions.
            size: pixels of the shorter side that the network sees, with the limit of the longer
                side in proportion; by default the config's ``INPUT.MIN_SIZE_TEST``.

        Raises:
            FileNotFoundError: no such config or weights.
            ValueError: the weights do not fit the config, no such device is here, or no network
                sees such a size.
        """
        is_name = isinstance(config, str | os.PathLike)
        cfg = get_cosal_config(os.fspath(config)) if is_name else config.clone()
        cfg.defrost()
        asked = {"WEIGHTS": os.fspath(weights), "DEVICE": device, "DTYPE": dtype}
        cfg.MODEL.update({key: value for key, value in asked.items() if value})
        check_config(cfg)
        if size is not None:
            _set_size(cfg, size)
        check_device(cfg.MODEL.DEVICE)
        self.cfg = cfg
        self.model = load_network(cfg)
        fold_frozen_norms(self.model.backbone)
        self.resize = T.AugmentationList(build_augmentation(cfg, is_train=False))
        on_cpu = self.model.device.type == "cpu"
        level = logging.WARNING if on_cpu else logging.INFO  # a missing GPU is never silent
        logger.log(level, self._description())

    def _description(self) -> str:
        """Network, weights, device and precision, in one line."""
        own = self.cfg.MODEL
        name = os.path.splitext(own.RELEASED)[0]  # that of the config
        name = name or f"{own.META_ARCHITECTURE} ({own.BACKBONE.NAME})"
        precision = str(self.model.dtype).removeprefix("torch.")
        weights = released_weights(self.cfg)
        return f"{name}, weights {weights}: computing on {self.model.device} in {precision}"

    def masks_in(self, image: Picture, boxes: Sequence[Box]) -> list[np.ndarray]:
        """The masks of objects whose boxes are known, at the picture's size.

        Args:
            image: as for a prediction.
            boxes: XYXY in the picture's pixels.

        Returns:
            a mask (H, W) bool for each box, which it does not leave.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is no picture, the array is none, the boxes are no boxes, or the
                network has no grouping.
        """
        _, picture = named_picture(image)
        given = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        if not np.isfinite(given).all():
            raise ValueError("boxes: a number is not finite; give x0, y0, x1, y1 in pixels each")
        size = picture.shape[:2]
        given = given.clip(0, [*size[::-1], *size[::-1]])
        return masks_in_boxes(self.model, self._resized(picture), size, given)

    @property
    def finds_objects(self) -> bool:
        """Whether results have objects, groups and counts."""
        return self.model.grouping is not None

    @torch.inference_mode()
    def _predict(
        self, named: list[tuple[str, np.ndarray]], like: Sequence[Box | None], tiles: int
    ) -> list[CoSaliencyResult]:
        pictures = [picture for _, picture in named]
        if not isinstance(tiles, int) or tiles < 1:
            raise ValueError(f"tiles={tiles}: give 1 or more windows along the longer side")
        for name, asked in (("like", any(x is not None for x in like)), ("tiles", tiles > 1)):
            if asked and self.model.grouping is None:
                raise ValueError(
                    f"{name}: this network compares no objects; use one with the grouping, such as "
                    "the default"
                )
        boxes = [
            None if box is None else checked_box(box, *picture.shape[:2])
            for picture, box in zip(pictures, like, strict=True)
        ]
        if tiles > 1:
            outputs = [
                predict_tiles(self.model, self._resized, picture, tiles, box)
                for picture, box in zip(pictures, boxes, strict=True)
            ]
        else:
            outputs = self.model(list(map(self.network_input, pictures, boxes))) if pictures else []
        return [
            CoSaliencyResult(picture, output | {"cosal_map": output["cosal_map"].cpu()}, name)
            for (name, picture), output in zip(named, outputs, strict=True)
        ]

    def network_input(self, picture: np.ndarray, like: Box | None = None) -> dict:
        """The network's input of a picture, uint8 BGR (H, W, 3), with a box to compare with.

        Raises:
            ValueError: the box holds nothing of the picture.
        """
        height, width = picture.shape[:2]
        found = {"image": self._resized(picture), "height": height, "width": width}
        if like is not None:
            h, w = found["image"].shape[1:]
            box = checked_box(like, height, width)
            found["exemplar"] = torch.from_numpy(box * ([w / width, h / height] * 2)).float()
        return found

    def _resized(self, picture: np.ndarray) -> torch.Tensor:
        """What the network sees of a picture, (3, h, w) uint8."""
        seen = T.AugInput(picture[:, :, ::-1] if self.cfg.INPUT.FORMAT == "RGB" else picture)
        self.resize(seen)
        return torch.from_numpy(np.ascontiguousarray(seen.image.transpose(2, 0, 1)))


def _set_size(cfg: CfgNode, size: int) -> None:
    """Make a config's network see pictures of a size, pixels of the shorter side.

    Raises:
        ValueError: the size is less than one place of its coarsest feature.
    """
    if size < TOP_STRIDE:
        raise ValueError(f"size={size}: give {TOP_STRIDE} or more pixels of the shorter side")
    if cfg.INPUT.MIN_SIZE_TEST:  # 0 leaves pictures as large as they are
        cfg.INPUT.MAX_SIZE_TEST = round(cfg.INPUT.MAX_SIZE_TEST * size / cfg.INPUT.MIN_SIZE_TEST)
    cfg.INPUT.MIN_SIZE_TEST = size
