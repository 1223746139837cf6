"""Finding and reading the maps of a method: ``STEM.png`` or ``STEM_map.png``, one an image."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cosal_d2.evaluation.truth_sets import TruthSet
from cosal_d2.utils.pictures import read_grey

OK, RESIZED, MISSING, EXTRA, CORRUPT = "ok", "resized", "missing", "extra", "corrupt"
MAP_SUFFIX = "_map"


@dataclass(frozen=True)
class MapFile:
    """What became of one image, or of one file that belongs to none.

    Attributes:
        method: whose folder it is.
        status: "ok", "resized" (its size was not the image's), "missing", "extra" (no image of the
            dataset has this name), or "corrupt".
        file: name in the method's folder; of a missing map, the name that was looked for.
        image: file name of the dataset's image; "" of an extra file.
        detail: sizes, or what is wrong.
    """

    method: str
    status: str
    file: str
    image: str = ""
    detail: str = ""

    def __str__(self) -> str:
        about = f" ({self.detail})" if self.detail else ""
        return f"{self.method}: {self.status}: {self.file}{about}"


def read_map(path: str | os.PathLike[str], height: int, width: int) -> np.ndarray:
    """Read a map as 8-bit grey and resize it bilinearly to the truth's size, as the field does.

    Returns:
        ``(height, width)`` uint8.

    Raises:
        ValueError: the file is not a picture, or is truncated.
    """
    grey = read_grey(os.fspath(path))
    if grey.shape != (height, width):
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR)
    return grey


def find_maps(
    truth: TruthSet, method: str, folder: str | os.PathLike[str]
) -> tuple[dict[int, Path], list[MapFile]]:
    """Find and check the maps of a method.

    A map is named after its image, in the same subfolder or, where only one image has that name,
    directly in the folder. ``STEM.png`` comes before ``STEM_map.png``.

    Args:
        truth: the images.
        method: its name.
        folder: where its maps lie.

    Returns:
        paths by place in ``truth.records``, of the maps that can be read; and what became of every
        image and every other file.

    Raises:
        FileNotFoundError: no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"--maps {method}={folder}: no such folder")
    files = sorted(
        p for p in root.rglob("*") if p.is_file() and not p.name.startswith((".", "Thumbs.db"))
    )
    index: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() == ".png":
            index.setdefault(_normal(path.relative_to(root).with_suffix("").as_posix()), path)
    maps: dict[int, Path] = {}
    notes: list[MapFile] = []
    taken: set[Path] = set()
    for i, names in enumerate(_names(truth.records)):
        path = next((index[name] for name in names if name in index), None)
        image = str(truth.records[i]["file_name"])
        if path is None:
            wanted = Path(image).with_suffix(".png").as_posix()
            notes.append(MapFile(method, MISSING, wanted, image, "no such map"))
            continue
        taken.add(path)
        note = _check(method, path, root, truth.records[i])
        notes.append(note)
        if note.status != CORRUPT:
            maps[i] = path
    for path in files:
        if path not in taken:
            name = path.relative_to(root).as_posix()
            notes.append(MapFile(method, EXTRA, name, "", "no image of the dataset has this name"))
    return maps, notes


def _names(records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Names that the map of each image may have, best first.

    Raises:
        ValueError: two images would have one map.
    """
    stems = [_normal(Path(str(r["file_name"])).with_suffix("").as_posix()) for r in records]
    for stem, count in Counter(stems).items():
        if count > 1:
            same = [str(r["file_name"]) for r, s in zip(records, stems, strict=True) if s == stem]
            raise ValueError(
                f"{' and '.join(same)} would have the same map, {stem}.png; rename one of them"
            )
    flat = Counter(stem.rsplit("/", 1)[-1] for stem in stems)
    known = {*stems, *flat}
    names = []
    for stem in stems:
        base = stem.rsplit("/", 1)[-1]
        own = [stem, base] if flat[base] == 1 else [stem]
        suffixed = (f"{name}{MAP_SUFFIX}" for name in own)
        names.append([*own, *(name for name in suffixed if name not in known)])
    return names


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _check(method: str, path: Path, root: Path, record: Mapping[str, Any]) -> MapFile:
    name, image = path.relative_to(root).as_posix(), str(record["file_name"])
    try:
        height, width = read_grey(str(path)).shape
    except ValueError as error:
        return MapFile(method, CORRUPT, name, image, str(error.__cause__ or error))
    if (height, width) == (record["height"], record["width"]):
        return MapFile(method, OK, name, image)
    size = f"{width}x{height}, resized to the image's {record['width']}x{record['height']}"
    return MapFile(method, RESIZED, name, image, size)
