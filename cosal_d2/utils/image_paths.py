"""Where the pictures of a json lie: inside its image folder, and nowhere else."""

from __future__ import annotations

import os
import posixpath
import re
from functools import lru_cache
from pathlib import Path

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def stays_inside(file_name: str) -> bool:
    """Whether a path with `/` or `\\` between its parts is relative and leads out of no folder."""
    path = posixpath.normpath(file_name.replace("\\", "/"))
    rooted = path.startswith("/") or _DRIVE.match(file_name) or os.path.splitdrive(file_name)[0]
    return not rooted and path.split("/")[0] != ".."


def picture_path(folder: str | os.PathLike, file_name: str) -> Path:
    """The file of a picture. It may be a link itself, as `--link` writes them.

    Args:
        folder: of the pictures; it may be a link.
        file_name: of the json.

    Raises:
        ValueError: the name, or a link to a folder on the way, leads out of the folder.
    """
    path = Path(folder, file_name)
    if not stays_inside(file_name):
        raise ValueError(f"{file_name}: it leads out of the image folder {folder}; put it there")
    if path.parent != Path(folder):
        _check_links(Path(folder), path.parent)
    return path


@lru_cache(maxsize=1024)
def _check_links(folder: Path, inner: Path) -> None:
    """Refuse an inner folder that a link puts elsewhere."""
    root, real = os.path.realpath(folder), os.path.realpath(inner)
    if os.path.commonpath((root, real)) != root:
        raise ValueError(
            f"{inner}: a link leads out of the image folder, to {real}; make the image folder "
            "itself the link, or link the pictures one by one"
        )
