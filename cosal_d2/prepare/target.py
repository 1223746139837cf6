"""The place of a dataset: `root/cosal/NAME.json` beside its folder of pictures."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from cosal_d2.utils.files import check_apart, check_output
from cosal_d2.utils.parallel import worker_count


def check_name(name: str) -> None:
    """Raise ValueError where `name` cannot name a dataset's files."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", name):
        raise ValueError(
            f"name: {name!r} is no dataset name; use letters, digits, '_', '-' and '.', at most 200"
        )


def check_free(home: Path, name: str, overwrite: bool) -> None:
    """Make sure that a dataset may be written as `home/name.json` and `home/name/`.

    Raises:
        FileExistsError: it exists and `overwrite` is False, or what exists is no dataset.
        OSError: a file stands where a folder above it has to be, or it cannot be written to.
    """
    for folder in (home, *home.parents):
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder}: is a file, not a folder; give another --out")
    check_output(home)
    json_file, pictures = home / f"{name}.json", home / name
    for path in (json_file, pictures):
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path}: exists already; give another name or --overwrite to replace the dataset"
            )
    for path, is_one in ((json_file, json_file.is_file()), (pictures, pictures.is_dir())):
        if path.exists() and not is_one:
            raise FileExistsError(
                f"{path}: is no part of a dataset, so --overwrite does not replace it; move it "
                "away, or give another name"
            )
    if pictures.is_dir() and not json_file.exists() and any(pictures.iterdir()):
        raise FileExistsError(
            f"{pictures}: is no dataset, as {json_file.name} is not beside it, so --overwrite does "
            "not replace it; move it away, or give another name"
        )


def install(*moves: tuple[Path, Path]) -> None:
    """Move new files and folders to their places, all of them or none; former ones are deleted.

    Args:
        moves: (new, place) in order, on one file system. On failure or interruption the new ones
            are moved back, and the former ones are put back in their places.
    """
    former = [
        (place, new.with_name(f".{place.name}.{os.getpid()}.former"))
        for new, place in moves
        if place.exists()
    ]
    try:
        for place, aside in reversed(former):
            os.replace(place, aside)
        for new, place in moves:
            os.replace(new, place)
    except BaseException:
        for new, place in moves:
            if place.exists() and not new.exists():
                os.replace(place, new)
        for place, aside in former:
            if aside.exists():
                os.replace(aside, place)
        raise
    for _, aside in former:
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        else:
            aside.unlink()


@dataclass(frozen=True)
class Target:
    """Where and how a dataset is written.

    Attributes:
        root: dataset root; the files go to `root/folder/name.json` and `root/folder/name/`.
        name: letters, digits, `_`, `-` and `.`.
        link: symbolic links to the pictures instead of copies.
        overwrite: replace a dataset of the same name once the new one is complete.
        workers: processes; None takes one a core.
        progress: show a progress bar.
        folder: `cosal`, where datasets are found by their name.

    Raises:
        ValueError: `name` is no dataset name, or `workers` is less than 1.
        FileExistsError: the dataset exists and `overwrite` is False.
    """

    root: Path
    name: str
    link: bool = False
    overwrite: bool = False
    workers: int | None = None
    progress: bool = False
    folder: str = "cosal"

    def __post_init__(self) -> None:
        check_name(self.name)
        worker_count(self.workers)
        check_free(self.home, self.name, self.overwrite)

    @property
    def home(self) -> Path:
        """The folder of the json."""
        return Path(self.root) / self.folder

    @property
    def json_file(self) -> Path:
        """The annotations."""
        return self.home / f"{self.name}.json"

    def check_apart(self, *inputs: Path) -> None:
        """Refuse to replace what the dataset is made of.

        Raises:
            ValueError: one of the inputs is in its place, or inside.
        """
        check_apart((self.home / self.name, self.json_file), inputs)

    def install(self, new_folder: Path, new_json: Path) -> None:
        """Put a finished dataset in its place, the json last; on failure the former one is put
        back."""
        install((new_folder, self.home / self.name), (new_json, self.json_file))
