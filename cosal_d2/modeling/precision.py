"""The compute precision that ``MODEL.DTYPE`` asks for, on the device at hand."""

from __future__ import annotations

import logging

import torch

logger = logging.getLogger(__name__)


def resolve_dtype(name: str, device: str) -> torch.dtype:
    """Turn ``MODEL.DTYPE`` into a torch type.

    A CPU without native instructions for a half type would emulate it, far slower than float32:
    there float32 is used, and the log says so.

    Args:
        name: float32, bfloat16 or float16.
        device: a torch device string.
    """
    dtype = getattr(torch, name)
    if dtype == torch.float32 or torch.device(device).type != "cpu":
        return dtype
    if _cpu_supports(dtype):
        return dtype
    logger.info("this CPU has no native %s: computing in float32", name)
    return torch.float32


def _cpu_supports(dtype: torch.dtype) -> bool:
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported() and _has_flag("bf16")
    return torch.ops.mkldnn._is_mkldnn_fp16_supported() and _has_flag("fp16")


def _has_flag(kind: str) -> bool:
    # Older torch versions cannot tell: they get float32.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return any(kind in name and value for name, value in capabilities.items())
