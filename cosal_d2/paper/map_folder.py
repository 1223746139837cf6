"""A folder of maps, ``STEM.png``, that is filled by runs which may stop at any time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from cosal_d2.data.sources import records_by_map_name
from cosal_d2.utils.drawing import map_to_uint8
from cosal_d2.utils.files import write_bytes, write_json
from cosal_d2.utils.pictures import read_image

SETTINGS_FILE = ".maps.json"

Work = tuple[dict[str, Any], Path]


def open_folder(
    out: Path, settings: Mapping[str, Any], dataset: str, overwrite: bool = False
) -> list[Work]:
    """Claim a folder for the maps of a dataset and tell what is left to do.

    ``.maps.json`` in it says what made the maps, so that no run mixes two kinds. A map is done if
    it is whole, of its picture's size and not older than its picture.

    Args:
        out: the folder; made when missing.
        settings: plain values that the maps depend on.
        dataset: name in Detectron2's catalog.
        overwrite: make all maps anew, whatever the folder holds.

    Returns:
        dataset dict and file of each map that is not done.

    Raises:
        ValueError: the folder holds maps of other settings or of unknown ones, ``.maps.json`` is
            damaged, or the dataset is empty or gives two pictures one map.
    """
    records = records_by_map_name(dataset)
    settings = {**settings, "dataset": dataset}
    path = out / SETTINGS_FILE
    if not overwrite:
        _check(path, settings)
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, settings)
    work = [(record, out / f"{name}.png") for name, record in records.items()]
    return [(record, file) for record, file in work if overwrite or not _is_done(file, record)]


def picture_of(record: Mapping[str, Any]) -> np.ndarray:
    """A record's picture, uint8 BGR (H, W, 3), upright.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read, or has another size than the json says.
    """
    name, size = record["file_name"], (record["height"], record["width"])
    image = read_image(name)
    if image.shape[:2] != size:
        raise ValueError(
            f"{name}: the picture is {image.shape[0]}x{image.shape[1]} upright, but its json says "
            f"{size[0]}x{size[1]}; correct its `height` and `width`"
        )
    return image


def write_map(path: Path, cosal_map: np.ndarray) -> None:
    """Write a map, float (H, W) in [0, 1], as 8-bit grey PNG, round(255 p), atomically."""
    done, data = cv2.imencode(".png", map_to_uint8(cosal_map))
    if not done:
        raise OSError(f"{path}: OpenCV could not encode the map as PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data.tobytes())


def _check(path: Path, settings: Mapping[str, Any]) -> None:
    advice = "give another folder, remove this one, or (baselines.py) --overwrite to make maps anew"
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is not valid json: {error}; {advice}") from error
        if found != settings:
            raise ValueError(
                f"{path}: the folder's maps were made with {found}, not {settings}; {advice}"
            )
    elif any(path.parent.rglob("*.png")):
        raise ValueError(
            f"{path.parent} holds .png files but no {SETTINGS_FILE} that says what made them; "
            f"{advice}"
        )


def _is_done(path: Path, record: Mapping[str, Any]) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
            whole = image.mode == "L" and image.size == (record["width"], record["height"])
        return whole and path.stat().st_mtime >= os.stat(record["file_name"]).st_mtime
    except (OSError, SyntaxError):
        return False
