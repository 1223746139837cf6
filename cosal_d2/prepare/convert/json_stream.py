"""Reading the entries of a large COCO json one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

CHUNK = 1 << 20  # characters
MAX_ENTRY = 1 << 28  # characters: no single value is longer
SPACE = " \t\r\n"


class _Reader:
    """Values of a json text that is never held as a whole."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self.file, self.path = file, path
        self.text, self.position, self.ended = "", 0, False
        self.decode = json.JSONDecoder().raw_decode

    def _more(self) -> None:
        kept = self.text[self.position :]
        new = self.file.read(max(CHUNK, len(kept)))
        self.ended = not new
        self.text, self.position = kept + new, 0

    def fail(self, what: str) -> ValueError:
        return ValueError(f"{self.path} is not valid json: {what}; is the file complete?")

    def peek(self) -> str:
        """The next character that is no space."""
        while True:
            while self.position < len(self.text) and self.text[self.position] in SPACE:
                self.position += 1
            if self.position < len(self.text):
                return self.text[self.position]
            self._more()
            if self.ended:
                raise self.fail("it ends too early")

    def take(self, wanted: str) -> str:
        """The next character, which must be one of `wanted`."""
        found = self.peek()
        if found not in wanted:
            raise self.fail(f"{found!r} where one of {wanted!r} should be")
        self.position += 1
        return found

    def value(self) -> tuple[object, str]:
        """The next value and its text."""
        self.peek()
        while True:
            try:
                value, end = self.decode(self.text, self.position)
                if end < len(self.text) or self.ended:
                    text = self.text[self.position : end]
                    self.position = end
                    return value, text
            except json.JSONDecodeError as error:
                if self.ended or len(self.text) - self.position > MAX_ENTRY:
                    raise self.fail(error.msg) from error
            self._more()


def stream_json(path: Path, arrays: tuple[str, ...]) -> Iterator[tuple[str, object, str]]:
    """Go through a json object: each entry of the named arrays, and every other value as a whole.

    Args:
        path: the file, UTF-8.
        arrays: keys of arrays whose entries come one by one.

    Yields:
        key, value and the value's text, in the order of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not valid json, or no object.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give a COCO instance json to --json")
    with path.open(encoding="utf-8-sig") as file:
        reader = _Reader(file, path)
        try:
            yield from _members(reader, arrays)
        except UnicodeDecodeError as error:
            raise reader.fail(str(error)) from error


def _members(reader: _Reader, arrays: tuple[str, ...]) -> Iterator[tuple[str, object, str]]:
    reader.take("{")
    if reader.peek() == "}":
        return
    while True:
        key, _ = reader.value()
        reader.take(":")
        if key in arrays and reader.peek() == "[":
            reader.take("[")
            if reader.peek() == "]":
                reader.take("]")
            else:
                separator = ","
                while separator == ",":
                    yield key, *reader.value()
                    separator = reader.take(",]")
        else:
            yield key, *reader.value()
        if reader.take(",}") == "}":
            return
