"""A dataset's files by its name, and its json as it is, faults included."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from cosal_d2.utils.coco import load_coco
from cosal_d2.utils.coco_fields import is_id, parse_file_name, parse_id, parse_name, parse_side
from cosal_d2.utils.image_paths import picture_path

SPLIT_WORD = re.compile(
    r"(?:^|(?<=[_.-]))(train|training|val|valid|validation|test|testing|dev|trainval|minival|"
    r"testdev)(\d*)(?=$|[_.-])",
    re.IGNORECASE,
)


@dataclass
class Dataset:
    """A json beside its image folder.

    Attributes:
        name: the json's name without suffix.
        json_file: the annotations.
        folder: the pictures.
        content: the json; lists under `images`, `annotations` and `categories`.
    """

    name: str
    json_file: Path
    folder: Path
    content: dict = field(repr=False)

    def entries(self, part: str) -> list[tuple[int, dict]]:
        """Pairs of position and entry of a list, without what is no json object."""
        return [(i, e) for i, e in enumerate(self.content[part]) if isinstance(e, dict)]

    def picture_name(self, image: object) -> str:
        """Path of an image entry's picture, or of the json where it has none."""
        if has(image, "file_name"):
            return str(self.folder / image["file_name"])
        return str(self.json_file)

    def picture(self, image: dict) -> Path | None:
        """The file of an image entry's picture; None where it names none inside the folder."""
        try:
            return (
                picture_path(self.folder, image["file_name"]) if has(image, "file_name") else None
            )
        except ValueError:
            return None

    def owners(self) -> dict[object, int]:
        """Position of the image entry of each image id; of the first, where an id repeats."""
        found: dict[object, int] = {}
        for i, image in self.entries("images"):
            if "id" in image:
                found.setdefault(id_key(image["id"]), i)
        return found

    def category_names(self) -> dict[object, str]:
        """Names of the categories by the keys of their ids."""
        return {
            id_key(c["id"]): c["name"]
            for _, c in self.entries("categories")
            if has(c, "id", "name")
        }


def has(entry: object, *fields: str) -> bool:
    """Whether the fields are there and of use; what is wrong with a box or a mask is no fault of
    the structure."""
    return isinstance(entry, dict) and all(f in entry and _is_usable(f, entry[f]) for f in fields)


def _is_usable(field: str, value: object) -> bool:
    parse = _PARSERS.get(field)
    try:
        return parse is None or parse(value) not in (None, 0) or field.endswith("id")
    except ValueError:
        return False


_PARSERS = {
    **dict.fromkeys(("id", "image_id", "category_id"), parse_id),
    **dict.fromkeys(("height", "width"), parse_side),
    **{"file_name": parse_file_name, "name": parse_name},
}


def id_key(value: object) -> object:
    """Something hashable that tells ids apart, also those that are none."""
    return value if is_id(value) else repr(value)


def find_json(name: str) -> Path:
    """The json of `X.json`, or of a name such as `cosal_X` or `X` under $DETECTRON2_DATASETS.

    Raises:
        FileNotFoundError: there is none.
    """
    if name.lower().endswith(".json"):
        if Path(name).is_file():
            return Path(name)
        raise FileNotFoundError(f"{name}: no such file; give a json, or a dataset's name")
    root = Path(os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser() / "cosal"
    for stem in (name.removeprefix("cosal_"), name):
        if (root / f"{stem}.json").is_file():
            return root / f"{stem}.json"
    raise FileNotFoundError(
        f"no dataset {name!r}: there is no {root / name.removeprefix('cosal_')}.json; set "
        "DETECTRON2_DATASETS to the root that has it, or give the json file"
    )


def load_dataset(name: str, images: Path | None = None) -> Dataset:
    """Read a dataset.

    Args:
        name: a json file or a dataset's name.
        images: its pictures; None: the folder beside the json, named alike.

    Raises:
        FileNotFoundError: the json or the image folder is missing.
        ValueError: the file is not valid json, or lacks one of the three lists.
    """
    json_file = find_json(name)
    folder = json_file.with_suffix("") if images is None else Path(images)
    content = load_coco(json_file)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; the pictures of {json_file.name} belong there"
        )
    return Dataset(json_file.stem, json_file, folder, content)


def sibling_splits(json_file: Path) -> list[Path]:
    """Other splits of the same data: jsons beside it, with their folders, whose names differ in the
    word for the split alone, as `a_train` and `a_val` do."""
    if not SPLIT_WORD.search(json_file.stem):
        return []
    rest = SPLIT_WORD.sub("", json_file.stem)
    return [
        other
        for other in sorted(json_file.parent.glob("*.json"))
        if other.name != json_file.name
        and other.with_suffix("").is_dir()
        and SPLIT_WORD.search(other.stem)
        and SPLIT_WORD.sub("", other.stem) == rest
    ]
