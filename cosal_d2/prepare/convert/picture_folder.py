"""The one rule that finds a picture by the name that an annotation gives it."""

from __future__ import annotations

import difflib
import os
import posixpath
import re
import unicodedata
from bisect import bisect
from collections import defaultdict
from pathlib import Path
from urllib.parse import unquote

from cosal_d2.prepare.convert.source_files import find_files
from cosal_d2.utils.files import need_file
from cosal_d2.utils.image_paths import picture_path

SHOWN = 3  # near matches
LARGE = 5000  # pictures; of more, near matches are looked for among neighbours in the alphabet
NEIGHBOURS = 200
_QUERY = re.compile(r"^(\w+://.*?\.\w{3,5})[?#].*", re.DOTALL)
MISSES = 50  # for which near matches are looked for


class PictureFolder:
    """Finds pictures below a folder, and nowhere else.

    A name is first taken as it stands. Otherwise a picture fits if its path below the folder is the
    end of the name, as of `images/a.jpg` or `C:\\photos\\a.jpg` in a folder that has `a.jpg`, or if
    the name is the end of its path. Upper and lower case, percent-encoding and the two ways that
    Unicode writes an accent make no difference. Of several that fit, the one that agrees with the
    name in more parts is meant.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._by_name: dict[str, list[Path]] | None = None
        self._misses = 0

    def __getstate__(self) -> dict:
        return {"root": self.root, "_by_name": None, "_misses": 0}

    def find(self, name: str) -> Path:
        """The picture of a name.

        Raises:
            FileNotFoundError: none fits, and the message names near matches; or it is no file.
            ValueError: more than one fits; the message names them.
        """
        found = self.fitting(name)
        if found is not None:
            need_file(found, "picture")
            return found
        near = self._near(name)
        hint = f"near it: {', '.join(near)}; " if near else ""
        path = self.root.joinpath(*relative_parts(name))
        raise FileNotFoundError(
            f"{path}: no such picture; {hint}correct the name, or give the folder that has it to "
            "--images"
        )

    def fitting(self, name: str) -> Path | None:
        """The picture of a name, or None where none fits.

        Raises:
            ValueError: more than one fits, which the message names; or a link leads out of the
                folder.
        """
        parts = relative_parts(name)
        if not parts:
            return None
        path = picture_path(self.root, "/".join(parts))
        if os.path.isfile(path):  # False where the name is too long
            return path
        wanted = _key("/".join(parts))
        agreement = {p: _agreement(wanted, self._path_key(p)) for p in self._index(wanted[-1])}
        best = max(agreement.values(), default=0)
        fits = [p for p, parts_agreed in agreement.items() if parts_agreed == best > 0]
        if len(fits) > 1:
            fits = [p for p in fits if os.path.isfile(p)] or fits
        if len(fits) > 1:
            shown = ", ".join(p.relative_to(self.root).as_posix() for p in fits[:SHOWN])
            raise ValueError(
                f"{self.root}: {len(fits)} pictures fit the name {name!r}: {shown}; give the name "
                "with its folder"
            )
        return fits[0] if fits else None

    def _path_key(self, path: Path) -> tuple[str, ...]:
        return _key(path.relative_to(self.root).as_posix())

    def _index(self, last: str) -> list[Path]:
        """Pictures whose last part has a key."""
        if self._by_name is None:
            by_name = defaultdict(list)
            for file in find_files(self.root):
                by_name[_key(file.name)[-1]].append(file)
            self._by_name = dict(by_name)
        return self._by_name.get(last, [])

    def _near(self, name: str) -> list[str]:
        """Names of pictures that are nearly this one."""
        self._misses += 1
        parts = relative_parts(name)
        if not parts or self._misses > MISSES:
            return []
        wanted = _key(parts[-1])[-1]
        self._index(wanted)
        names = list(self._by_name)
        if len(names) > LARGE:
            names.sort()
            place = bisect(names, wanted)
            names = names[max(place - NEIGHBOURS, 0) : place + NEIGHBOURS]
        close = difflib.get_close_matches(wanted, names, SHOWN)
        return [self._by_name[n][0].relative_to(self.root).as_posix() for n in close]


def relative_parts(name: str) -> list[str]:
    """The parts of a path, with `/` or `\\` between them, without a drive, steps out of its folder,
    or what follows the file in an address."""
    path = posixpath.normpath(_QUERY.sub(r"\1", name).replace("\\", "/"))
    return [p for p in path.split("/") if p not in ("", ".", "..") and not p.endswith(":")]


def _key(path: str) -> tuple[str, ...]:
    """What paths that are meant alike have in common, by part."""
    plain = unicodedata.normalize("NFC", unquote(path)).casefold().replace("\\", "/").strip()
    return tuple(p for p in plain.split("/") if p not in ("", ".", "..")) or ("",)


def _agreement(wanted: tuple[str, ...], path: tuple[str, ...]) -> int:
    """Number of parts in which two paths agree, from the last on; 0 where neither is the other's
    end."""
    count = min(len(wanted), len(path))
    return count if wanted[-count:] == path[-count:] else 0
