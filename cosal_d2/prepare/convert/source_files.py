"""Files of a source: its folders, its pictures and what belongs to them, lists of names."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import yaml

from cosal_d2.utils.files import instead_of_file, read_text, visible_files
from cosal_d2.utils.pictures import HEIC_SUFFIXES, PICTURE_SUFFIXES, unread_hint
from cosal_d2.utils.pixel_values import say_once


def safe_name(file_name: str) -> str:
    """A source's file name as a relative path inside the image folder.

    An absolute path, or one that leaves its folder, becomes its last part.
    """
    path = PurePosixPath(file_name.replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1])
    return path.name if outside else str(path)


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
    """Files of the given suffixes below a folder, in any case, hidden ones left out, sorted.

    The log names links to folders, which are not followed.
    """
    wanted, found = tuple(suffixes), []
    for file in visible_files(folder):
        if file.is_symlink() and file.is_dir():
            say_once(
                f"{file}: a link to a folder, which is not followed; put the folder itself there"
            )
        elif file.suffix.lower() in wanted:
            found.append(file)
    return found


def by_stem(folder: Path, suffixes: Iterable[str] = PICTURE_SUFFIXES) -> dict[str, Path]:
    """Files below a folder by their relative path without suffix.

    The log says how many of the pictures are HEIC that cannot be read here, and what beside a file
    has its name but is none.

    Raises:
        ValueError: two files differ in their suffix alone.
    """
    unread = set(HEIC_SUFFIXES).difference(suffixes) if suffixes is PICTURE_SUFFIXES else set()
    found: dict[str, Path] = {}
    passed_over = 0
    for file in find_files(folder, (*suffixes, *unread)):
        if file.suffix.lower() in unread:
            passed_over += 1
            continue
        stem = file.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            odd = next((f for f in (file, found[stem]) if instead_of_file(f)), None)
            if odd is None:
                raise ValueError(
                    f"{file}: {found[stem].name} beside it has the same name but for the suffix; "
                    "rename or remove one"
                )
            say_once(f"{odd}: passed over, as it is no file, but {instead_of_file(odd)}")
            if odd is file:
                continue
        found[stem] = file
    if passed_over:
        say_once(f"{folder}: {passed_over} HEIC pictures are passed over{unread_hint(unread)}")
    return found


def loosely(found: dict[str, Path]) -> dict[str, Path]:
    """Files by their relative path in lower case, with accents written one way, where no two have
    the same."""
    counts = Counter(loose_key(stem) for stem in found)
    return {k: file for stem, file in found.items() if counts[k := loose_key(stem)] == 1}


def loose_key(stem: str) -> str:
    """What `loosely` knows a path by."""
    return unicodedata.normalize("NFC", stem).casefold()


def read_lines(file: Path) -> list[str]:
    """Lines of a text file, the empty ones too; errors as of `read_text`."""
    return read_text(file).splitlines()


def read_names(file: Path, first: int) -> dict[int, str]:
    """Class names by index: from a text file, one a line, or the field `names` of a YAML file.

    Args:
        file: `.yaml` or `.yml`, with `names` as a list or as a mapping from index to name; else
            text.
        first: index of the first name of a list.

    Raises:
        FileNotFoundError: no such file.
        ValueError: there are no names in it, an empty one, or one twice.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; give a file of class names")
    found = [line.strip() for line in read_lines(file) if line.strip()]
    if file.suffix.lower() in (".yaml", ".yml"):
        try:  # everything is text in YAML's base: `yes`, `off`, `null` and `007` are names
            content = yaml.load(read_text(file), Loader=yaml.BaseLoader)
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(f"{file} is not valid YAML: {error}") from error
        content = content if isinstance(content, dict) else {}
        found, count = content.get("names"), content.get("nc")
        if isinstance(found, list | dict) and count is not None and count != str(len(found)):
            say_once(f"{file}: `nc` is {count!r}, but `names` has {len(found)}, which are taken")
    if isinstance(found, list):
        found = dict(enumerate(found, first))
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{file}: no class names; give one a line, or a YAML file with `names`")
    try:
        if not all(isinstance(name, str) for name in found.values()):
            raise ValueError
        names = {int(index): name for index, name in found.items()}
    except (TypeError, ValueError):
        raise ValueError(f"{file}: `names` maps something else than numbers to names") from None
    if len(set(names.values())) < len(names):
        raise ValueError(f"{file}: a class name is there twice; give each its own")
    empty = [index for index, name in names.items() if not name.strip()]
    if empty:
        raise ValueError(f"{file}: the class {empty[0]} has no name; give it one")
    return names
