"""Randomness as a pure function of numbers, so that a resumed run repeats an uninterrupted one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np


def derive_seed(*numbers: int) -> int:
    """A 32-bit seed that is a function of the given non-negative integers, in their order."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@contextlib.contextmanager
def numpy_seed(seed: int) -> Iterator[None]:
    """Run a block with numpy's global generator seeded, as Detectron2's augmentations draw from it.

    The generator's earlier state is put back afterwards.
    """
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
