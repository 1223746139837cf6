"""A dataset named on a command line: registered, or a json beside its image folder."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from cosal_d2.data.datasets import check_registered, register_cosal_instances


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
