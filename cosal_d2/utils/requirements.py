"""What cosal_d2 expects beside itself, and the command that provides it; standard library only."""

from __future__ import annotations

import logging
import shlex
import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec

PACKAGES = {
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
}  # of modules with another name
TORCH_PINS = ("torch==2.14.1", "torchvision==0.29.1")


def location(module: str) -> str | None:
    """File that a module would be imported from; None where only a stray folder has its name."""
    spec = find_spec(module)
    return spec.origin if spec else None


def require_detectron2() -> None:
    """Check that torch, torchvision, Detectron2 and OpenCV can be imported, and let them keep to
    themselves what they say of each other.

    Raises:
        ImportError: one sentence with what is missing and the command that installs it.
    """
    names = ("torch", "torchvision", "detectron2", "cv2")
    missing = [name for name in names if location(name) is None]
    if not missing:
        _silence_known_warnings()
        return
    python = shlex.quote(sys.executable)
    command = f"{python} -m cosal_d2.install_detectron2"
    if {"torch", "torchvision"} & set(missing):
        command = f"{python} -m pip install {' '.join(TORCH_PINS)} && {command}"
    raise ImportError(f"cosal_d2 needs {', '.join(missing)}, not found here; run: {command}")


def _silence_known_warnings() -> None:
    """Of Detectron2's calls into torch: nothing that a user could act on."""
    for category, message in (
        (FutureWarning, ".*torch.jit.script. is deprecated"),
        (UserWarning, "torch.meshgrid: in an upcoming release"),
    ):
        warnings.filterwarnings("ignore", message=message, category=category)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)


def require_modules(names: Sequence[str], what: str) -> None:
    """Check that modules can be imported.

    Args:
        names: of the modules.
        what: needs them, for the message.

    Raises:
        ImportError: one sentence with what is missing and the command that installs it.
    """
    missing = [name for name in names if location(name) is None]
    if missing:
        packages = " ".join(PACKAGES.get(name, name) for name in missing)
        python = shlex.quote(sys.executable)
        raise ImportError(
            f"{what} needs {', '.join(missing)}, not found here; run: {python} -m pip install "
            f"{packages}"
        )
