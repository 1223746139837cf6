"""Maps of a classical method for a whole dataset, in worker processes."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from cosal_d2.paper.classical import METHODS, ClusterOptions, saliency
from cosal_d2.paper.map_folder import Work, open_folder, picture_of, write_map

WAITING = 3  # pictures in memory for each worker


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
    """Write ``STEM.png``, 8-bit grey at the picture's upright size, for each picture of a dataset.

    A map that is done already stays: a run that was stopped goes on. Each file appears once it is
    complete. The maps do not depend on the number of workers.

    Args:
        method: a key of :data:`cosal_d2.paper.classical.METHODS`.
        dataset: name in Detectron2's catalog.
        out: folder of the maps; ``.maps.json`` in it says what made them.
        seed: of CWS's k-means.
        workers: processes; None takes one for each core that this process may use.
        overwrite: make all maps anew.
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
    if workers is not None and workers < 1:
        raise ValueError(f"workers: {workers} processes asked for; give 1 or more")
    settings: dict[str, Any] = {"method": method}
    if method == "CWS":
        settings.update(asdict(ClusterOptions(seed=seed)))
    todo = open_folder(out, settings, dataset, overwrite)
    maps = _run(partial(saliency, method, seed), todo, min(workers or _cores(), len(todo) or 1))
    bar = tqdm(maps, total=len(todo), desc=method, unit="picture", disable=not progress)
    for path, cosal_map in bar:
        write_map(path, cosal_map)
    return len(todo)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _run(
    method: Callable[[np.ndarray], np.ndarray], todo: list[Work], workers: int
) -> Iterator[tuple[Path, np.ndarray]]:
    """Files and maps in order. Workers get pixels and need neither torch nor Detectron2."""
    if workers == 1:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield from ((path, method(picture_of(record))) for record, path in todo)
        finally:
            cv2.setNumThreads(threads)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)
    )
    waiting: deque[tuple[Path, Future]] = deque()
    try:
        for record, path in todo:
            if len(waiting) == WAITING * workers:
                path_done, future = waiting.popleft()
                yield path_done, future.result()
            waiting.append((path, pool.submit(method, picture_of(record))))
        while waiting:
            path_done, future = waiting.popleft()
            yield path_done, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
