"""YOLO segmentation: a text file a picture, its lines a class and a polygon in shares each."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from cosal_d2.prepare.convert.conversion import Scene, Source
from cosal_d2.prepare.convert.drawing_frame import Frame
from cosal_d2.prepare.convert.left_out import (
    BOX,
    CROSSED,
    FEW_POINTS,
    FROM_BOXES,
    BoxedObject,
    LeftOut,
)
from cosal_d2.prepare.convert.polygons import are_crossed, draw_polygon, spanned
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.prepare.convert.source_files import (
    by_stem,
    loose_key,
    loosely,
    need_folder,
    read_lines,
    read_names,
)
from cosal_d2.utils.files import need_file
from cosal_d2.utils.masks import mask_rle
from cosal_d2.utils.pictures import picture_size
from cosal_d2.utils.pixel_values import say_once

OUTSIDE = 0.05  # share of the picture by which corners may leave it; they are clipped
WRITTEN = 1e-6  # share that the decimals of a file are off


def yolo_source(images: Path, labels: Path | None = None, names: Path | None = None) -> Source:
    """YOLO polygons. A picture without a label file has no objects.

    Args:
        images, labels: folders; names agree but for the suffix, in subfolders too. Both may be the
            folder above, which has `images` and `labels` in it, or in each of its splits, as
            `train/images` and `train/labels`. None: the folder whose path has `labels` where that
            of `images` has `images`.
        names: classes by index from 0: data.yaml or a text file; None: the data.yaml in `images`,
            or in the nearest folder above it that has one.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: the names are unusable.
    """
    images = need_folder(images, "images")
    if labels is None:
        beside = Path(*_as_labels(images.parts))
        labels = beside if beside.is_dir() else images
    labels = need_folder(labels, "labels")
    classes = read_names(names or _names_file(images), first=0)
    found = by_stem(labels, (".txt",))
    alike = loosely(found)
    tasks = []
    for stem, picture in by_stem(images).items():
        elsewhere = PurePosixPath(*_as_labels(PurePosixPath(stem).parts)).as_posix()
        label = found.get(stem) or found.get(elsewhere) or alike.get(loose_key(elsewhere))
        tasks.append((picture, label))
    if not tasks:
        raise FileNotFoundError(f"{images}: no pictures in it; give their folder to --images")
    if not any(label for _, label in tasks):
        raise FileNotFoundError(
            f"{labels}: no label file is named as a picture of {images}; give the two folders of "
            "one split"
        )
    used = {label for _, label in tasks} | {names}
    strangers = sorted(f for f in found.values() if f not in used and f.name != "classes.txt")
    if strangers and labels != images:
        say_once(
            f"{labels}: {len(strangers)} text files are of no picture in {images}, such as "
            f"{strangers[0].name}"
        )
    return Source(
        tasks,
        partial(_read, images, classes),
        f"Selected from {images.name}",
        {name: i + 1 for i, name in classes.items()},
    )


def _as_labels(parts: tuple[str, ...]) -> tuple[str, ...]:
    """A path with `labels` for its last part `images`, if it has one."""
    for i in reversed(range(len(parts))):
        if parts[i] == "images":
            return (*parts[:i], "labels", *parts[i + 1 :])
    return parts


def _names_file(images: Path) -> Path:
    """The nearest data.yaml or data.yml in a folder or the two above it."""
    for folder in (images, *images.resolve().parents[:2]):
        for file in (folder / "data.yaml", folder / "data.yml"):
            if file.is_file():
                return file
    raise FileNotFoundError(
        f"{images}: no data.yaml in it or above it; give the file of class names to --names"
    )


def _read(images: Path, classes: dict[int, str], task: tuple[Path, Path | None]) -> Scene:
    picture, label = task
    size = picture_size(picture)
    if label:
        need_file(label, "label file")
    objects, left_out, clipped = [], [], 0
    for number, line in enumerate(read_lines(label) if label else [], 1):
        if not line.strip():
            continue
        where = f"{label}: line {number}"
        name, shares = _parsed(where, line, classes)
        found = _mask(where, shares, *size)
        if isinstance(found, LeftOut):
            left_out.append(replace(found, boxed=_boxed(name, shares, *size)))
            continue
        objects.append(SourceObject(name, found))
        clipped += bool(shares.min() < -WRITTEN or shares.max() > 1 + WRITTEN)
    name = picture.relative_to(images).as_posix()
    frame = Frame(*size, stated=None)
    return Scene(picture, name, *size, objects, left_out=left_out, clipped=clipped, frame=frame)


def _parsed(where: str, line: str, classes: dict[int, str]) -> tuple[str, np.ndarray]:
    """Class and the numbers behind it, of which a polygon's are x and y in turn.

    Raises:
        ValueError: the line is no line of a label file; the message says what it looks like.
    """
    try:
        values = [float(v) for v in line.split()]
    except ValueError:
        raise ValueError(
            f"{where}: {line.strip()[:60]!r} is not only numbers with blanks between them; correct "
            "or remove the line"
        ) from None
    if values[0] not in classes:
        raise ValueError(
            f"{where}: the class {line.split()[0]} is none of --names; add it or correct it"
        )
    shares = np.array(values[1:])
    if len(shares) % 2:
        raise ValueError(
            f"{where}: {len(shares)} coordinates; a polygon has x and y of three points or more. "
            "The column too many may be a confidence (save_conf) or a track id: write labels "
            "without it"
        )
    if not _inside(shares).all():
        tracked = len(shares) > 4 and _inside(shares[:-1]).all() and shares[-1].is_integer()
        fix = "divide pixels by the picture's sides"
        if tracked:
            fix = "the last two columns may be a confidence and a track id; write none of them"
        raise ValueError(
            f"{where}: coordinates are shares of width and height, from 0 to 1, not "
            f"{shares[~_inside(shares)][0]:g}; {fix}"
        )
    return classes[int(values[0])], shares


def _inside(shares: np.ndarray) -> np.ndarray:
    """Which numbers can be shares of a picture's sides, of their shape."""
    return (shares >= -OUTSIDE) & (shares <= 1 + OUTSIDE)


def _boxed(name: str, shares: np.ndarray, height: int, width: int) -> BoxedObject | None:
    """The object of a line with centre and size of a box; None of any other line."""
    if len(shares) != 4:
        return None
    centre, half = shares[:2] * (width, height), shares[2:] * (width, height) / 2
    return BoxedObject(name, (*(centre - half).tolist(), *(centre + half).tolist()))


def _mask(where: str, shares: np.ndarray, height: int, width: int) -> dict | LeftOut:
    """The mask of a line's polygon as RLE, or why there is none."""
    if len(shares) == 4:
        text = f"a box, not a polygon; {FROM_BOXES}"
        return LeftOut(BOX, f"{where}: {text}", float(shares[2] * shares[3]) * height * width)
    corners = shares.reshape(-1, 2) * (width, height)
    if len(corners) < 3:
        text = f"{len(shares)} coordinates; a polygon has x and y of three points or more"
        return LeftOut(FEW_POINTS, f"{where}: {text}", spanned(corners))
    if are_crossed([corners]):
        return LeftOut(CROSSED, f"{where}: the polygon's outline crosses itself", spanned(corners))
    return mask_rle(draw_polygon(np.round(corners), height, width))
