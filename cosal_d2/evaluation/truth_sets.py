"""The truth of a dataset that is to be scored: a registered name, a json, or a folder of masks."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from pycocotools import mask as mask_util

from cosal_d2.data.datasets import check_registered, load_cosal_json, register_all_cosal
from cosal_d2.utils.pictures import read_grey

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm")


@dataclass(frozen=True)
class TruthSet:
    """Images to score, in order.

    Attributes:
        name: of the dataset, for tables.
        records: one dict an image, as :func:`.truth.decode_truth` takes it; ``file_name`` is
            relative to the folder of the images, with "/".
        image_root: the folder of the images; None where it is not known.
        notes: what was unusual while reading.
    """

    name: str
    records: tuple[Mapping[str, Any], ...]
    image_root: Path | None = None
    notes: tuple[str, ...] = ()


def load_truth(dataset: str | os.PathLike[str]) -> TruthSet:
    """Find the truth that ``dataset`` means.

    Args:
        dataset: a name in Detectron2's ``DatasetCatalog`` (``cosal_X`` is registered on the way
            where ``DETECTRON2_DATASETS`` has it); or a COCO json, whose images need not be there;
            or a folder of masks, one an image, white on black.

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
        truth = _from_catalog(name)
    elif path.is_dir():
        truth = _from_masks(path)
    elif path.is_file():
        truth = _from_json(path)
    elif path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(
            f"--dataset {name}: no such file or folder, and no registered dataset of that name"
        )
    else:
        check_registered([name])
    if not truth.records:
        raise ValueError(f"--dataset {name}: it has no image; give one that has")
    return truth


def _from_catalog(name: str) -> TruthSet:
    root = MetadataCatalog.get(name).get("image_root")
    records = []
    for record in DatasetCatalog.get(name):
        file_name = str(record["file_name"])
        relative = os.path.relpath(file_name, root) if root else os.path.basename(file_name)
        records.append({**record, "file_name": PurePosixPath(*Path(relative).parts).as_posix()})
    return TruthSet(name, tuple(records), Path(root) if root else None)


def _from_json(path: Path) -> TruthSet:
    image_root = path.with_suffix("")
    name = f"{path}:{uuid.uuid4().hex}"
    try:
        records = load_cosal_json(str(path), str(image_root), name, need_images=False)
    except UnicodeDecodeError as error:
        raise ValueError(f"--dataset {path} is no json file: {error}") from error
    finally:
        if name in MetadataCatalog.list():
            MetadataCatalog.remove(name)
    for record in records:
        relative = os.path.relpath(record["file_name"], image_root)
        record["file_name"] = PurePosixPath(*Path(relative).parts).as_posix()
    return TruthSet(path.stem, tuple(records), image_root if image_root.is_dir() else None)


def _from_masks(folder: Path) -> TruthSet:
    """A mask stands for an unknown number of objects, so it is a crowd."""
    records, notes, seen = [], [], {}
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    for path in paths:
        if path.suffix.lower() not in PICTURES:
            notes.append(f"{path}: not a picture, no mask")
            continue
        relative = path.relative_to(folder)
        stem = relative.with_suffix("").as_posix()
        if stem in seen:
            raise ValueError(f"{seen[stem]} and {path} are two masks of one stem; keep one")
        seen[stem] = path
        mask, note = _read_mask(path)
        if note:
            notes.append(note)
        records.append(
            {
                "file_name": relative.as_posix(),
                "image_id": stem,
                "height": mask.shape[0],
                "width": mask.shape[1],
                "annotations": [
                    {
                        "segmentation": mask_util.encode(np.asfortranarray(mask, dtype=np.uint8)),
                        "iscrowd": 1,
                        "cosalient": True,
                    }
                ],
            }
        )
    return TruthSet(folder.resolve().name, tuple(records), None, tuple(notes))


def _read_mask(path: Path) -> tuple[np.ndarray, str | None]:
    grey = read_grey(str(path))
    mask = grey > 128
    if not mask.any() and grey.any():
        note = f"{path}: no pixel above 128, so every pixel above 0 is taken as truth"
        return grey > 0, note
    return mask, None
