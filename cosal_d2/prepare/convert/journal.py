"""The note on each finished picture: a line of json texts that go into the dataset as they are.

A line holds, parted by tabs (json text has none), the picture's file name, its id or null, its
image entry, and for each annotation the category's name and the entry, both without what is only
known when all pictures are there. Of a picture that was left out it holds the reason and whether
it is faulty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cosal_d2.prepare.convert.entries import Entry, Skipped


@dataclass(frozen=True)
class Line:
    """A finished picture.

    Attributes:
        name: its file name.
        id: of its image entry; None where it has none yet.
        image: its entry without id, json text.
        annotations: category names and entries, json texts without ids of category and image.
    """

    name: str
    id: object
    image: str
    annotations: list[tuple[str, str]]


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def compact(value: object) -> str:
    """Json text without spaces."""
    return _encode(value)


def joined(first: str, second: str) -> str:
    """Two json objects that share no key, as one."""
    return second if first == "{}" else first if second == "{}" else f"{first[:-1]},{second[1:]}"


def skipped_line(skipped: Skipped) -> str:
    """The line on a picture that is left out."""
    return f"{compact(skipped.reason)}\t{compact(skipped.bad)}"


def entry_line(entry: Entry) -> str:
    """The line on a picture that is in place."""
    image = {**entry.image, "file_name": entry.name}
    parts = [compact(entry.name), compact(image.pop("id", None)), compact(image)]
    for annotation in entry.annotations:
        fields = dict(annotation)
        parts.append(compact(fields.pop("category")))
        if "id" in fields:
            fields = {"id": fields.pop("id"), **fields}
        parts.append(compact(fields))
    return "\t".join(parts)


def read_journal(file: Path) -> Iterator[Line | Skipped]:
    """The lines of a journal, one by one."""
    names: dict[str, str] = {}
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            parts = line.rstrip("\n").split("\t")
            if len(parts) == 2:
                yield Skipped(json.loads(parts[0]), json.loads(parts[1]))
                continue
            for text in parts[3::2]:
                if text not in names:
                    names[text] = json.loads(text)
            annotations = [(names[n], t) for n, t in zip(parts[3::2], parts[4::2], strict=True)]
            yield Line(json.loads(parts[0]), json.loads(parts[1]), parts[2], annotations)
