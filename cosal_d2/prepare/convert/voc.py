"""Pascal VOC segmentation: `SegmentationObject` has instances, `SegmentationClass` classes."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from cosal_d2.prepare.convert.conversion import Scene, Source
from cosal_d2.prepare.convert.left_out import NO_CLASS, LeftOut
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.prepare.convert.source_files import (
    by_stem,
    find_files,
    loose_key,
    loosely,
    need_folder,
    read_lines,
    read_names,
)
from cosal_d2.utils.files import instead_of_file
from cosal_d2.utils.mask_pictures import indexed, read_values
from cosal_d2.utils.masks import mask_rle
from cosal_d2.utils.pictures import PICTURE_SUFFIXES

VOID = 255
FOLDERS = ("JPEGImages", "SegmentationObject", "SegmentationClass", "Annotations")
CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)


def voc_source(root: Path, listing: Path | None = None, names: Path | None = None) -> Source:
    """Index PNGs (palette, grey or 16-bit); the border value 255 is of no object.

    Args:
        root: holds `JPEGImages/`, `SegmentationObject/` and `SegmentationClass/`.
        listing: file with the names of the pictures to take; None takes all of them.
        names: file of class names for the values 1, 2, ...; None: VOC's twenty.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: a file is unusable.
    """
    root = need_folder(root, "voc")
    parts = FOLDERS[:3]
    if not (root / parts[1]).is_dir() and find_files(root, (".xml",)):
        raise FileNotFoundError(
            f"{root / parts[1]}: no such folder of masks, but {root} has XML files of boxes; "
            "--masks-from-boxes makes masks of them"
        )
    folders = [need_folder(root / part, "voc") for part in parts]
    found = [by_stem(folder) for folder in folders]
    alike = [loosely(files) for files in found]
    classes = dict(enumerate(CLASSES, 1)) if names is None else read_names(names, first=1)
    stems = sorted(found[1]) if listing is None else listed_stems(listing)
    tasks = [
        tuple(
            own.get(stem) or a.get(loose_key(stem), folder / stem)
            for own, a, folder in zip(found, alike, folders, strict=True)
        )
        for stem in stems
    ]
    if not tasks:
        raise FileNotFoundError(f"{listing or folders[1]}: it names no picture")
    return Source(
        tasks,
        partial(_read, folders[0], listing or folders[1], classes),
        f"Selected from {root.name}",
        {name: i for i, name in classes.items()},
    )


def listed_stems(listing: Path) -> list[str]:
    """First word of each line that is not empty, without repetition: a name, or the path of a
    picture or of an XML file, below one of VOC's folders or not."""
    if not listing.is_file():
        raise FileNotFoundError(f"{listing}: no such file; give a list of pictures to --list")
    words = [line.split()[0] for line in read_lines(listing) if line.strip()]
    return list(dict.fromkeys(map(_stem, words)))


def _stem(word: str) -> str:
    path = PurePosixPath(word.replace("\\", "/"))
    if path.suffix.lower() in (*PICTURE_SUFFIXES, ".xml"):
        path = path.with_suffix("")
    home = next((i for i, part in enumerate(path.parts) if part in FOLDERS), -1)
    return PurePosixPath(*path.parts[home + 1 :]).as_posix()


def _read(
    images: Path, listing: Path, classes: dict[int, str], task: tuple[Path, Path, Path]
) -> Scene:
    """The scene of a picture: each object is of the class that most of its pixels have."""
    for file in task:
        if instead_of_file(file) == "nothing":
            raise FileNotFoundError(
                f"{file}: no such picture, but {listing} names it; add the file or remove the name"
            )
    picture, object_file, class_file = task
    values, labels = read_values(object_file), read_values(class_file)
    if values.shape != labels.shape:
        raise ValueError(
            f"{class_file}: {labels.shape} pixels (height, width), but {object_file} has "
            f"{values.shape}; make them agree"
        )
    objects, left_out = [], []
    for index, mask in indexed(values, frozenset({VOID})):
        numbers, counts = np.unique(labels[mask], return_counts=True)
        counts[(numbers == 0) | (numbers == VOID)] = 0
        if not counts.any():
            message = f"{class_file}: object {index} of {object_file.name} has no class there"
            left_out.append(LeftOut(NO_CLASS, f"{message}; give its pixels a class", mask.sum()))
            continue
        label = int(numbers[counts.argmax()])
        if label not in classes:
            raise ValueError(
                f"{class_file}: the value {label} of object {index} is no class; name it in a "
                "file for --names"
            )
        objects.append(SourceObject(classes[label], mask_rle(mask)))
    name = picture.relative_to(images).as_posix()
    return Scene(picture, name, *values.shape, objects, left_out=left_out)
