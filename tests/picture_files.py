"""Picture files as cameras, microscopes and drawing programs write them, which Pillow does not."""

import os
import struct
import zlib

import numpy as np

ODD = {
    **{"folder": "a folder", "gone": "a link to nowhere, which is not there"},
    **{"circle": "a link in a circle", "pipe": "a pipe, device or socket"},
    "null": "a pipe, device or socket",
}


def _chunk(kind, content):
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png16(values, *chunks):
    """A PNG of 16 bits of (H, W), or (H, W, 2 to 4) channels, with chunks (kind, content)."""
    height, width, *channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels[0] if channels else 1]
    rows = values.reshape(height, -1).astype(">u2")
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    content = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in content)


def tiff(values, *, order="<", inverted=False, tags=()):
    """An uncompressed TIFF of (H, W) or (H, W, 3 or 4) numbers.

    Args:
        values: integers or floats of any size.
        order: "<" or ">", of the bytes.
        inverted: whether 0 is white.
        tags: further ones, (number, "H" or "I" and a value, or "s" and bytes).
    """
    height, width, *channels = values.shape
    count = channels[0] if channels else 1
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    fields = {
        256: ("H", [width]),
        257: ("H", [height]),
        258: ("H", [8 * values.itemsize] * count),
        259: ("H", [1]),
        262: ("H", [2 if count > 2 else 1 - inverted]),
        273: ("I", [0]),
        277: ("H", [count]),
        278: ("H", [height]),
        279: ("I", [len(data)]),
        339: ("H", [kind] * count),
    }
    if count == 4:
        fields[338] = ("H", [2])
    fields |= {number: (kind, value if kind == "s" else [value]) for number, kind, value in tags}
    place = 8 + 2 + 12 * len(fields) + 4
    further = b""
    packed = {}
    for number, (kind, value) in sorted(fields.items()):
        content = value if kind == "s" else struct.pack(order + kind * len(value), *value)
        if len(content) > 4:
            packed[number] = struct.pack(order + "I", place + len(further))
            further += content + b"\0" * (len(content) % 2)
        else:
            packed[number] = content.ljust(4, b"\0")
    packed[273] = struct.pack(order + "I", place + len(further))
    entries = b"".join(
        struct.pack(order + "HHI", n, {"s": 2, "H": 3, "I": 4}[k], len(v)) + packed[n]
        for n, (k, v) in sorted(fields.items())
    )
    start = b"II" if order == "<" else b"MM"
    head = start + struct.pack(order + "HIH", 42, 8, len(fields))
    return head + entries + bytes(4) + further + data


def grey(values):
    return np.repeat(values[:, :, None], 3, axis=2)


def make_odd(path, kind):
    """What is named like a file but is none, of a kind of ``ODD``, in the place of a file."""
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"gone": "nowhere", "circle": path.name, "null": "/dev/null"}[kind])
