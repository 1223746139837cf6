"""PNG files written a few rows at a time, so that a large picture is never there twice."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import cv2
import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ROWS = 64  # that are compressed at once
COLOR_TYPES = {1: 0, 3: 2, 4: 6}  # of PNG, by channels
TO_RGB = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
SUB = 1  # PNG's filter of differences to the pixel on the left


def write_png_rows(file: BinaryIO, pixels: np.ndarray, after_header: bytes = b"") -> None:
    """Write a PNG of 8 bits a channel; it holds what ``cv2.imencode`` would give, which needs
    several copies in memory.

    Args:
        file: open for writing.
        pixels: uint8 grey (H, W), BGR (H, W, 3) or BGRA (H, W, 4).
        after_header: chunks that follow the header (:func:`chunk`).

    Raises:
        OSError: the file cannot take it.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    header = struct.pack(">IIBBBBB", width, height, 8, COLOR_TYPES[channels], 0, 0, 0)
    file.write(SIGNATURE + chunk(b"IHDR", header) + after_header)
    compressor = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    for first in range(0, height, ROWS):
        rows = np.ascontiguousarray(pixels[first : first + ROWS])
        if channels in TO_RGB:
            rows = cv2.cvtColor(rows, TO_RGB[channels])
        rows = rows.reshape(len(rows), -1)
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = SUB
        filtered[:, 1 : 1 + channels] = rows[:, :channels]
        np.subtract(rows[:, channels:], rows[:, :-channels], out=filtered[:, 1 + channels :])
        if packed := compressor.compress(filtered):
            file.write(chunk(b"IDAT", packed))
    file.write(chunk(b"IDAT", compressor.flush()) + chunk(b"IEND", b""))


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file, of a kind of four letters."""
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
