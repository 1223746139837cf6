"""Files of weights, read without running anything that they hold."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

SAFETENSORS = ".safetensors"
PICKLES = (".pkl", ".pickle")


def load_weights(path: str | Path) -> dict:
    """A state dict from ``.safetensors``, or what ``torch.save`` wrote of tensors and plain types.

    Raises:
        Exception: of safetensors or torch, where the file is anything else.
    """
    if Path(path).suffix.lower() == SAFETENSORS:
        return load_file(path, device="cpu")
    return torch.load(path, map_location="cpu", weights_only=True)


def is_pickle(path: str | Path) -> bool:
    """Whether a file's name says that it is a bare pickle, as Detectron2's model zoo has them."""
    return Path(path).suffix.lower() in PICKLES


def load_pickled_arrays(path: str | Path) -> dict:
    """The content of a pickle of numpy arrays, as Detectron2's model zoo has them.

    Raises:
        ValueError: it names anything but the parts of numpy arrays; nothing of it is run.
    """
    with Path(path).open("rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickled dicts of numpy arrays and nothing that could run code."""

    ALLOWED = {
        *("numpy.dtype", "numpy.ndarray", "_codecs.encode", "collections.OrderedDict"),
        *("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"),
        *("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"),
    }

    def find_class(self, module: str, name: str) -> object:
        if f"{module}.{name}" not in self.ALLOWED:
            raise ValueError(f"its pickle names {module}.{name}; only numpy arrays are loaded")
        return super().find_class(module, name)


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz``; arrays of Python objects, which are pickled, are refused."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
