"""Whether all pictures of a training are there, before it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from cosal_d2.data.datasets import check_registered

THREADS = 16  # they wait for the file system
SHOWN = 5


def datasets_beside_training(cfg: CfgNode) -> dict[str, list[dict]]:
    """Dataset dicts by name, of ``DATASETS.TEST`` and of the single objects of composites.

    Raises:
        ValueError: one is not registered, or its json is unusable.
        FileNotFoundError: its json or its image folder is missing.
    """
    composites = cfg.INPUT.COMPOSITES
    singles = composites.SINGLES if composites.PROB > 0 or composites.PASTE_PROB > 0 else ()
    names = dict.fromkeys([*cfg.DATASETS.TEST, *singles])
    for key, known in (("DATASETS.TEST", cfg.DATASETS.TEST), ("INPUT.COMPOSITES.SINGLES", singles)):
        try:
            check_registered(known)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
    return {name: DatasetCatalog.get(name) for name in names}


def check_pictures(records: Mapping[str, Sequence[dict]]) -> dict[str, int]:
    """Look for all pictures at once, in threads, without reading them.

    Args:
        records: dataset dicts by the name of what they are part of, for the message.

    Returns:
        the size of each picture in bytes, by its path, in the order of the records.

    Raises:
        FileNotFoundError: with the number of pictures that are missing, empty or no files, and the
            first few of them.
    """
    sizes: dict[str, int] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for name, part in records.items():
            paths = list(dict.fromkeys(record["file_name"] for record in part))
            found = dict(zip(paths, pool.map(_size, paths), strict=True))
            lost = [path for path, size in found.items() if size == 0]
            if lost:
                more = f" and {len(lost) - SHOWN:,} more" if len(lost) > SHOWN else ""
                raise FileNotFoundError(
                    f"{len(lost):,} of the {len(paths):,} pictures of {name} are missing or empty: "
                    f"{', '.join(lost[:SHOWN])}{more}; put them there, or take them out of the json"
                )
            sizes |= found
    return sizes


def _size(path: str) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return os.path.getsize(path) if os.path.isfile(path) else 0
    except OSError:
        return 0
