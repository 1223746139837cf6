"""Files and folders that a command line names, looked for before anything heavy is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def check_weights(opts: Sequence[str]) -> None:
    """Refuse weights among config changes that are not there.

    Raises:
        FileNotFoundError: naming them.
    """
    weights = dict(zip(opts[::2], opts[1::2], strict=False)).get("MODEL.WEIGHTS")
    if weights and "://" not in weights and not os.path.isfile(weights):
        raise FileNotFoundError(f"no weights at {weights}: set MODEL.WEIGHTS to a checkpoint file")


def check_dataset(name: str | None) -> None:
    """Refuse a dataset that is given by a path, a .json or one with a folder, and is not there; a
    registered name may have dots.

    Raises:
        FileNotFoundError: naming it.
    """
    path = Path(name or "")
    if (path.suffix.lower() == ".json" or len(path.parts) > 1) and not path.exists():
        raise FileNotFoundError(
            f"--dataset {name}: no such file or folder, and no registered dataset of that name"
        )


def check_map_folders(methods: Mapping[str, str | os.PathLike]) -> None:
    """Refuse folders of maps, by method, that are not there.

    Raises:
        FileNotFoundError: naming the first.
    """
    for method, folder in methods.items():
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"--maps {method}={folder}: no such folder")
