"""Folders of maps, ``STEM.png``: of a classical method, a network or anything else, for a whole
dataset.

A run that was stopped goes on; ``.maps.json`` in the folder says what made its maps, so that no run
mixes two kinds, and how long one took.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager
from tqdm import tqdm

from cosal_d2.data.datasets import records_by_map_name
from cosal_d2.engine.checkpoint import released_weights
from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.paper.classical import METHODS
from cosal_d2.utils.drawing import map_to_uint8
from cosal_d2.utils.files import check_apart, write_json
from cosal_d2.utils.mask_pictures import read_grey
from cosal_d2.utils.parallel import ordered_map, worker_count
from cosal_d2.utils.pictures import read_image, write_png

SETTINGS_FILE = ".maps.json"
SECONDS = "seconds"  # its key for the median time of a map
# From a picture, uint8 BGR (H, W, 3), to its map, float (H, W) in [0, 1].
MapFunction = Callable[[np.ndarray], np.ndarray]


def write_baseline_maps(
    method: str,
    dataset: str,
    out: Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> int:
    """Write the maps of a classical method, 8-bit grey at the pictures' upright size.

    The maps do not depend on the number of workers, which get pixels and load no torch.

    Args:
        method: a key of :data:`cosal_d2.paper.classical.METHODS`.
        dataset: name in Detectron2's catalog.
        out: folder of the maps.
        seed: of CWS's k-means.
        workers: processes; None takes one for each core that this process may use.
        overwrite: make all maps anew, whatever the folder holds.
        progress: show a progress bar.

    Returns:
        Number of maps written now.

    Raises:
        ValueError: no such method, ``workers`` or ``seed`` out of range, the dataset is empty or
            gives two pictures one map, a picture cannot be read or has another size than the json
            says, or ``out`` holds maps of other settings.
        FileNotFoundError: the dataset's files or a picture are missing.
    """
    if method not in METHODS:
        raise ValueError(f"no baseline {method!r}; there are {', '.join(METHODS)}")
    if not 0 <= seed < 2**31:
        raise ValueError(f"seed is {seed}; give 0 to 2147483647")
    workers = worker_count(workers)
    options = {"seed": seed} if method == "CWS" else {}
    function = partial(METHODS[method], **options)
    settings = {"method": method, **options}
    make = partial(ordered_map, partial(_timed, function), workers=workers, chunk=1)
    return _fill_folder(out, settings, dataset, make, overwrite, progress)


def write_network_maps(cfg: CfgNode, dataset: str, out: Path, *, progress: bool = False) -> int:
    """Write the maps of a network, with its weights, as :func:`write_maps` does.

    Raises:
        ValueError: the weights do not fit, a picture cannot be read, or ``out`` holds maps of
            another network.
        FileNotFoundError: weights or pictures are missing.
    """

    def build() -> MapFunction:
        predictor = CoSaliencyPredictor(cfg)
        return lambda picture: predictor(picture).map

    return write_maps({"network": network_digest(cfg)}, build, dataset, out, progress=progress)


def write_maps(
    settings: dict[str, Any],
    build: Callable[[], MapFunction],
    dataset: str,
    out: Path,
    *,
    progress: bool = False,
) -> int:
    """Write the maps of a dataset that a function makes, one after the other, 8-bit grey at the
    pictures' upright size.

    Args:
        settings: plain values that the maps depend on.
        build: gives the function; called only if a map is missing.
        dataset: name in Detectron2's catalog.
        out: folder of the maps.
        progress: show a progress bar.

    Returns:
        Number of maps written now.

    Raises:
        ValueError: a picture cannot be read, or ``out`` holds maps of other settings.
        FileNotFoundError: pictures are missing.
    """

    def make(pictures: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, float]]:
        return map(partial(_timed, build()), pictures)

    return _fill_folder(out, settings, dataset, make, False, progress)


def seconds_per_map(out: Path) -> float | None:
    """Median time in which a map of a folder was made; None where nothing says so."""
    path = out / SETTINGS_FILE
    return json.loads(path.read_text(encoding="utf-8")).get(SECONDS) if path.is_file() else None


def _timed(function: MapFunction, picture: np.ndarray) -> tuple[np.ndarray, float]:
    """A picture's map, and the seconds that it took."""
    start = time.perf_counter()
    found = function(picture)
    return found, time.perf_counter() - start


def weights_digest(cfg: CfgNode) -> str:
    """sha256 of the file that the network would load.

    Raises:
        ValueError: the config names no weights.
        FileNotFoundError: there is no such file.
    """
    path = released_weights(cfg)
    if not PathManager.isfile(path):
        raise FileNotFoundError(f"no weights at {path}: give a checkpoint file")
    with PathManager.open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def network_digest(cfg: CfgNode) -> str:
    """sha256 of the weights and of the config but ``MODEL.WEIGHTS`` and ``OUTPUT_DIR``."""
    plain = cfg.clone()
    plain.defrost()
    plain.MODEL.WEIGHTS = plain.OUTPUT_DIR = ""
    return hashlib.sha256(f"{weights_digest(cfg)}\n{plain.dump()}".encode()).hexdigest()


def picture_of(record: Mapping[str, Any]) -> np.ndarray:
    """A record's picture, uint8 BGR (H, W, 3), upright.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read, or has another size than the json says.
    """
    image = read_image(record["file_name"])
    if image.shape[:2] != (record["height"], record["width"]):
        raise ValueError(
            f"{record['file_name']}: the picture is {image.shape[0]}x{image.shape[1]} upright, but "
            f"its json says {record['height']}x{record['width']}; correct its `height` and `width`"
        )
    return image


def _fill_folder(
    out: Path,
    settings: dict[str, Any],
    dataset: str,
    make: Callable[[Iterator[np.ndarray]], Iterator[tuple[np.ndarray, float]]],
    overwrite: bool,
    progress: bool,
) -> int:
    """Write the maps that are missing, damaged or of another size than their picture.

    Args:
        out: the folder; made when missing.
        settings: plain values that the maps depend on.
        dataset: name in Detectron2's catalog.
        make: from the pictures to maps, float (H, W) in [0, 1], with the seconds that each took,
            in order.
        overwrite: make all maps anew.
        progress: show a progress bar.
    """
    records = records_by_map_name(dataset)
    settings = {**settings, "dataset": dataset}
    seconds = None if overwrite else _check_settings(out, settings)
    files = {out / f"{name}.png": record for name, record in records.items()}
    check_apart(files, (record["file_name"] for record in records.values()))
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / SETTINGS_FILE, settings | ({SECONDS: seconds} if seconds else {}))
    todo = {f: record for f, record in files.items() if overwrite or not _is_done(f, record)}
    if todo:
        maps = make(map(picture_of, todo.values()))
        bar = tqdm(todo, desc=out.name, unit="picture", disable=None if progress else True)
        times = []
        for file, (cosal_map, taken) in zip(bar, maps, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_png(file, map_to_uint8(cosal_map))
            times.append(taken)
        write_json(out / SETTINGS_FILE, settings | {SECONDS: round(median(times), 4)})
    return len(todo)


def _check_settings(out: Path, settings: Mapping[str, Any]) -> float | None:
    """Refuse a folder of other maps; of one that has some, the seconds a map."""
    path = out / SETTINGS_FILE
    advice = "give another folder, remove this one, or `cosal paper baselines --overwrite`"
    if not path.exists():
        if any(out.rglob("*.png")):
            raise ValueError(
                f"{out} holds .png files but no {SETTINGS_FILE} that says what made them; {advice}"
            )
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    seconds = found.pop(SECONDS, None)
    if found != settings:
        raise ValueError(
            f"{path}: the folder's maps were made with {found}, not {settings}; {advice}"
        )
    return seconds


def _is_done(file: Path, record: Mapping[str, Any]) -> bool:
    try:
        return read_grey(file).shape == (record["height"], record["width"])
    except (FileNotFoundError, ValueError):
        return False
