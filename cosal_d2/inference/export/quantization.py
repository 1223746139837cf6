"""An exported network whose convolutions are computed in int8."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from cosal_d2.inference.export.onnx_file import METADATA_KEY
from cosal_d2.inference.export.onnx_predictor import OnnxPredictor
from cosal_d2.utils.pictures import read_image


def quantize(model: Path, output: Path, pictures: Sequence[Path]) -> None:
    """Quantize an exported network's convolutions statically: weights of each output channel to 7
    bits, which processors without VNNI multiply without overflow, activations of each tensor to 8.

    Args:
        model: ONNX in float32, from :func:`.write_onnx`.
        output: the file to write.
        pictures: whose activations give the scales; a few dozen like those of the use.

    Raises:
        ValueError: one of the pictures cannot be read.
    """
    logging.getLogger("onnxruntime").setLevel(logging.ERROR)
    predictor = OnnxPredictor(model)
    with TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            output,
            _Pictures(predictor, pictures),
            op_types_to_quantize=["Conv"],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    written = onnx.load(output)
    info = replace(predictor.info, precision="int8")
    onnx.helper.set_model_props(written, {METADATA_KEY: info.to_json()})
    onnx.save(written, output)


class _Pictures(CalibrationDataReader):
    """The network's inputs of pictures, one by one."""

    def __init__(self, predictor: OnnxPredictor, pictures: Sequence[Path]) -> None:
        self.inputs = (predictor.inputs([read_image(path)]) for path in pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Of the next picture; None after the last."""
        return next(self.inputs, None)
