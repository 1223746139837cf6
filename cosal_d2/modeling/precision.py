"""The compute precision that ``MODEL.DTYPE`` asks for, on the device at hand."""

from __future__ import annotations

import logging

import torch

AMPERE = (8, 0)  # the first compute capability with bfloat16

logger = logging.getLogger(__name__)


def resolve_dtype(name: str, device: str) -> torch.dtype:
    """Turn ``MODEL.DTYPE`` into a torch type.

    A device without native instructions for a half type would emulate it, far slower than float32:
    there float32 is used, and a warning says so.

    Args:
        name: float32, bfloat16 or float16.
        device: a torch device string.
    """
    if is_native(name, device):
        return getattr(torch, name)
    kind = "CPU" if torch.device(device).type == "cpu" else "GPU"
    logger.warning("this %s has no native %s: computing in float32", kind, name)
    return torch.float32


def is_native(name: str, device: str) -> bool:
    """Whether a device has instructions for a type; see :func:`resolve_dtype`."""
    if name == "float32":
        return True
    if torch.device(device).type == "cpu":
        return _cpu_supports(getattr(torch, name))
    return name == "float16" or torch.cuda.get_device_capability(device) >= AMPERE


def _cpu_supports(dtype: torch.dtype) -> bool:
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported() and _has_flag("bf16")
    return torch.ops.mkldnn._is_mkldnn_fp16_supported() and _has_flag("fp16")


def _has_flag(kind: str) -> bool:
    # Older torch versions cannot tell: they get float32.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return any(kind in name and value for name, value in capabilities.items())
