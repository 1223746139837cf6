"""YOLO segmentation: a text file a picture, its lines a class and a polygon in shares each."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cosal_d2.prepare.convert.convert import Scene
from cosal_d2.prepare.convert.entries import by_stem, listing_stamp, need_folder
from cosal_d2.prepare.convert.names import read_names
from cosal_d2.prepare.convert.pictures import picture_size
from cosal_d2.prepare.convert.polygons import draw_polygons
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.utils.masks import mask_rle

HELP = "YOLO polygons: images/, labels/ and class names"


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this format."""
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="FOLDER", help="such as images/train")
    add("--labels", type=Path, required=True, metavar="FOLDER", help="such as labels/train")
    add(
        "--names",
        type=Path,
        required=True,
        metavar="FILE",
        help="data.yaml with `names`, or a text file with a name a line",
    )


def source(args: Namespace) -> YoloSource:
    """The source that the options name."""
    return YoloSource(args.images, args.labels, args.names)


class YoloSource:
    """A `Source`: YOLO polygons. A picture without a label file has no objects.

    Args:
        images, labels: folders; names agree but for the suffix, in subfolders too.
        names: classes by index from 0: data.yaml or a text file.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: the names are unusable.
    """

    def __init__(self, images: Path, labels: Path, names: Path) -> None:
        self.images, labels = need_folder(images, "images"), need_folder(labels, "labels")
        self.names = read_names(names, first=0)
        self.categories = {name: i + 1 for i, name in self.names.items()}
        self.fields: dict = {}
        self.description = f"Selected from {self.images.name}"
        found = by_stem(labels, (".txt",))
        self.pairs = [(p, found.get(stem)) for stem, p in by_stem(self.images).items()]
        if not any(label for _, label in self.pairs):
            raise FileNotFoundError(
                f"{labels}: no label file is named as a picture of {self.images}; give the two "
                "folders of one split"
            )
        self.fingerprint = {
            "images": listing_stamp(self.images, [p for p, _ in self.pairs]),
            "labels": listing_stamp(labels, [x for _, x in self.pairs if x]),
            "names": self.categories,
        }

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k not in ("pairs", "fingerprint")}

    def tasks(self, work: Path) -> tuple[int, Iterable]:
        """Pairs of picture and label file."""
        return len(self.pairs), self.pairs

    def read(self, task: tuple[Path, Path | None]) -> Scene:
        """The scene of a picture."""
        picture, label = task
        size = picture_size(picture)
        lines = label.read_text(encoding="utf-8-sig").splitlines() if label else []
        objects = [self._object(label, i, x, *size) for i, x in enumerate(lines, 1) if x.strip()]
        return Scene(picture, picture.relative_to(self.images).as_posix(), *size, objects)

    def _object(self, file: Path, number: int, line: str, height: int, width: int) -> SourceObject:
        where = f"{file}: line {number}"
        try:
            values = [float(v) for v in line.split()]
        except ValueError:
            raise ValueError(f"{where}: {line.strip()[:60]!r} is not only numbers") from None
        if values[0] not in self.names:
            raise ValueError(
                f"{where}: the class {line.split()[0]} is none of --names; add it or correct it"
            )
        if len(values) == 5:
            raise ValueError(
                f"{where}: a box, not a polygon; masks are needed: a class and three points or more"
            )
        if len(values) < 7 or len(values) % 2 == 0:
            raise ValueError(
                f"{where}: {len(values) - 1} coordinates; a polygon has x and y of three points or "
                "more"
            )
        shares = np.array(values[1:]).reshape(-1, 2)
        if not np.isfinite(shares).all() or shares.min() < -0.01 or shares.max() > 1.01:
            raise ValueError(
                f"{where}: coordinates are shares of width and height; they lie within 0 and 1"
            )
        corners = np.minimum(np.round(shares * (width, height)), (width - 1, height - 1))
        mask = draw_polygons([np.maximum(corners, 0)], height, width)
        return SourceObject(self.names[int(values[0])], mask_rle(mask))
