"""Files as disks, networks, other programs and people leave them: changed at random."""

from __future__ import annotations

import contextlib
import json
import os
import random
import struct
import zlib
from pathlib import Path

TEXTS = (".json", ".txt", ".yaml", ".xml")
NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
ODD_VALUES = (
    *(None, True, False, 0, -1, 1, 2, 3, 0.5, -0.5, 1.0, 1e9, 1e300, -1e300, 2**31, 2**63, 10**30),
    *(float("nan"), float("inf"), -float("inf"), "", " ", "0", "1", "1.0", "-1", "true", "nan"),
    *("x", "distractor", "object", "a.png", "b.png", "../a.png", "/etc/passwd", "a\0b", "\ud800"),
    *("é", "e\u0301", "a\\b.png", "a\nb", "%20", "x" * 300, "C:\\a.png", "."),
    *([], {}, [[]], [None], [0], [1, 2, 3], [[1, 2, 3, 4, 5, 6]], [0, 0, 10, 10], {"size": [1, 1]}),
    *({"size": [24, 32], "counts": "0"}, {"size": [24, 32], "counts": [768]}, {"counts": []}),
    *([0.0] * 8, [5, 5, 5, 5, 5, 5], [1e300] * 6, [[0, 0], [9, 0], [9, 9]], [[3, 3]]),
)
ODD_WORDS = (
    *(
        "",
        "0",
        "-1",
        "1",
        "2",
        "0.5",
        "1.5",
        "1e9",
        "nan",
        "inf",
        "-0.0",
        "x",
        "é",
        "1,5",
        "٣",
        "\0",
    ),
    *("NaN", "1e-400", "0x10", "1_0", "99999999999999999999", "\t", "\r", "\u2028", "\ufeff", "#"),
)
ENCODINGS = ("utf-16", "utf-8-sig", "utf-16-le", "latin-1", "cp1252", "utf-32", "gbk")


def damage_file(path: Path, rng: random.Random) -> None:
    """Change one file; what suits its kind, or its bytes, or the file itself."""
    chance = rng.random()
    if chance < 0.08:
        _misplace(path, rng)
        return
    change = damage_json if path.suffix == ".json" else damage_text
    if chance < 0.75 and path.suffix in TEXTS:
        with contextlib.suppress(ValueError):  # it was damaged before, and is no such text
            change(path, rng)
            return
    damage_bytes(path, rng)


def damage_folder(folder: Path, rng: random.Random) -> None:
    """Change one to three of its files, those that are read first more often."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    texts = [p for p in files if p.suffix in TEXTS]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(texts if texts and rng.random() < 0.7 else files)
        if path.is_file() and not path.is_symlink():
            damage_file(path, rng)


def damage_bytes(path: Path, rng: random.Random) -> None:
    """Cut, overwrite, insert, repeat or flip; of a PNG, mostly with checksums that are right."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        if not content:
            break
        # Headers matter more than pixels.
        start = rng.randrange(min(len(content), rng.choice((16, 64, 256, len(content)))))
        end = min(len(content), start + rng.choice((1, 2, 4, 16, 256)))
        match rng.randrange(8):
            case 0:
                del content[rng.randrange(len(content)) :]
            case 1:
                content[start:end] = bytes(end - start)
            case 2:
                content[start:end] = rng.randbytes(end - start)
            case 3:
                del content[start:end]
            case 4:
                content[start:start] = content[start:end]
            case 5:
                value, kind = rng.choice(NUMBERS), rng.choice(["<H", ">H", "<I", ">I", "B"])
                size = struct.calcsize(kind)
                content[start : start + size] = struct.pack(kind, value % 256**size)
            case _:
                content[start] ^= 1 << rng.randrange(8)
    if content.startswith(b"\x89PNG") and rng.random() < 0.8:
        content = _with_checksums(content)
    path.write_bytes(content)


def _with_checksums(content: bytearray) -> bytearray:
    place = 8
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            break
        struct.pack_into(">I", content, end, zlib.crc32(content[place + 4 : end]))
        place = end + 4
    return content


def damage_json(path: Path, rng: random.Random) -> None:
    """Change values, keys and order somewhere in a json; at times its encoding."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = _changed(content, rng)
    text = json.dumps(content, ensure_ascii=rng.random() < 0.5)
    encoding = rng.choice(ENCODINGS) if rng.random() < 0.05 else "utf-8"
    path.write_bytes(text.encode(encoding, "replace"))


def _changed(node: object, rng: random.Random, depth: int = 0) -> object:
    """A json value with one change, in it or of it as a whole."""
    inner = isinstance(node, (dict, list)) and bool(node)
    if not inner or (rng.random() < 0.25 if depth else rng.random() < 0.01):
        return _replaced(node, rng)
    keys = list(node) if isinstance(node, dict) else range(len(node))
    key = rng.choice(keys)
    match rng.randrange(12):
        case 0:
            del node[key]
        case 1 if isinstance(node, dict):
            node[rng.choice((*keys, f"{key} ", key.upper(), "extra"))] = node[key]
        case 1:
            node.insert(rng.randrange(len(node) + 1), node[key])
        case 2 if isinstance(node, list):
            rng.shuffle(node)
        case 3:
            node[key] = node[rng.choice(keys)]
        case _:
            node[key] = _changed(node[key], rng, depth + 1)
    return node


def _replaced(node: object, rng: random.Random) -> object:
    if isinstance(node, (int, float)) and not isinstance(node, bool) and rng.random() < 0.5:
        return rng.choice(
            (str(node), float(node), -node, node + 1, node * 1000, [node], node + 0.5)
        )
    if isinstance(node, str) and node and rng.random() < 0.5:
        start = rng.randrange(len(node))
        return rng.choice(
            (node.upper(), f" {node}", node[:start], node[start:], node * 2, [node], {node: 1})
        )
    value = rng.choice(ODD_VALUES)
    return json.loads(json.dumps(value))  # a copy


def damage_text(path: Path, rng: random.Random) -> None:
    """Change words and lines; at times the encoding."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not lines:
            lines = [""]
        place = rng.randrange(len(lines))
        words = lines[place].split(" ")
        word = rng.randrange(len(words))
        match rng.randrange(8):
            case 0:
                del lines[place]
                continue
            case 1:
                lines.insert(place, lines[place])
                continue
            case 2:
                del words[word]
            case 3:
                words.insert(word, rng.choice(words))
            case 4:
                words[word] = "".join(rng.sample(words[word], len(words[word])))
            case _:
                words[word] = rng.choice(ODD_WORDS)
        lines[place] = " ".join(words)
    encoding = rng.choice(ENCODINGS) if rng.random() < 0.05 else "utf-8"
    end = rng.choice(("\n", "\n", "\r\n", "\r", ""))
    path.write_bytes((end.join(lines) + end).encode(encoding, "replace"))


def _misplace(path: Path, rng: random.Random) -> None:
    """Nothing, a folder, a link to nowhere or to itself, another file, or another name."""
    content = path.read_bytes()
    path.unlink()
    others = sorted(p for p in path.parent.iterdir() if p.is_file())
    match rng.randrange(8):
        case 0:
            path.write_bytes(b"")
        case 1:
            path.mkdir()
        case 2:
            path.symlink_to(path.name)
        case 3:
            path.symlink_to("nowhere")
        case 4 if others:
            path.write_bytes(rng.choice(others).read_bytes())
        case 5:
            path.with_name(f"{path.name}.{rng.choice(('part', 'bak', 'jpg', 'png'))}").write_bytes(
                content
            )
        case 6:
            name = os.fsencode(path.stem) + b"\xb0\xa1" + os.fsencode(path.suffix)
            path.with_name(os.fsdecode(name)).write_bytes(content)
        case _:
            return
