"""Truth: of one dataset dict, drawn at the image's original size, and of a whole dataset."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from pycocotools import mask as coco_mask

from cosal_d2.data.datasets import check_registered, load_cosal_json, register_all_cosal
from cosal_d2.utils.files import visible_files
from cosal_d2.utils.given_files import check_dataset
from cosal_d2.utils.mask_pictures import read_truth
from cosal_d2.utils.mask_words import picture_name
from cosal_d2.utils.masks import mask_rle, to_rle
from cosal_d2.utils.pictures import PICTURE_SUFFIXES, unread_hint


@dataclass(frozen=True)
class TruthObject:
    """An annotated object of an image of H x W pixels.

    Attributes:
        mask: ``(H, W)`` boolean.
        class_name: "" where the dataset names none.
        box: ``(4,)`` float64, x, y, width, height in pixels, where the annotation has one.
    """

    mask: np.ndarray
    class_name: str = ""
    box: np.ndarray | None = None


@dataclass(frozen=True)
class Truth:
    """Truth of one image of H x W pixels.

    Attributes:
        mask: ``(H, W)`` boolean, the union of all co-salient annotations.
        salient: ``(H, W)`` boolean, the union of all annotations, co-salient or not.
        objects: the co-salient objects.
        distractors: the salient objects outside the truth.
        crowd: whether the truth has a co-salient crowd, so that its number of objects is unknown.
    """

    mask: np.ndarray
    salient: np.ndarray
    objects: Sequence[TruthObject] = ()
    distractors: Sequence[TruthObject] = ()
    crowd: bool = False


@dataclass(frozen=True)
class TruthSet:
    """Images to score, in order.

    Attributes:
        name: of the dataset, for tables.
        records: one dict an image, as :func:`decode_truth` takes it; ``file_name`` is relative to
            the folder of the images, with "/".
        image_root: the folder of the images; None where it is not known.
        notes: what was unusual while reading.
    """

    name: str
    records: tuple[Mapping[str, Any], ...]
    image_root: Path | None = None
    notes: tuple[str, ...] = ()


def decode_truth(record: Mapping[str, Any]) -> Truth:
    """Draw the annotations of a dataset dict.

    An annotation without ``cosalient`` is co-salient. A crowd (``iscrowd`` 1) enters the unions but
    stands for an unknown number of objects, so it counts neither as object nor as distractor; nor
    does an annotation that covers no pixel.

    Args:
        record: dataset dict with ``file_name``, ``height``, ``width`` and ``annotations``.

    Raises:
        ValueError: a size or a segmentation is missing or malformed; names the file and the
            annotation.
    """
    name = record.get("file_name", f"image {record.get('image_id')}")
    if "height" not in record or "width" not in record:
        raise ValueError(f"{name}: the dataset gives no 'height' and 'width'; add them to its json")
    height, width = int(record["height"]), int(record["width"])
    truth = np.zeros((height, width), dtype=bool)
    salient = truth.copy()
    crowd = False
    parts: dict[bool, list[TruthObject]] = {True: [], False: []}
    for i, annotation in enumerate(record.get("annotations", ())):
        try:
            rle = to_rle(annotation.get("segmentation"), height, width)
        except ValueError as error:
            raise ValueError(f"{name}: annotation {i}: {error}") from error
        mask = np.ascontiguousarray(coco_mask.decode(rle), dtype=bool)
        cosalient = bool(annotation.get("cosalient", True))
        salient |= mask
        if cosalient:
            truth |= mask
        if annotation.get("iscrowd", 0):
            crowd |= cosalient
        elif mask.any():
            label = str(annotation.get("class_name") or "")
            parts[cosalient].append(TruthObject(mask, label, _box(annotation)))
    return Truth(truth, salient, parts[True], parts[False], crowd)


def _box(annotation: Mapping[str, Any]) -> np.ndarray | None:
    """An annotation's box, x, y, width, height; None where it has none, or one without area."""
    if annotation.get("bbox") is None:
        return None
    mode = annotation.get("bbox_mode", BoxMode.XYWH_ABS)
    box = np.asarray(BoxMode.convert(list(annotation["bbox"]), mode, BoxMode.XYWH_ABS), float)
    return box if min(box[2:]) > 0 else None


def load_truth(dataset: str | os.PathLike[str]) -> TruthSet:
    """Find the truth that ``dataset`` means.

    Args:
        dataset: a name in Detectron2's ``DatasetCatalog`` (``cosal_X`` is registered on the way
            where ``DETECTRON2_DATASETS`` has it); or a COCO json, whose images need not be there;
            or a folder of masks, one an image, see :func:`.mask_pictures.read_truth`.

    Raises:
        FileNotFoundError: it is none of the three.
        ValueError: it has no image, or something in it cannot be read.
    """
    path = Path(dataset)
    name = os.fspath(dataset)
    if not name:
        raise FileNotFoundError("--dataset is empty; give a name, a json or a folder of masks")
    register_all_cosal()
    if name in DatasetCatalog:
        root = MetadataCatalog.get(name).get("image_root")
        truth = TruthSet(
            name, _relative(DatasetCatalog.get(name), root), Path(root) if root else None
        )
    elif path.is_dir():
        truth = _from_masks(path)
    elif path.is_file():
        truth = _from_json(path)
    else:
        check_dataset(name)
        check_registered([name])
    if not truth.records:
        raise ValueError(f"--dataset {name}: it has no image; give one that has")
    return truth


def _relative(
    records: list[dict[str, Any]], root: str | os.PathLike[str] | None
) -> tuple[dict[str, Any], ...]:
    """The records with file names relative to the folder of the images, or without a folder."""

    def name(file: str) -> str:
        relative = os.path.relpath(file, root) if root else os.path.basename(file)
        return PurePosixPath(*Path(relative).parts).as_posix()

    return tuple({**record, "file_name": name(str(record["file_name"]))} for record in records)


def _from_json(path: Path) -> TruthSet:
    image_root = path.with_suffix("")
    records = load_cosal_json(str(path), str(image_root))
    return TruthSet(
        path.stem, _relative(records, image_root), image_root if image_root.is_dir() else None
    )


def _from_masks(folder: Path) -> TruthSet:
    """A mask stands for an unknown number of objects, so it is a crowd."""
    records, notes, seen = [], [], {}
    paths = visible_files(folder)
    names = _picture_names([p for p in paths if p.suffix.lower() in PICTURE_SUFFIXES], folder)
    for path in paths:
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            notes.append(f"{path}: not a picture, no mask{unread_hint([path.suffix.lower()])}")
            continue
        relative = path.relative_to(folder)
        stem = relative.with_suffix("").as_posix()
        if stem in seen:
            raise ValueError(f"{seen[stem]} and {path} are two masks of one stem; keep one")
        seen[stem] = path
        mask, note = read_truth(path)
        if note:
            notes.append(f"{path}: {note}")
        crowd = {"segmentation": mask_rle(mask), "iscrowd": 1, "cosalient": True}
        records.append(
            {
                "file_name": names[path],
                "image_id": stem,
                "height": mask.shape[0],
                "width": mask.shape[1],
                "annotations": [crowd],
            }
        )
    return TruthSet(folder.resolve().name, tuple(records), None, tuple(notes))


def _picture_names(paths: Sequence[Path], folder: Path) -> dict[Path, str]:
    """The picture of each mask, such as ``a.png`` of ``a_mask.png``; the mask's own name where two
    would be of one picture."""
    names = {path: picture_name(path.relative_to(folder)) for path in paths}
    stems = Counter(name.with_suffix("") for name in names.values())
    return {
        path: (name if stems[name.with_suffix("")] == 1 else path.relative_to(folder)).as_posix()
        for path, name in names.items()
    }
