"""What cosal_d2 expects beside itself, and the command that provides it."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec

TORCH_PINS = ("torch==2.14.1", "torchvision==0.29.1")


def require_detectron2() -> None:
    """Check that torch, torchvision, Detectron2 and OpenCV can be imported.

    Raises:
        ImportError: one sentence with what is missing and the command that installs it.
    """
    missing = [name for name in ("torch", "torchvision", "detectron2", "cv2") if not _found(name)]
    if not missing:
        return
    python = shlex.quote(sys.executable)
    command = f"{python} -m cosal_d2.install_detectron2"
    if {"torch", "torchvision"} & set(missing):
        command = f"{python} -m pip install {' '.join(TORCH_PINS)} && {command}"
    raise ImportError(f"cosal_d2 needs {', '.join(missing)}, not found here; run: {command}")


def _found(module: str) -> bool:
    spec = find_spec(module)
    return spec is not None and spec.origin is not None
