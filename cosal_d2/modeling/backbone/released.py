"""``cosal://NAME``: the released files that the package carries, on Detectron2's PathManager."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from detectron2.utils.file_io import PathManager
from iopath.common.file_io import PathHandler

RELEASED_PREFIX = "cosal://"
RELEASED_FOLDER = os.fspath(Path(__file__).resolve().parents[2] / "released")


class ReleasedHandler(PathHandler):
    """``cosal://NAME`` on Detectron2's PathManager: a released file, checked by its sha256."""

    def _get_supported_prefixes(self) -> list[str]:
        return [RELEASED_PREFIX]

    def _get_local_path(self, path: str, force: bool = False, **kwargs) -> str:
        name = path[len(RELEASED_PREFIX) :]
        local = os.path.join(RELEASED_FOLDER, name)
        with open(os.path.join(RELEASED_FOLDER, "released.json")) as f:
            known = json.load(f)
        if name not in known or not os.path.isfile(local):
            raise FileNotFoundError(
                f"no released weights {name!r}; there are: {', '.join(sorted(known)) or 'none'}"
            )
        with open(local, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        if digest != known[name]["sha256"]:
            raise ValueError(f"{local} is damaged: its sha256 is {digest}; reinstall cosal_d2")
        return local

    def _isfile(self, path: str, **kwargs) -> bool:
        return os.path.isfile(os.path.join(RELEASED_FOLDER, path[len(RELEASED_PREFIX) :]))

    def _exists(self, path: str, **kwargs) -> bool:
        return self._isfile(path)

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs):
        return open(self._get_local_path(path), mode, buffering)


PathManager.register_handler(ReleasedHandler(), allow_override=True)
