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
from cosal_d2.utils.files import instead_of_file
from cosal_d2.utils.pictures import PICTURE_SUFFIXES, unread_hint

EARLIER = "results of an earlier run"


class Source(NamedTuple):
    """A picture, and its name below the output: its file name, or the path in its folder.

    Attributes:
        path: of the file.
        name: unique in a run.
        keeps_suffix: whether its results have the suffix in their names, as those of ``a.jpg`` and
            ``a.png`` in one run do.
    """

    path: str
    name: str
    keeps_suffix: bool = False

    @property
    def stem(self) -> str:
        """What the names of its results begin with."""
        return self.name if self.keeps_suffix else os.path.splitext(self.name)[0]


@dataclass
class Sources:
    """What was found.

    Attributes:
        pictures: in the order of the inputs, sorted within each.
        passed_over: how many files of each other suffix, and how many results of earlier runs, were
            passed over.
        unfound: a sentence for each input and line of a list that names nothing, for each folder
            that cannot be read, and for all that is named like a picture but is none: a folder, a
            link to nothing or in a circle, a pipe, a device, a second picture of one name.
    """

    pictures: list[Source] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    unfound: list[str] = field(default_factory=list)

    def passed_over_text(self) -> str:
        """Such as ``12 .heic, 3 .txt``, with what makes some readable; empty where nothing was
        passed over."""
        counts = ", ".join(f"{count} {what}" for what, count in sorted(self.passed_over.items()))
        return counts + unread_hint(self.passed_over)


def find_pictures(
    inputs: Sequence[str], output: str, *, recursive: bool = False, option: str = "--input"
) -> Sources:
    """Expand files, folders, glob patterns and lists of them.

    A file is taken whatever its suffix, unless it is the result of an earlier run; hidden files and
    folders are not looked into, links to folders are followed.

    Args:
        inputs: a file, folder or pattern each, ``@FILE`` for a text file with one of these a line,
            or ``-`` for such lines on standard input.
        output: folder of the results, which need not exist yet.
        recursive: look into the folders of folders too.
        option: what gives the inputs, for messages.

    Raises:
        FileNotFoundError: there is no picture.
        ValueError: a result would overwrite an input.
    """
    found = Sources()
    owners: dict[str, str] = {}
    for entry, place in _entries(inputs, option):
        said = len(found.unfound), found.passed_over[EARLIER]
        sources = list(_expanded(entry, recursive, found))
        if not sources and said == (len(found.unfound), found.passed_over[EARLIER]):
            what = f"{entry}: no such picture, or none in it"
            if os.path.isdir(entry) and not recursive:
                what += "; --recursive looks into its folders too"
            found.unfound.append(f"{place}: {what}" if place else f"{option} {what}")
        for source in sources:
            owner = owners.setdefault(source.name, source.path)
            if owner == source.path:
                found.pictures.append(source)
            elif not _same(owner, source.path):
                found.unfound.append(
                    f"{source.path} and {owner} have one name, and would have results of one name; "
                    "rename one, give a folder of both with --recursive, or use two outputs"
                )
    found.passed_over = +found.passed_over
    if not found.pictures:
        reasons = "; ".join(filter(None, [*found.unfound[:1], found.passed_over_text()]))
        named = reasons.startswith(f"{option} ")
        raise FileNotFoundError(reasons if named else f"no picture in {option}: {reasons}")
    found.pictures = _with_own_stems(list(dict.fromkeys(found.pictures)))
    _refuse_overwriting(found.pictures, inputs, output, option)
    return found


def _with_own_stems(sources: Sequence[Source]) -> list[Source]:
    """Let pictures keep their suffix whose results would have one name without it."""
    kept: set[str] = set()
    while True:
        owners = defaultdict(list)
        for source in sources:
            owners[source._replace(keeps_suffix=source.name in kept).stem].append(source.name)
        alike = {name for names in owners.values() if len(names) > 1 for name in names}
        if alike <= kept:
            return [source._replace(keeps_suffix=source.name in kept) for source in sources]
        kept |= alike


def _entries(inputs: Iterable[str], option: str) -> Iterator[tuple[str, str]]:
    """Files, folders and patterns, each with its place in a list, or ""."""
    for entry in inputs:
        if entry == "-":
            yield from _lines(sys.stdin.buffer, "standard input")
        elif path := _list_file(entry):
            try:
                with open(path, "rb") as file:
                    yield from _lines(file, path)
            except OSError as error:
                raise type(error)(f"{option} {entry}: no list of pictures: {error}") from error
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
    if os.path.isdir(entry):
        for path in _files(entry, recursive, found):
            if _is_picture(path, found):
                yield Source(path, os.path.relpath(path, entry))
    elif os.path.lexists(entry):
        if is_result(entry):
            found.passed_over[EARLIER] += 1
        elif _is_file(entry, found):
            yield Source(entry, os.path.basename(entry))
    else:
        for path in sorted(glob.glob(entry, recursive=True)):
            if (_has_picture_suffix(path) or not os.path.isdir(path)) and _is_picture(path, found):
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
        for path in (os.path.join(root, name) for name in sorted(folders) if name[0] != "."):
            if _has_picture_suffix(path) and not (deeper and not _is_empty(path)):
                _is_file(path, found)
        folders[:] = sorted(name for name in folders if deeper and name[0] != ".")


def _is_picture(path: str, found: Sources) -> bool:
    if is_result(path):
        found.passed_over[EARLIER] += 1
    elif _has_picture_suffix(path):
        return _is_file(path, found)
    elif os.path.basename(path) not in RUN_FILES:
        suffix = os.path.splitext(path)[1].lower()
        found.passed_over[suffix or "without a suffix"] += 1
    return False


def _is_empty(folder: str) -> bool:
    try:
        return not os.listdir(folder)
    except OSError:  # which is said when it is looked into
        return False


def _has_picture_suffix(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in PICTURE_SUFFIXES


def _is_file(path: str, found: Sources) -> bool:
    """Whether a path is a file or a link to one; in ``found`` is said what it is instead."""
    what = instead_of_file(path)
    if what:
        found.unfound.append(f"{path}: no picture, but {what}")
    return not what


def _refuse_overwriting(
    sources: Sequence[Source], inputs: Iterable[str], output: str, option: str
) -> None:
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
                    f"{what} would overwrite {path}, which is given to {option} too; give "
                    "another output"
                )


def _same(path: str | os.PathLike, other: str | os.PathLike) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # one of them is missing
        return False
