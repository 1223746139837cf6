"""Result files, each replacing the previous one as a whole, and tables in them."""

from __future__ import annotations

import codecs
import contextlib
import csv
import errno
import io
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

LONGEST_NAME = 255  # bytes that a folder takes as the name of a file
# No space on the disk, in a quota, or below the limit of a file's size.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What `replacing` writes; earlier versions wrote .NAME.PID.tmp and, of checkpoints, NAME.tmpPID.
UNFINISHED = re.compile(
    r"\.\d+\..*\.part(\.[^.]*)?|\..*\.\d+\.tmp|(model_\w+\.pth|last_checkpoint)\.tmp\d*"
)


def visible_files(folder: Path) -> list[Path]:
    """Files below a folder, sorted; hidden ones and those of hidden folders are left out.

    What is named like a file but is none is there too, so that it is not passed over in silence:
    links to nothing or in a circle, pipes, and empty folders with a suffix. Whatever reads a file
    names it (:func:`need_file`). So are links to folders, which are not followed.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (not path.is_dir() or _is_like_a_file(path))
    )


def read_text(file: Path) -> str:
    """A text file in UTF-8, or in the UTF-16 or UTF-32 that its byte order mark says.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no text in these; UTF-16 without its mark has characters 0.
    """
    data = file.read_bytes()
    marks = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
    marks |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    encoding = next((name for mark, name in marks.items() if data.startswith(mark)), "utf-8-sig")
    try:
        text, reason = data.decode(encoding), "it has characters 0, as UTF-16 without its mark"
    except UnicodeDecodeError as error:
        text, reason = None, str(error)
    if text is None or "\0" in text:
        raise ValueError(
            f"{file} is no text in UTF-8 ({reason}); save it as UTF-8 in the program that wrote it"
        )
    return text


def read_json(file: Path) -> Any:
    """The content of a json.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no text, see :func:`read_text`, or no valid json.
    """
    text = read_text(file)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also of a number of many digits
        raise ValueError(f"{file} is not valid json: {error}; is it complete?") from error


def _is_like_a_file(folder: Path) -> bool:
    if folder.is_symlink() or not folder.suffix:
        return folder.is_symlink()
    try:
        return not any(folder.iterdir())
    except OSError:  # nobody can say what is in it
        return True


def instead_of_file(path: str | os.PathLike) -> str:
    """What there is in the place of a file, such as "a folder"; "" where it is a file, or a link to
    one."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        code = getattr(error, "errno", None)
        if code == errno.ENOENT and os.path.islink(path):
            return f"a link to {os.readlink(path)}, which is not there"
        if code == errno.ELOOP:
            return "a link in a circle"
        return "nothing" if code in (None, errno.ENOENT, errno.ENOTDIR) else error.strerror
    if stat.S_ISREG(mode):
        return ""
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, device or socket"


class NotAFileError(FileNotFoundError):
    """Something else than a file has a file's name: a folder, a pipe, a link to nothing; or no
    file can have it."""


def need_file(path: str | os.PathLike, kind: str = "file") -> None:
    """Make sure that a file is one; to read a pipe or a device might never end.

    Raises:
        FileNotFoundError: it is none; a :class:`NotAFileError` where something else has its name,
            which the message tells.
    """
    what = instead_of_file(path)
    if what == "nothing":
        raise FileNotFoundError(f"{path}: no such {kind}; is its folder right?")
    if what:
        raise NotAFileError(f"{path}: no such {kind}, but {what}; replace it")


def write_text(path: Path, text: str) -> None:
    """Write a text file beside ``path``, then rename it; bytes of file names that are not UTF-8 are
    written as they are."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file beside ``path``, then rename it.

    Raises:
        OSError: it cannot be written; where there is no space it names ``path`` and the bytes that
            are needed.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        if error.errno in NO_SPACE:
            reason = f"{os.strerror(error.errno)}; {len(content):,} bytes are needed"
            raise OSError(error.errno, reason, os.fspath(path)) from error
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, of the same suffix, for libraries that write files
    themselves: it is renamed to ``path`` at the end, or removed after an error. What a kill leaves
    of it is hidden, and has no result's name."""
    path = Path(path)
    # Short: a name may have 255 bytes, and the one of ``path`` may have them all.
    temporary = path.with_name(f".{os.getpid()}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, os.fspath(temporary)):
            raise
        # It names the file that the user knows.
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what kills have left of :func:`replacing` in a folder that no other process writes
    into."""
    for path in Path(folder).glob("*"):
        if UNFINISHED.fullmatch(path.name) and path.is_file():
            path.unlink()


def write_json(path: Path, content: Any) -> None:
    """Write json in UTF-8; bytes of file names that are not UTF-8 become ``\\udcXX``, which Python
    reads back.

    Raises:
        ValueError: a number in it is nan or infinite.
    """
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def check_output(output: str | os.PathLike) -> None:
    """Refuse a folder of results that could not be made or written to, without making it.

    Raises:
        OSError: saying why.
    """
    path = Path(output)
    if os.path.lexists(path) and not path.is_dir():
        raise NotADirectoryError(f"{output} is no folder; give one for the results")
    there = next(x for x in (path, *path.absolute().parents) if os.path.lexists(x))
    if not there.is_dir():
        raise NotADirectoryError(f"{output}: {there} is no folder; give one for the results")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{output} cannot be written to; give another folder")


def check_apart(outputs: Iterable[str | os.PathLike], inputs: Iterable[str | os.PathLike]) -> None:
    """Refuse to replace what is read.

    Args:
        outputs: files and folders that are replaced as a whole.
        inputs: files and folders that are read.

    Raises:
        ValueError: an output is one of the inputs, or a folder above one.
    """
    places = {Path(os.path.realpath(output)) for output in outputs}
    for given in inputs:
        real = Path(os.path.realpath(given))
        replaced = places.intersection((real, *real.parents))
        if replaced:
            raise ValueError(
                f"{given} is read, and {replaced.pop()} would replace it: give another place or "
                "name for the output"
            )


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Rows as CSV, where None is blank.

    Args:
        rows: one a line.
        columns: the header; by default all keys of the rows, in order of appearance.
    """
    rows = list(rows)
    if columns is None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def table_text(head: Sequence[str], rows: Iterable[Sequence[str]], style: str = "pipe") -> str:
    """A table of text cells in one of tabulate's styles, all but the first column to the right."""
    from tabulate import tabulate

    align = ("left", *("right" for _ in head[1:]))
    return tabulate(rows, head, tablefmt=style, disable_numparse=True, colalign=align)
