"""Predicting with ONNX Runtime, without torch and Detectron2."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import onnxruntime
from PIL import Image
from scipy.special import expit

from cosal_d2.inference.export.onnx_file import METADATA_KEY, ModelInfo
from cosal_d2.inference.picture_predictor import Box, PicturePredictor
from cosal_d2.inference.results import CoSaliencyResult
from cosal_d2.utils.maps import saturated
from cosal_d2.utils.object_instances import InstanceOptions, ObjectInstances, find_instances

logger = logging.getLogger(__name__)


class OnnxPredictor(PicturePredictor):
    """An exported network on the CPU, for pictures of any size and kind.

        predictor = OnnxPredictor("cosal_r50.onnx")
        result = predictor("apples.jpg")
        result.count, result.map, result.found

    Attributes:
        file: of the network.
        info: what it says of the network.
    """

    def __init__(self, model: str | os.PathLike, *, size: int | None = None) -> None:
        """
        Args:
            model: a file that ``cosal export`` wrote.
            size: pixels of the shorter side that the network sees, with the limit of the longer
                side in proportion; by default the network's own.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is no exported network, or no network sees such a size.
        """
        self.file = os.fspath(model)
        self._session, self.info = _load(self.file)
        self.min_size, self.max_size = self.info.min_size, self.info.max_size
        if size is not None:
            if size < self.info.stride:
                raise ValueError(
                    f"size={size}: give {self.info.stride} or more pixels of the shorter side"
                )
            if self.min_size:
                self.max_size = round(self.max_size * size / self.min_size)
            self.min_size = size
        self._outputs = [x.name for x in self._session.get_outputs() if x.name != "map"]
        logger.warning("computing on cpu with onnxruntime in %s", self.info.precision)

    @property
    def finds_objects(self) -> bool:
        """Whether results have objects, groups and counts."""
        return self.info.grouping

    def _predict(
        self, named: list[tuple[str, np.ndarray]], like: Sequence[Box | None], tiles: int
    ) -> list[CoSaliencyResult]:
        for name, asked in (("like", any(x is not None for x in like)), ("tiles", tiles != 1)):
            if asked:
                raise ValueError(f"{name}: an exported network has no such option; use torch's")
        if not named:
            return []
        inputs = self.inputs([picture for _, picture in named])
        values = self.run(inputs)
        outputs = [
            dict(zip(self._outputs, value, strict=True)) for value in zip(*values, strict=True)
        ]
        return [
            CoSaliencyResult(picture, self._output(output, size, picture.shape[:2]), name)
            for (name, picture), output, size in zip(
                named, outputs, inputs["size"].tolist(), strict=True
            )
        ]

    def inputs(self, pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """What the network takes of pictures, uint8 BGR (H, W, 3): ``image`` (N, 3, h, w), and
        ``size`` (N, 2) of each without the padding."""
        seen = [self._resized(picture) for picture in pictures]
        sizes = np.array([x.shape[:2] for x in seen], np.int64)
        height, width = -(-sizes.max(axis=0) // self.info.stride) * self.info.stride
        images = np.zeros((len(seen), 3, height, width), np.uint8)
        for image, pixels in zip(images, seen, strict=True):
            image[:, : pixels.shape[0], : pixels.shape[1]] = pixels.transpose(2, 0, 1)
        return {"image": images, "size": sizes}

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """What the network gives for them, in the order of the file's outputs, but for the map."""
        return self._session.run(self._outputs, inputs)

    def _output(self, output: dict, seen: list[int], size: tuple[int, int]) -> dict:
        """What a result takes: the map at the picture's size, and the regions."""
        h, w = seen
        logits = np.ascontiguousarray(output.pop("logits")[:h, :w])
        if (h, w) != size:
            logits = cv2.resize(logits, size[::-1], interpolation=cv2.INTER_LINEAR)
        cosal_map = expit(logits)
        if not self.finds_objects:
            return {"cosal_map": cosal_map}
        cosal_map, repeats = saturated(cosal_map), float(output.pop("repeats"))
        if repeats < self.info.repeats_threshold:
            cosal_map = np.zeros_like(cosal_map)
        regions = OnnxRegions((h, w), self.info, **output)
        return {"cosal_map": cosal_map, "repeats": repeats, "regions": regions}

    def _resized(self, picture: np.ndarray) -> np.ndarray:
        """What the network sees of a picture (H, W, 3): resized as Detectron2 does it."""
        height, width = resized_shape(*picture.shape[:2], self.min_size, self.max_size)
        if self.info.input_format == "RGB":
            picture = picture[:, :, ::-1]
        if (height, width) == picture.shape[:2]:
            return picture
        resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(resized)


@dataclass(frozen=True)
class OnnxRegions:
    """The regions of one picture that an exported network compared.

    Attributes:
        size: (h, w) of the picture in input pixels, without the padding.
        info: of the network.
        boxes, windows: (K, 4) XYXY in input pixels, around the masks, and of the masks.
        masks: (K, 28, 28) probabilities.
        scores: (K,) of being an object of a group.
        pairs: (K, K) probabilities of being two objects of one class.
        embeddings: (K, D) of unit length.
    """

    size: tuple[int, int]
    info: ModelInfo
    boxes: np.ndarray
    windows: np.ndarray
    masks: np.ndarray
    scores: np.ndarray
    pairs: np.ndarray
    embeddings: np.ndarray

    def find(self, cosal_map: np.ndarray) -> ObjectInstances:
        """The objects of the repeated groups; none where nothing repeats.

        Args:
            cosal_map: (H, W) in [0, 1], the map at the wanted size.
        """
        info = self.info
        return find_instances(
            self.size,
            self.windows,
            self.masks,
            self.embeddings,
            self.scores,
            self.pairs,
            cosal_map,
            InstanceOptions(info.same_object_share, info.score_threshold, info.pair_threshold),
        )


def resized_shape(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    """Height and width to which Detectron2's ``ResizeShortestEdge`` scales a picture; of thin ones
    at least one pixel stays.

    Args:
        height, width: of the picture.
        shortest: pixels of the shorter side; 0 leaves the picture as it is.
        longest: pixels of the longer side, at most.
    """
    if shortest == 0:
        return height, width
    scale = shortest / min(height, width)
    new = [shortest * 1.0, scale * width] if height < width else [scale * height, shortest * 1.0]
    if max(new) > longest:
        shrink = longest / max(new)
        new = [side * shrink for side in new]
    return max(int(new[0] + 0.5), 1), max(int(new[1] + 0.5), 1)


def _load(path: str) -> tuple[onnxruntime.InferenceSession, ModelInfo]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no exported network at {path}; write one by `cosal export`")
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a type of its own for each
        reason = " ".join(str(error).split())
        raise ValueError(f"onnxruntime cannot load {path}: {reason}") from error
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    try:
        if text is None:
            raise ValueError("it has no metadata of cosal_d2")
        return session, ModelInfo.from_json(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; write it by `cosal export`") from error
