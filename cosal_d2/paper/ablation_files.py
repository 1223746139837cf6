"""Small files of an ablation table, and the lock that keeps two runs out of one folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """Read json.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid json: {error}; move it away to redo it") from error


@contextlib.contextmanager
def table_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process.

    Raises:
        RuntimeError: another process holds it.
    """
    with open(folder / ".lock", "w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RuntimeError(
                f"another run is working in {folder}; wait for it, or give another --out"
            ) from error
        yield
