"""Pictures' files that nobody means well with."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def picture(kind="PNG", size=(48, 32)):
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def png(width, height, *chunks, bits=8, colour=2):
    """A PNG of a declared size with given chunks."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def bad_files():
    """Contents that are no picture, or no good one."""
    zeros = zlib.compress(bytes(2**24))
    whole = {kind: picture(kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")}
    yield from (b"", b"\0", b"hello", b"{}", b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF0000WEBP")
    yield b"<html><script>alert(1)</script></html>"
    yield b'<svg xmlns="http://www.w3.org/2000/svg" width="9e9" height="9e9"><script/></svg>'
    yield b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><svg>&e;</svg>'
    yield b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n"
    yield b"%PDF-1.7\n" + bytes(100)
    yield b"\x7fELF" + bytes(500)
    yield b"PK\x03\x04" + bytes(500)
    yield b"8BPS\0\1" + bytes(500)
    yield b"\0\0\0\x18ftypmp42" + bytes(500)
    yield b"push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 'https://x/'\n"
    for content in whole.values():
        yield from (content[: len(content) * share // 100] for share in (5, 50, 95))
    damaged = bytearray(whole["PNG"])
    damaged[40:60] = bytes(20)
    yield bytes(damaged)
    yield png(50000, 50000, (b"IDAT", zeros))
    yield png(8000, 8000, (b"IDAT", zlib.compress(bytes(1001 * 8000))), bits=1, colour=0)
    yield png(5000, 6000, (b"IDAT", zeros))
    yield png(2**31 - 1, 2**31 - 1)
    yield png(0, 9)
    yield png(9, 9, (b"IDAT", b"nothing"))
    yield whole["GIF"][:6] + b"\xff" * 4 + whole["GIF"][10:]
    yield whole["BMP"][:18] + struct.pack("<ii", 10**6, 10**6) + whole["BMP"][26:]
    jpeg = bytearray(whole["JPEG"])
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = b"\xff\xdc\xff\xdc"
    yield bytes(jpeg)
    yield bytes(jpeg[:-2])


def heavy_files():
    """Small pictures that come with much else."""
    zeros, pixels = zlib.compress(bytes(2**24)), (b"IDAT", zlib.compress(bytes(28 * 9)))
    yield png(9, 9, (b"zTXt", b"k\0\0" + zeros), pixels)
    yield png(9, 9, (b"iCCP", b"k\0\0" + zeros), pixels)
    yield png(9, 9, *[(b"zTXt", b"k\0\0" + zeros)] * 5, pixels)
