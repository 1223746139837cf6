"""What an exported network costs, for the rows of :func:`.prediction_rows`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from cosal_d2.utils.pictures import read_image

if TYPE_CHECKING:
    from cosal_d2.inference.export.onnx_predictor import OnnxPredictor

# For a fresh Python: a worker of a pool would import torch with the function that it runs.
PEAK = """
import json, logging, sys
from cosal_d2.inference.export.onnx_predictor import OnnxPredictor
from cosal_d2.utils.memory import peak_mb
logging.disable()
predictor = OnnxPredictor(sys.argv[1])
predictor.min_size = 0
predictor.batch(sys.argv[2:])
assert "torch" not in sys.modules
print(json.dumps(peak_mb()))
"""


def load_exported(file: str, config_file: str) -> OnnxPredictor:
    """The predictor of an exported network, for pictures at their own size.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no exported network, or one of another config.
    """
    from cosal_d2.inference.export.onnx_predictor import OnnxPredictor

    predictor = OnnxPredictor(file)
    if predictor.info.config != Path(config_file).name:
        raise ValueError(f"{file}: it is of {predictor.info.config}, not of {config_file}")
    predictor.min_size = 0
    return predictor


def exported_passes(
    predictor: OnnxPredictor, encoder: nn.Module, path: Path, batch: int
) -> dict[str, Callable[[], object]]:
    """A forward pass of PyTorch's "encoder" and of the whole exported "network" for one batch.

    Args:
        predictor: of the network.
        encoder: takes normalised pixels, float32 on the CPU.
        path: the picture.
        batch: how often the picture is in it.
    """
    inputs = predictor.inputs([read_image(path)] * batch)
    pixels = torch.from_numpy(inputs["image"]).float()
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    return {"encoder": lambda: encoder(pixels), "network": lambda: predictor.run(inputs)}


def exported_peak_mb(file: str, path: Path, batch: int) -> float | None:
    """The most memory of a process without torch that predicts a batch of one picture, 10^6 bytes;
    None where the system does not tell."""
    command = [sys.executable, "-c", PEAK, file, *[str(path)] * batch]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)
