"""What converters hand to the shared writer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from cosal_d2.utils.pictures import PICTURE_SUFFIXES


@dataclass(frozen=True)
class Entry:
    """A picture and its annotations as they will stand in a dataset.

    Attributes:
        file: the picture's source.
        name: `file_name` in the dataset, a relative path.
        image: further fields of its image entry; `id` where it is to be kept.
        annotations: annotation entries, with `category` (a name) in place of `category_id`, and
            without `id` and `image_id`.
        content: what the picture's file shall hold; None takes the source as it is.
        original: the source's content, where it has been read.
    """

    file: Path
    name: str
    image: dict
    annotations: list[dict] = field(default_factory=list)
    content: bytes | None = None
    original: bytes | None = None


@dataclass(frozen=True)
class Skipped:
    """A picture that is left out, with the reason; `bad` where its data are faulty."""

    reason: str
    bad: bool = False


class Job(Protocol):
    """Something that makes entries of tasks; picklable, since it is called in other processes.

    Attributes:
        description: goes to the json's `info`.
        fingerprint: json data that tell one job from another; an interrupted job goes on only if it
            is the same.
        categories: names with their ids, or None: sorted names with ids from 1.
        fields: further top-level fields of the json.
    """

    description: str
    fingerprint: dict
    categories: dict[str, int] | None
    fields: dict

    def tasks(self, work: Path) -> tuple[int, Iterable]:
        """Number of tasks and the tasks, always in one order; `work` takes temporary files."""

    def __call__(self, task: object) -> Entry | Skipped:
        """The entry of a task; a pure function."""


def safe_name(file_name: str) -> str:
    """A source's file name as a relative path inside the image folder.

    An absolute path, or one that leaves its folder, becomes its last part.
    """
    path = PurePosixPath(file_name.replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or ":" in path.parts[0]
    return path.name if outside else str(path)


def file_stamp(path: Path) -> list:
    """A file's place, size and time of change, for fingerprints."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def listing_stamp(folder: Path, files: Iterable[Path]) -> list:
    """The folder and a hash of the files' names, sizes and times, for fingerprints."""
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return [str(folder.resolve()), digest.hexdigest()]


def need_folder(folder: Path, option: str) -> Path:
    """`folder`, if it is one.

    Raises:
        FileNotFoundError: it is missing; the message names the option that gave it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give an existing one to --{option}")
    return folder


def find_files(folder: Path, suffixes: Iterable[str] = PICTURE_SUFFIXES) -> list[Path]:
    """Files of the given suffixes below a folder, in any case, hidden ones left out, sorted."""
    wanted = tuple(suffixes)
    return sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in wanted
        and p.is_file()
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )


def by_stem(folder: Path, suffixes: Iterable[str] = PICTURE_SUFFIXES) -> dict[str, Path]:
    """Files below a folder by their relative path without suffix.

    Raises:
        ValueError: two files differ in their suffix alone.
    """
    found: dict[str, Path] = {}
    for file in find_files(folder, suffixes):
        stem = file.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise ValueError(
                f"{file}: {found[stem].name} beside it has the same name but for the suffix; "
                "rename or remove one"
            )
        found[stem] = file
    return found
