"""A dataset named on a command line: registered, or a json beside its image folder."""

from __future__ import annotations

import os
from typing import Any

from detectron2.data import DatasetCatalog

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


def records_by_stem(name: str) -> dict[str, dict[str, Any]]:
    """Dataset dicts by their picture's name without folder and suffix.

    Raises:
        ValueError: the dataset is empty, or two pictures share a stem, so that their maps would
            have one name.
    """
    records: dict[str, dict[str, Any]] = {}
    for record in DatasetCatalog.get(name):
        stem = os.path.splitext(os.path.basename(record["file_name"]))[0]
        if stem in records:
            raise ValueError(
                f"{records[stem]['file_name']} and {record['file_name']} would both have the map "
                f"{stem}.png; rename one of them in the json and on disk"
            )
        records[stem] = record
    if not records:
        raise ValueError(f"dataset {name}: `images` is empty; nothing to do")
    return records
