"""YOLO segmentation: a text file a picture, its lines a class and a polygon in shares each."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cosal_d2.prepare.convert.conversion import Scene, Source
from cosal_d2.prepare.convert.polygons import draw_polygon
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.prepare.convert.source_files import by_stem, need_folder, read_lines, read_names
from cosal_d2.utils.masks import mask_rle
from cosal_d2.utils.pictures import picture_size


def yolo_source(images: Path, labels: Path, names: Path) -> Source:
    """YOLO polygons. A picture without a label file has no objects.

    Args:
        images, labels: folders; names agree but for the suffix, in subfolders too.
        names: classes by index from 0: data.yaml or a text file.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: the names are unusable.
    """
    images, labels = need_folder(images, "images"), need_folder(labels, "labels")
    classes = read_names(names, first=0)
    found = by_stem(labels, (".txt",))
    tasks = [(picture, found.get(stem)) for stem, picture in by_stem(images).items()]
    if not any(label for _, label in tasks):
        raise FileNotFoundError(
            f"{labels}: no label file is named as a picture of {images}; give the two folders of "
            "one split"
        )
    return Source(
        tasks,
        partial(_read, images, classes),
        f"Selected from {images.name}",
        {name: i + 1 for i, name in classes.items()},
    )


def _read(images: Path, classes: dict[int, str], task: tuple[Path, Path | None]) -> Scene:
    picture, label = task
    size = picture_size(picture)
    objects = [
        _object(f"{label}: line {number}", line, classes, *size)
        for number, line in enumerate(read_lines(label) if label else [], 1)
        if line.strip()
    ]
    return Scene(picture, picture.relative_to(images).as_posix(), *size, objects)


def _object(
    where: str, line: str, classes: dict[int, str], height: int, width: int
) -> SourceObject:
    try:
        values = [float(v) for v in line.split()]
    except ValueError:
        raise ValueError(f"{where}: {line.strip()[:60]!r} is not only numbers") from None
    if values[0] not in classes:
        raise ValueError(
            f"{where}: the class {line.split()[0]} is none of --names; add it or correct it"
        )
    if len(values) == 5:
        raise ValueError(
            f"{where}: a box, not a polygon; masks are needed: a class and three points or more"
        )
    if len(values) < 7 or len(values) % 2 == 0:
        raise ValueError(
            f"{where}: {len(values) - 1} coordinates; a polygon has x and y of three points or more"
        )
    shares = np.array(values[1:]).reshape(-1, 2)
    if not np.isfinite(shares).all() or shares.min() < -0.01 or shares.max() > 1.01:
        raise ValueError(
            f"{where}: coordinates are shares of width and height; they lie within 0 and 1"
        )
    corners = np.clip(np.round(shares * (width, height)), 0, (width - 1, height - 1))
    return SourceObject(classes[int(values[0])], mask_rle(draw_polygon(corners, height, width)))
