"""Registration of co-saliency datasets: COCO instance json files beside their image folders."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from glob import glob
from pathlib import PurePath
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from cosal_d2.data.lost_masks import LostMasks
from cosal_d2.utils.coco import DISTRACTOR, check_fields, drawable, id_order, load_coco
from cosal_d2.utils.image_paths import picture_path
from cosal_d2.utils.masks import to_rle
from cosal_d2.utils.pictures import picture_size
from cosal_d2.utils.size_limit import check_pixels

logger = logging.getLogger(__name__)


def register_cosal_instances(name: str, json_file: str, image_root: str) -> None:
    """Register a dataset in COCO instance format (polygon or RLE masks) under ``name``.

    Categories are free. One named ``distractor`` marks salient objects that are not co-salient. The
    file is read when the dataset is first used.

    Args:
        name: name in Detectron2's catalogs, for ``DATASETS.TRAIN`` and ``DATASETS.TEST``.
        json_file: the annotations.
        image_root: the folder that the json's ``file_name`` fields are relative to.
    """
    DatasetCatalog.register(name, lambda: load_cosal_json(json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=json_file, image_root=image_root, evaluator_type="cosal"
    )


def register_all_cosal(root: str | None = None) -> list[str]:
    """Register every ``X.json`` beside a folder ``X/`` in ``ROOT/cosal/`` as ``cosal_X``.

    Args:
        root: dataset root; ``$DETECTRON2_DATASETS``, or ``datasets``, when not given.

    Returns:
        the names registered now; a name that is taken already stays as it is.
    """
    root = root or os.getenv("DETECTRON2_DATASETS", "datasets")
    names = []
    for json_file in sorted(glob(os.path.join(os.path.expanduser(root), "cosal", "*.json"))):
        image_root = os.path.splitext(json_file)[0]
        name = "cosal_" + os.path.basename(image_root)
        if os.path.isdir(image_root) and name not in DatasetCatalog:
            register_cosal_instances(name, json_file, image_root)
            names.append(name)
    return names


def load_cosal_json(json_file: str, image_root: str, name: str | None = None) -> list[dict]:
    """Load annotations into Detectron2's dataset dicts.

    Beside Detectron2's fields a dict holds ``cosalient_category`` (str or None), ``clean`` and
    ``weak_masks`` (bool), and each annotation ``class_name``, its category; ``own_class``, which
    for a distractor is the json's ``class_name`` or else None; and ``cosalient``: whether it is
    part of the truth. A distractor never is; where ``cosalient_category`` is given only that class
    is; else every other class is.

    An annotation without a mask is left out with a warning. So is a picture that loses all of its
    co-salient objects so, as its empty truth would be false; one that loses a large object is not
    ``clean``. A ``height`` or ``width`` that is missing or 0 is the picture's.

    Args:
        json_file: the annotations.
        image_root: the folder that the json's ``file_name`` fields are relative to.
        name: name in Detectron2's catalogs, whose metadata get the classes; None registers nothing
            and accepts a missing image folder.

    Raises:
        FileNotFoundError: the json or the image folder is missing, or a picture whose size the json
            lacks.
        ValueError: the json lacks a field or has one that cannot be read, a picture lies outside
            the image folder, a ``category_id`` or
            ``cosalient_category`` names no category, or no annotation has a mask.
    """
    content = load_coco(json_file)
    if name and not os.path.isdir(image_root):
        raise FileNotFoundError(
            f"dataset {name}: no image folder {image_root} for {json_file}; put the pictures there"
        )
    check_fields(content, json_file, optional=("height", "width"))
    _check_references(content, json_file)
    classes = {c["id"]: c["name"] for c in sorted(content["categories"], key=id_order)}
    numbers = {number: i for i, number in enumerate(classes)} if name else {}
    if name:
        MetadataCatalog.get(name).set(
            thing_classes=list(classes.values()), thing_dataset_id_to_contiguous_id=numbers
        )
    own: dict[int | str, list[tuple[int, dict]]] = defaultdict(list)
    for i, annotation in enumerate(content["annotations"]):
        own[annotation["image_id"]].append((i, annotation))
    lost = LostMasks(json_file)
    records = []
    for image in sorted(content["images"], key=id_order):
        record = _image_record(image, image_root)
        group = record["cosalient_category"]
        if group is not None and group not in classes.values():
            raise ValueError(
                f"{json_file}: image {image['file_name']}: cosalient_category {group!r} is none of "
                f"the file's categories; add it to `categories` or correct the field"
            )
        without_mask = []
        for i, annotation in own[image["id"]]:
            label = classes[annotation["category_id"]]
            try:
                made = _annotation_record(annotation, record, label)
            except ValueError as error:
                raise ValueError(
                    f"{json_file}: annotations[{i}] of {image['file_name']}: {error}"
                ) from error
            made["category_id"] = numbers.get(annotation["category_id"], annotation["category_id"])
            if made["segmentation"] is None:
                without_mask.append((i, annotation, made["cosalient"]))
            else:
                record["annotations"].append(made)
        if lost.keep(record, without_mask):
            records.append(record)
    lost.warn(len(content["annotations"]))
    logger.info("%d images from %s", len(records), json_file)
    return records


def _image_record(image: dict, image_root: str) -> dict:
    file = os.fspath(picture_path(image_root, image["file_name"]))
    size = image.get("height"), image.get("width")
    height, width = size if all(size) else picture_size(file)
    try:
        check_pixels(height, width)
    except ValueError as error:
        raise ValueError(f"{file}: `height` {height} and `width` {width}: {error}") from error
    return {
        "file_name": file,
        "height": height,
        "width": width,
        "image_id": image["id"],
        "cosalient_category": image.get("cosalient_category"),
        "clean": bool(image.get("clean", True)),
        "weak_masks": bool(image.get("weak_masks", False)),
        "annotations": [],
    }


def _annotation_record(annotation: dict, record: dict, label: str) -> dict:
    """What a record holds of an annotation; ``segmentation`` is None where nothing can be drawn.

    Raises:
        ValueError: it is an RLE that cannot be read, or of another size than the picture.
    """
    segmentation = drawable(annotation["segmentation"])
    if isinstance(segmentation, dict):
        segmentation = to_rle(segmentation, record["height"], record["width"])
    group = record["cosalient_category"]
    return {
        "iscrowd": annotation.get("iscrowd") or 0,
        "bbox": annotation["bbox"],
        "bbox_mode": BoxMode.XYWH_ABS,
        "segmentation": segmentation,
        "own_class": annotation.get("class_name") if label == DISTRACTOR else label,
        "class_name": label,
        "cosalient": label != DISTRACTOR and group in (None, label),
    }


def _check_references(content: dict, json_file: str) -> None:
    known = {
        ("category_id", "categories"): {category["id"] for category in content["categories"]},
        ("image_id", "images"): {image["id"] for image in content["images"]},
    }
    for i, annotation in enumerate(content["annotations"]):
        for (field, part), ids in known.items():
            if annotation[field] not in ids:
                raise ValueError(
                    f"{json_file}: annotations[{i}] has the {field} {annotation[field]!r}, which "
                    f"is none of the file's {part}; add it to `{part}` or correct it"
                )


def check_registered(names: Sequence[str]) -> None:
    """Make sure that datasets are registered.

    Raises:
        ValueError: naming the first that is not, and where its files would have to be.
    """
    for name in names:
        if name not in DatasetCatalog:
            root = os.getenv("DETECTRON2_DATASETS", "datasets")
            part = name.removeprefix("cosal_")
            raise ValueError(
                f"no dataset {name!r}: put {part}.json beside a folder {part}/ into "
                f"{os.path.join(root, 'cosal')}, or set DETECTRON2_DATASETS to the root that has it"
            )


def dataset_name(name_or_json: str) -> str:
    """Name of a dataset in Detectron2's catalog; a json is registered under its own path.

    Args:
        name_or_json: a registered name, or a path ending in ``.json`` whose images lie in the
            folder of the same name beside it.

    Raises:
        FileNotFoundError: no such json, or no such folder beside it.
        ValueError: no such registered dataset.
    """
    if not name_or_json.lower().endswith(".json"):
        check_registered([name_or_json])
        return name_or_json
    path = os.path.abspath(name_or_json)
    folder = os.path.splitext(path)[0]
    if not os.path.isfile(path):
        raise FileNotFoundError(f"--dataset {name_or_json}: no such json file")
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"--dataset {name_or_json}: no folder {folder} with its images")
    if path not in DatasetCatalog:
        register_cosal_instances(path, path, folder)
    return path


def records_by_map_name(name: str) -> dict[str, dict[str, Any]]:
    """Dataset dicts by the name of their map, without suffix.

    That is the picture's name without folder and suffix, ``STEM``, or, in a dataset where two
    pictures share that, ``FOLDER/STEM`` as below the image folder.

    Raises:
        ValueError: the dataset is empty, or two pictures would have one map.
    """
    records = list(DatasetCatalog.get(name))
    if not records:
        raise ValueError(f"dataset {name}: it has no picture; nothing to do")
    root = MetadataCatalog.get(name).get("image_root", "")
    paths = [PurePath(record["file_name"]).with_suffix("") for record in records]
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [PurePath(os.path.relpath(path, root or None)).as_posix() for path in paths]
    result: dict[str, dict[str, Any]] = {}
    for map_name, record in zip(names, records, strict=True):
        if map_name in result:
            raise ValueError(
                f"{result[map_name]['file_name']} and {record['file_name']} would both have the "
                f"map {map_name}.png; rename one of them in the json and on disk"
            )
        result[map_name] = record
    return result
