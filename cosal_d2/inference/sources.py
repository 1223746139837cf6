"""From what a command line names to the pictures behind it, and the names of their results."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cosal_d2.inference.result_files import RESULT_NAME, RUN_FILES, is_result
from cosal_d2.utils.pictures import PICTURE_SUFFIXES, unread_hint

EARLIER = "results of an earlier run"


class Source(NamedTuple):
    """A picture, and its name below the output: its file name, or the path in its folder."""

    path: str
    name: str

    @property
    def stem(self) -> str:
        """The name without its suffix, which its results share."""
        return os.path.splitext(self.name)[0]


@dataclass
class Sources:
    """What was found.

    Attributes:
        pictures: in the order of the inputs, sorted within each.
        passed_over: how many files of each other suffix, and how many results of earlier runs, were
            passed over.
        unfound: a sentence for each line of a list that names nothing, and for each folder that
            cannot be read.
    """

    pictures: list[Source] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    unfound: list[str] = field(default_factory=list)

    def passed_over_text(self) -> str:
        """Such as ``12 .heic, 3 .txt``; empty where nothing was passed over."""
        return ", ".join(f"{count} {what}" for what, count in sorted(self.passed_over.items()))


def find_pictures(inputs: Sequence[str], output: str, *, recursive: bool = False) -> Sources:
    """Expand files, folders, glob patterns and lists of them.

    A file is taken whatever its suffix, unless it is the result of an earlier run; hidden files and
    folders are not looked into, links to folders are followed.

    Args:
        inputs: a file, folder or pattern each, ``@FILE`` for a text file with one of these a line,
            or ``-`` for such lines on standard input.
        output: folder of the results, which need not exist yet.
        recursive: look into the folders of folders too.

    Raises:
        FileNotFoundError: an input names nothing; in a list, only if all others do so too.
        ValueError: two pictures would have results of one name, or a result would overwrite an
            input.
    """
    found = Sources()
    owners: dict[str, str] = {}
    for entry, place in _entries(inputs):
        results = found.passed_over[EARLIER]
        sources = list(_expanded(entry, recursive, found))
        if not sources and found.passed_over[EARLIER] == results:
            what = f"{entry}: no such picture, or none in it"
            if os.path.isdir(entry) and not recursive:
                what += "; --recursive looks into its folders too"
            if not place:
                hint = unread_hint(found.passed_over)
                passed = f" ({found.passed_over_text()}{hint})" if hint else ""
                raise FileNotFoundError(f"--input {what}{passed}")
            found.unfound.append(f"{place}: {what}")
        for source in sources:
            owner = owners.get(source.stem)
            if owner is None:
                owners[source.stem] = source.path
                found.pictures.append(source)
            elif not _same(owner, source.path):
                raise ValueError(
                    f"{owner} and {source.path} would have results of one name, "
                    f"{source.stem}_*.png; rename one, give a folder of both with --recursive, or "
                    "use two outputs"
                )
    found.passed_over = +found.passed_over
    if not found.pictures:
        reasons = [*found.unfound[:1], found.passed_over_text()]
        hint = unread_hint(found.passed_over)
        raise FileNotFoundError(f"no picture in --input: {'; '.join(filter(None, reasons))}{hint}")
    _refuse_overwriting(found.pictures, inputs, output)
    return found


def _entries(inputs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Files, folders and patterns, each with its place in a list, or ""."""
    for entry in inputs:
        if entry == "-":
            yield from _lines(sys.stdin.buffer, "standard input")
        elif path := _list_file(entry):
            try:
                with open(path, "rb") as file:
                    yield from _lines(file, path)
            except OSError as error:
                raise type(error)(f"--input {entry}: no list of pictures: {error}") from error
        else:
            yield entry, ""


def _list_file(entry: str) -> str:
    """The file of ``@FILE``; "" where it is no list, but perhaps a picture of such a name."""
    return entry[1:] if entry.startswith("@") and not os.path.lexists(entry) else ""


def _lines(file: Iterable[bytes], name: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(file, 1):
        text = os.fsdecode(line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n"))
        if text:
            yield text, f"{name}, line {number}"


def _expanded(entry: str, recursive: bool, found: Sources) -> Iterator[Source]:
    """The pictures of a file, a folder or a pattern; others are counted in ``found``."""
    if os.path.isfile(entry):
        if is_result(entry):
            found.passed_over[EARLIER] += 1
        else:
            yield Source(entry, os.path.basename(entry))
    elif os.path.isdir(entry):
        for path in _files(entry, recursive, found):
            if _is_picture(path, found):
                yield Source(path, os.path.relpath(path, entry))
    else:
        for path in sorted(glob.glob(entry, recursive=True)):
            if not os.path.isdir(path) and _is_picture(path, found):
                yield Source(path, os.path.basename(path))


def _files(folder: str, recursive: bool, found: Sources) -> Iterator[str]:
    seen = set()
    for root, folders, names in os.walk(
        folder,
        onerror=lambda error: found.unfound.append(f"cannot read a folder: {error}"),
        followlinks=True,
    ):
        status = os.stat(root)
        again = (status.st_dev, status.st_ino) in seen  # a link to a folder above or beside it
        seen.add((status.st_dev, status.st_ino))
        if not again:
            yield from (os.path.join(root, name) for name in sorted(names) if name[0] != ".")
        deeper = recursive and not again
        folders[:] = sorted(name for name in folders if deeper and name[0] != ".")


def _is_picture(path: str, found: Sources) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    if is_result(path):
        found.passed_over[EARLIER] += 1
    elif suffix in PICTURE_SUFFIXES:
        return True
    elif os.path.basename(path) not in RUN_FILES:
        found.passed_over[suffix or "without a suffix"] += 1
    return False


def _refuse_overwriting(sources: Sequence[Source], inputs: Iterable[str], output: str) -> None:
    """A result replaces the file of its own name, which must be no input under any other name.

    Raises:
        ValueError: it is one.
    """
    paths = [source.path for source in sources] + list(filter(None, map(_list_file, inputs)))
    named_alike = [
        (path, name)
        for path in paths
        for name in {os.path.basename(path), os.path.basename(os.path.realpath(path))}
        if RESULT_NAME.fullmatch(name) or name in RUN_FILES
    ]
    if not named_alike:
        return
    owners = defaultdict(list)
    for source in sources:
        owners[os.path.basename(source.stem).casefold()].append(source)
    for path, name in named_alike:
        results = [(Path(output, file), "a result") for file in RUN_FILES]
        if match := RESULT_NAME.fullmatch(name):
            ending = name[len(match["stem"]) :].lower()
            results += [
                (Path(output, source.stem + ending), f"the result of {source.path}")
                for source in owners[match["stem"].casefold()]
            ]
        for result, what in results:
            if _same(result, path):
                raise ValueError(
                    f"{what} would overwrite {path}, which is an --input too; give another --output"
                )


def _same(path: str | os.PathLike, other: str | os.PathLike) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # one of them is missing
        return False
