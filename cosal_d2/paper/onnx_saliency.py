"""Maps of a saliency network that a reader has as an ONNX file, prepared as U-2-Net's.

X. Qin et al.: "U^2-Net: Going Deeper with Nested U-Structure for Salient Object Detection", Pattern
Recognition 2020.
"""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from cosal_d2.paper.classical.colour import stretch
from cosal_d2.utils.requirements import require_modules

SIDE = 320  # of the network's input, whatever the picture's shape
# Of ImageNet's pictures, RGB in [0, 1].
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class OnnxSaliency:
    """From a picture, uint8 BGR (H, W, 3), to its map, float32 (H, W) in [0, 1].

    Attributes:
        parameters: number of the network's weights.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        """
        Args:
            file: takes (N, 3, 320, 320) float32; its first output is the map, (N, 1, h, w).

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is no ONNX file, or takes something else.
            ImportError: onnx or onnxruntime is missing.
        """
        require_modules(("onnx", "onnxruntime"), f"the ONNX file {file}")
        import onnx
        import onnxruntime

        if not os.path.isfile(file):
            raise FileNotFoundError(f"{file}: no such ONNX file")
        try:
            weights = onnx.load(os.fspath(file)).graph.initializer
            self._session = onnxruntime.InferenceSession(
                os.fspath(file), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnx and onnxruntime have types of their own
            reason = " ".join(str(error).split())
            raise ValueError(f"{file} is no ONNX file that can be used: {reason}") from error
        (given, *others) = self._session.get_inputs()
        wanted = (3, SIDE, SIDE)
        fits = len(given.shape) == 4 and all(
            own == size or not isinstance(own, int)
            for own, size in zip(given.shape[1:], wanted, strict=True)
        )
        if others or not fits or given.type != "tensor(float)":
            raise ValueError(
                f"{file} takes {given.type} {given.shape}, but a U-2-Net takes one float picture "
                f"(1, 3, {SIDE}, {SIDE}); give the maps of other networks with --maps"
            )
        self._input = given.name
        self._output = self._session.get_outputs()[0].name
        self.parameters = sum(int(np.prod(weight.dims)) for weight in weights)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        seen = Image.fromarray(picture[:, :, ::-1]).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        pixels = np.asarray(seen, np.float32)
        pixels = (pixels / max(pixels.max(), 1e-6) - np.float32(MEAN)) / np.float32(STD)
        (found,) = self._session.run([self._output], {self._input: pixels.transpose(2, 0, 1)[None]})
        small = Image.fromarray(stretch(np.squeeze(found)))
        return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))
