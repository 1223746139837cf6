"""Whether `cosal_d2.data` may put off loading torch and Detectron2 until something needs them.

Loading them takes 700 MB a process; the processes that prepare datasets use neither.
"""

from __future__ import annotations

_lazy = False


def load_lazily() -> None:
    """From now on importing `cosal_d2.data` registers nothing until one of its names is used."""
    global _lazy
    _lazy = True


def is_lazy() -> bool:
    """Whether `load_lazily` was called in this process."""
    return _lazy
