"""A text file that grows by one line at a time and survives a kill."""

from __future__ import annotations

import csv
import errno
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from cosal_d2.utils.files import replacing, write_bytes


class Journal:
    """A text file that grows by one line a picture and survives a kill at any time.

    Of two lines of one picture the last counts; the first is gone after :meth:`close`.

    Attributes:
        values: what ``read`` gave of the line of each key.
    """

    def __init__(
        self, path: Path, header: str, read: Callable[[str], tuple[str, int]], keep: bool
    ) -> None:
        """
        Args:
            path: of the file.
            header: its first line, by which a file of others is known.
            read: key and value of a line; a line on which it raises is damaged, and dropped.
            keep: keep the lines of an earlier run.

        Raises:
            ValueError: there is a file of that name which is no such journal.
        """
        self.path = path
        self.values: dict[str, int] = {}
        self._header = f"{header}\n".encode()
        self._read = read
        self._untidy = False
        first = next(self._lines(), b"") if path.exists() else b""
        if first not in (b"", self._header):
            raise ValueError(
                f"{path} was not written by this command; move it away, or give another folder"
            )
        if keep and first:
            self._load()
        else:
            write_bytes(path, self._header)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115

    def append(self, key: str, line: str, value: int) -> None:
        """Add a picture's line, wholly or not at all.

        Raises:
            OSError: it cannot be written.
        """
        content = f"{line}\n".encode("utf-8", "surrogateescape")
        size = os.fstat(self._file.fileno()).st_size
        written = 0
        try:
            written = self._file.write(content)
        finally:
            if written != len(content):
                self._file.truncate(size)
        if written != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._untidy |= key in self.values
        self.values[key] = value

    def records(self) -> Iterator[str]:
        """The lines below the header."""
        for line in itertools.islice(self._lines(), 1, None):
            yield line.decode("utf-8", "surrogateescape")

    def close(self) -> None:
        """Close the file, with one line a picture."""
        self._file.close()
        if self._untidy:
            self._tidy()

    def _lines(self) -> Iterator[bytes]:
        with open(self.path, "rb") as file:
            yield from file

    def _load(self) -> None:
        for key, value, _ in self._readable():
            self._untidy |= key in self.values
            self.values[key] = value
        if self._untidy:
            self._tidy()

    def _readable(self) -> Iterator[tuple[str, int, str]]:
        """Key, value and text of each whole line."""
        for line in self.records():
            try:
                if not line.endswith("\n"):
                    raise ValueError("its end is missing")
                key, value = self._read(line)
            except (ValueError, TypeError, LookupError, csv.Error):
                self._untidy = True
            else:
                yield key, value, line

    def _tidy(self) -> None:
        """Write the file again with the last line of each picture alone."""
        last = {key: number for number, (key, _, _) in enumerate(self._readable())}
        with replacing(self.path) as temporary, open(temporary, "wb") as file:
            file.write(self._header)
            for number, (key, _, line) in enumerate(self._readable()):
                if last[key] == number:
                    file.write(line.encode("utf-8", "surrogateescape"))
        self._untidy = False
