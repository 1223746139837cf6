"""Pascal VOC segmentation: `SegmentationObject` has instances, `SegmentationClass` classes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cosal_d2.prepare.convert.convert import Scene
from cosal_d2.prepare.convert.entries import by_stem, listing_stamp, need_folder
from cosal_d2.prepare.convert.index_masks import indexed, read_values
from cosal_d2.prepare.convert.names import read_names
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.utils.masks import mask_rle

HELP = "Pascal VOC's JPEGImages, SegmentationObject and SegmentationClass"
VOID = 255
CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this format."""
    add = parser.add_argument
    add("--voc", type=Path, required=True, metavar="FOLDER", help="such as VOCdevkit/VOC2012")
    add(
        "--list",
        type=Path,
        metavar="FILE",
        help="names of pictures, one a line, such as ImageSets/Segmentation/train.txt",
    )
    add("--names", type=Path, metavar="FILE", help="classes from index 1 (default: VOC's twenty)")


def source(args: Namespace) -> VocSource:
    """The source that the options name."""
    return VocSource(args.voc, args.list, args.names)


class VocSource:
    """A `Source`: index PNGs (palette, grey or 16-bit); the border value 255 is of no object.

    Args:
        root: holds `JPEGImages/`, `SegmentationObject/` and `SegmentationClass/`.
        listing: file with the names of the pictures to take; None takes all of them.
        names: file of class names for the values 1, 2, ...; None: VOC's twenty.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: a file is unusable.
    """

    def __init__(self, root: Path, listing: Path | None = None, names: Path | None = None) -> None:
        root = need_folder(root, "voc")
        parts = ("JPEGImages", "SegmentationObject", "SegmentationClass")
        folders = [need_folder(root / part, "voc") for part in parts]
        pictures, objects, classes = (by_stem(folder) for folder in folders)
        self.images = folders[0]
        self.names = dict(enumerate(CLASSES, 1)) if names is None else read_names(names, first=1)
        self.categories = {name: i for i, name in self.names.items()}
        self.fields: dict = {}
        self.description = f"Selected from {root.name}"
        stems = sorted(objects) if listing is None else _stems(listing)
        self.files = []
        for stem in stems:
            for found, folder in zip((pictures, objects, classes), folders, strict=True):
                if stem not in found:
                    raise FileNotFoundError(
                        f"{folder / stem}: no such picture, but "
                        f"{listing or folders[1]} names it; add the file or remove the name"
                    )
            self.files.append((pictures[stem], objects[stem], classes[stem]))
        if not self.files:
            raise FileNotFoundError(f"{listing or folders[1]}: it names no picture")
        used = [f for group in self.files for f in group]
        self.fingerprint = {"voc": listing_stamp(root, used), "names": self.categories}

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k not in ("files", "fingerprint")}

    def tasks(self, work: Path) -> tuple[int, Iterable]:
        """Picture, object mask and class mask."""
        return len(self.files), self.files

    def read(self, task: tuple[Path, Path, Path]) -> Scene:
        """The scene of a picture: each object is of the class that most of its pixels have."""
        picture, object_file, class_file = task
        values, labels = read_values(object_file), read_values(class_file)
        if values.shape != labels.shape:
            raise ValueError(
                f"{class_file}: {labels.shape} pixels (height, width), but {object_file} has "
                f"{values.shape}; make them agree"
            )
        found = []
        for index, mask in indexed(values, frozenset({VOID})):
            numbers, counts = np.unique(labels[mask], return_counts=True)
            usable = (numbers != 0) & (numbers != VOID)
            if not usable.any():
                raise ValueError(
                    f"{class_file}: object {index} of {object_file.name} has no class there; give "
                    "its pixels a class"
                )
            label = int(numbers[usable][counts[usable].argmax()])
            if label not in self.names:
                raise ValueError(
                    f"{class_file}: the value {label} of object {index} is no class; name it in a "
                    "file for --names"
                )
            found.append(SourceObject(self.names[label], mask_rle(mask)))
        name = picture.relative_to(self.images).as_posix()
        return Scene(picture, name, *values.shape, found)


def _stems(listing: Path) -> list[str]:
    """First word of each line that is not empty, without repetition."""
    if not listing.is_file():
        raise FileNotFoundError(f"{listing}: no such file; give a list of pictures to --list")
    lines = listing.read_text(encoding="utf-8-sig").splitlines()
    return list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))
