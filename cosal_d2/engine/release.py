"""Turning a checkpoint into a released file."""

from __future__ import annotations

import hashlib
import json
import os

import torch

from cosal_d2.engine.checkpoint import ENCODER_PREFIX, RELEASED_FOLDER, save_atomically

MAX_BYTES = 40 * 2**20


def release(checkpoint: str, name: str, folder: str = RELEASED_FOLDER) -> tuple[str, str]:
    """Write a checkpoint's trainable part as float16 and note its sha256 in ``released.json``.

    A file of the same name is replaced: only the newest is kept.

    Args:
        checkpoint: a file written in training.
        name: of the released file, as ``MODEL.RELEASED`` of a config names it.
        folder: where released files live.

    Returns:
        path and sha256.

    Raises:
        ValueError: the checkpoint holds no model, or the result is over 40 MB.
    """
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if "model" not in content:
        raise ValueError(f"{checkpoint} has no `model`: give a checkpoint written in training")
    model = {
        key: value.half() if value.is_floating_point() else value
        for key, value in content["model"].items()
        if not key.startswith(ENCODER_PREFIX)
    }
    size = sum(v.numel() * v.element_size() for v in model.values())
    if size > MAX_BYTES:
        raise ValueError(f"the trainable part of {checkpoint} takes {size / 2**20:.1f} MB, over 40")
    path = os.path.join(folder, name)
    save_atomically({"model": model}, path)
    with open(path, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    _note(os.path.join(folder, "released.json"), name, digest)
    return path, digest


def _note(index: str, name: str, digest: str) -> None:
    known = {}
    if os.path.isfile(index):
        with open(index) as f:
            known = json.load(f)
    known[name] = {"sha256": digest}
    with open(f"{index}.tmp", "w") as f:
        json.dump(known, f, indent=1, sort_keys=True)
        f.write("\n")
    os.replace(f"{index}.tmp", index)
