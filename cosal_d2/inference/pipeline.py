"""From files of pictures to files of maps and overlays."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cosal_d2.utils.drawing import draw_overlay, map_to_uint8
from cosal_d2.utils.pictures import PICTURE_SUFFIXES, read_image, write_png


def find_pictures(inputs: Iterable[str], output: str) -> list[str]:
    """Expand files, folders and glob patterns into picture paths, sorted within each.

    Args:
        inputs: of the command line; a file is taken whatever its suffix.
        output: folder of the results, which need not exist yet.

    Raises:
        FileNotFoundError: an input matches nothing.
        ValueError: two pictures share a stem, so that one result would overwrite the other, or a
            result would overwrite a picture.
    """
    paths: dict[str, None] = {}
    for entry in inputs:
        if os.path.isfile(entry):
            found = [entry]
        else:
            pattern = os.path.join(glob.escape(entry), "*") if os.path.isdir(entry) else entry
            found = sorted(
                path
                for path in glob.glob(pattern, recursive=True)
                if path.lower().endswith(PICTURE_SUFFIXES) and not os.path.isdir(path)
            )
        if not found:
            raise FileNotFoundError(f"--input {entry}: no such picture, or none in it")
        paths.update(dict.fromkeys(found))
    owners: dict[str, str] = {}
    inodes = {_inode(path): path for path in paths if os.path.exists(path)}
    for path in paths:
        results = result_paths(path, output)
        name = results[0].name
        if name in owners:
            raise ValueError(
                f"{owners[name]} and {path} would both be written as {name}; rename one, or give "
                "them in two runs with two outputs"
            )
        owners[name] = path
        for result in results:
            if result.exists() and _inode(result) in inodes:
                raise ValueError(
                    f"the result of {path} would overwrite {inodes[_inode(result)]}, which is an "
                    "--input too; give another --output"
                )
    return list(paths)


def _inode(path: str | os.PathLike) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def result_paths(path: str, output: str) -> tuple[Path, Path]:
    """``OUTPUT/STEM_map.png`` and ``OUTPUT/STEM_overlay.png`` of a picture."""
    stem = os.path.splitext(os.path.basename(path))[0]
    return Path(output, f"{stem}_map.png"), Path(output, f"{stem}_overlay.png")


def predict_pictures(
    predictor: Callable[[np.ndarray], np.ndarray],
    paths: Sequence[str],
    output: str,
    threshold: float | None = None,
) -> list[str]:
    """Write ``STEM_map.png`` and ``STEM_overlay.png`` for each picture.

    The map is 8-bit grey at the picture's upright size, round(255 p). A picture that cannot be read
    is named on stderr and left out.

    Args:
        predictor: gives a float32 map (H, W) in [0, 1] of a uint8 BGR picture (H, W, 3), as
            :class:`cosal_d2.inference.CoSaliencyPredictor` does.
        paths: from :func:`find_pictures`.
        output: folder of the results; made when missing.
        threshold: when given, maps are binary: 255 where p reaches it, 0 elsewhere.

    Returns:
        the pictures that were left out.

    Raises:
        OSError: a result cannot be written.
    """
    os.makedirs(output, exist_ok=True)
    left_out = []
    for path in tqdm(paths, unit="picture", disable=None):
        try:
            image = read_image(path)
        except (OSError, ValueError) as error:
            tqdm.write(f"left out: {error}", file=sys.stderr)
            left_out.append(path)
            continue
        cosal_map = predictor(image).map
        if threshold is not None:
            cosal_map = (cosal_map >= threshold).astype(np.float32)
        map_path, overlay_path = result_paths(path, output)
        write_png(map_path, map_to_uint8(cosal_map))
        write_png(overlay_path, draw_overlay(image, cosal_map))
    return left_out
