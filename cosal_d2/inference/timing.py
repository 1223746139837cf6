"""Parts of a computation timed in turn, so that they can be compared on a shared machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import nn

Name = TypeVar("Name", bound=Hashable)


@torch.inference_mode()
def alternating(parts: Mapping[Name, Callable[[], object]], rounds: int) -> dict[Name, list[float]]:
    """Seconds of each part in each of several rounds, after one that warms up.

    The parts take turns, so that whatever else the machine does falls on all alike.
    """
    times: dict[Name, list[float]] = {name: [] for name in parts}
    for _ in range(rounds + 1):
        for name, run in parts.items():
            start = time.perf_counter()
            run()
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: seconds[1:] for name, seconds in times.items()}


def median_ratio(seconds: Sequence[float], base: Sequence[float]) -> float:
    """Median over rounds of one part's time over another's."""
    return statistics.median(s / b for s, b in zip(seconds, base, strict=True))


def passes(
    model: nn.Module, encoder: nn.Module, picture: torch.Tensor, batch: int
) -> dict[str, Callable[[], object]]:
    """A forward pass of an "encoder" and of the whole "network" for the same batch.

    Args:
        model: the network, in its precision, which the encoder takes on.
        encoder: takes normalised pixels.
        picture: uint8 (3, H, W).
        batch: how often the picture is in it.
    """
    height, width = picture.shape[1:]
    inputs = [{"image": picture, "height": height, "width": width}] * batch
    pixels = model.preprocess([picture] * batch).tensor
    pixels = pixels.contiguous(memory_format=torch.channels_last)

    def encode() -> None:
        with model.autocast():
            encoder(pixels)

    return {"encoder": encode, "network": lambda: model(inputs)}
