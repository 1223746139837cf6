"""Names of the files of a prediction, and the mark by which its pictures are known."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from cosal_d2.utils.files import replacing
from cosal_d2.utils.png import chunk, write_png_rows

PNG_HEADER = 33  # bytes of a PNG's signature and its chunk IHDR
# Follows them in every picture that is written here, so that none is taken for an input later.
MARK = chunk(b"tEXt", b"Software\0cosal predict")
RESULT_NAME = re.compile(r"(?P<stem>.+)_(map|mask|overlay|cutout|object_\d{2,})\.png", re.I | re.S)
COCO_FILE, RECORDS_FILE, COUNTS_FILE = "objects.json", "objects.jsonl", "counts.csv"
RUN_FILES = (COCO_FILE, RECORDS_FILE, COUNTS_FILE)


def write_result(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG with the mark of a result; it replaces a former result as a whole.

    Args:
        path: of the file, with a result's name.
        pixels: uint8 grey (H, W), BGR (H, W, 3) or BGRA (H, W, 4).

    Raises:
        FileExistsError: there is a file of that name which is no result.
        OSError: it cannot be written.
    """
    if path.exists() and not is_result(path):
        raise FileExistsError(
            f"{path} was not written by this command; move it away, or give another folder"
        )
    with replacing(path) as temporary, open(temporary, "wb") as file:
        write_png_rows(file, pixels, MARK)


def is_result(path: str | os.PathLike) -> bool:
    """Whether a file is a result of :func:`write_result`, by its name and its mark."""
    if not (RESULT_NAME.fullmatch(os.path.basename(path)) and os.path.isfile(path)):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(PNG_HEADER + len(MARK))[PNG_HEADER:] == MARK
    except OSError:
        return False
