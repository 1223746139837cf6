"""Registration of co-saliency datasets: COCO instance json files beside their image folders."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from glob import glob

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json
from detectron2.utils.file_io import PathManager

from cosal_d2.utils.coco import DISTRACTOR

REQUIRED = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox", "segmentation"),
}


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


def load_cosal_json(
    json_file: str, image_root: str, name: str, *, need_images: bool = True
) -> list[dict]:
    """Load annotations into Detectron2's dataset dicts.

    Beside Detectron2's fields a dict holds ``cosalient_category`` (str or None) and ``clean``
    (bool), and each annotation ``class_name`` and ``cosalient``: whether it is part of the truth. A
    distractor never is; where ``cosalient_category`` is given only that class is; else every other
    class is.

    Args:
        json_file: the annotations.
        image_root: the folder that the json's ``file_name`` fields are relative to.
        name: name in Detectron2's catalogs, whose metadata get the classes.
        need_images: False accepts a missing image folder.

    Raises:
        FileNotFoundError: the json or the image folder is missing.
        ValueError: the json lacks a field, or a ``category_id`` or ``cosalient_category`` names no
            category.
    """
    if not PathManager.isfile(json_file):
        raise FileNotFoundError(
            f"dataset {name}: no annotation file {json_file}; is DETECTRON2_DATASETS right?"
        )
    if need_images and not PathManager.isdir(image_root):
        raise FileNotFoundError(f"dataset {name}: no image folder {image_root} beside {json_file}")
    extras, names = _read_extras(json_file)
    dicts = load_coco_json(json_file, image_root, name)
    classes = MetadataCatalog.get(name).thing_classes
    for record in dicts:
        extra = extras[record["image_id"]]
        group = extra.get("cosalient_category")
        if group is not None and group not in names:
            raise ValueError(
                f"{json_file}: image {extra['file_name']}: cosalient_category {group!r} is none of "
                f"the file's categories; add it to `categories` or correct the field"
            )
        record["cosalient_category"] = group
        record["clean"] = bool(extra.get("clean", True))
        for annotation in record["annotations"]:
            label = classes[annotation["category_id"]]
            in_group = label == group if group is not None else True
            annotation["class_name"] = label
            annotation["cosalient"] = label != DISTRACTOR and in_group
    return dicts


def _read_extras(json_file: str) -> tuple[dict[int, dict], set[str]]:
    try:
        with PathManager.open(json_file) as f:
            content = json.load(f)
    except json.JSONDecodeError as error:
        raise ValueError(f"{json_file} is not valid json: {error}") from error
    for field in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or field not in content:
            raise ValueError(
                f"{json_file}: the field `{field}` is missing; COCO instance format has `images`, "
                "`annotations` and `categories`"
            )
    for part, fields in REQUIRED.items():
        _check_fields(json_file, part, content[part], fields)
    _check_annotations(json_file, content)
    extras = {image["id"]: image for image in content["images"]}
    return extras, {category["name"] for category in content["categories"]}


def _check_fields(json_file: str, part: str, entries: list[dict], fields: Sequence[str]) -> None:
    seen: set[int] = set()
    for i, entry in enumerate(entries):
        for field in fields:
            if field not in entry:
                raise ValueError(f"{json_file}: {part}[{i}] has no `{field}`")
        if entry["id"] in seen:
            raise ValueError(
                f"{json_file}: {part}[{i}] repeats the id {entry['id']}; give each its own"
            )
        seen.add(entry["id"])


def _check_annotations(json_file: str, content: dict) -> None:
    known = {
        "category_id": {category["id"] for category in content["categories"]},
        "image_id": {image["id"] for image in content["images"]},
    }
    for i, annotation in enumerate(content["annotations"]):
        for field, ids in known.items():
            if annotation[field] not in ids:
                part = "categories" if field == "category_id" else "images"
                raise ValueError(
                    f"{json_file}: annotations[{i}] has the {field} {annotation[field]}, which is "
                    f"none of the file's {part}; add it to `{part}` or correct it"
                )
        box = annotation["bbox"]
        if not isinstance(box, (list, tuple)) or len(box) != 4:
            raise ValueError(
                f"{json_file}: annotations[{i}] has the bbox {box}; it needs x, y, "
                "width and height in pixels"
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
