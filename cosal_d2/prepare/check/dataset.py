"""A dataset's files by its name, its json as it is, faults included, and datasets made of it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from cosal_d2.prepare.convert.dataset_writer import Entry, Target, Written, write_entries
from cosal_d2.prepare.convert.source_files import safe_name
from cosal_d2.utils.coco import FIELDS, check_fields, load_coco

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
        if isinstance(image, dict) and isinstance(image.get("file_name"), str):
            return str(self.folder / image["file_name"])
        return str(self.json_file)

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
            if c.get("id") is not None and c.get("name") is not None
        }


def id_key(value: object) -> object:
    """Something hashable that tells ids apart; 1 and 1.0 are one id."""
    return value if isinstance(value, (int, float, str)) else repr(value)


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


def sound_entries(dataset: Dataset) -> list[Entry]:
    """The pictures of a sound dataset with their annotations.

    Raises:
        ValueError: a field is missing, or an id repeats or leads nowhere; the message names it.
    """
    content, repaired = dataset.content, "; `cosal data check --fix` writes a repaired copy"
    try:
        optional = ("height", "width", "bbox", "segmentation")
        check_fields(content, dataset.json_file, optional, may_repeat=("annotations",))
        names = {c["id"]: c["name"] for c in content["categories"]}
        own: dict[object, list[dict]] = {image["id"]: [] for image in content["images"]}
        for entry in content["annotations"]:
            for key, part, known in (
                ("image_id", "image", own),
                ("category_id", "category", names),
            ):
                if entry[key] not in known:
                    raise ValueError(
                        f"{dataset.json_file}: annotation {entry['id']} is of the unknown {part} "
                        f"{entry[key]}"
                    )
            rest = {k: v for k, v in entry.items() if k not in ("image_id", "category_id")}
            own[entry["image_id"]].append({**rest, "category": names[entry["category_id"]]})
        return [
            Entry(
                dataset.folder / image["file_name"],
                safe_name(image["file_name"]),
                image,
                own[image["id"]],
            )
            for image in content["images"]
        ]
    except ValueError as error:
        raise ValueError(f"{error}{repaired}") from error
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{dataset.json_file}: a malformed field ({error}){repaired}") from error


def write_part(dataset: Dataset, entries: list[Entry], target: Target, description: str) -> Written:
    """Write pictures of a dataset as they are, with its categories and further fields.

    Raises:
        FileNotFoundError: a picture is missing.
        ValueError: there are no pictures, or two would get one name.
    """
    return write_entries(
        _existing,
        entries,
        target,
        description=description,
        categories={c["name"]: c["id"] for c in dataset.content["categories"]},
        fields={k: v for k, v in dataset.content.items() if k not in ("info", *FIELDS)},
    )


def _existing(entry: Entry) -> Entry:
    if not entry.file.is_file():
        raise FileNotFoundError(
            f"{entry.file}: no such picture; add it, or let `cosal data check --fix` write a "
            "repaired copy"
        )
    return entry


def merge(datasets: list[Dataset], target: Target) -> Written:
    """Put datasets into one: categories by name, ids anew.

    A file name that is there already gets its dataset's name in front.

    Raises:
        ValueError: a dataset is not sound.
    """
    taken: set[str] = set()
    merged, names = [], set()
    for dataset in datasets:
        for entry in sound_entries(dataset):
            path, number = PurePosixPath(entry.name), 1
            name = entry.name
            while name.lower() in taken:
                prefix = dataset.name if number == 1 else f"{dataset.name}_{number}"
                name, number = (path.parent / f"{prefix}_{path.name}").as_posix(), number + 1
            taken.add(name.lower())
            image = _without_id(entry.image)
            annotations = [_without_id(a) for a in entry.annotations]
            merged.append(replace(entry, name=name, image=image, annotations=annotations))
        names |= {c["name"] for c in dataset.content["categories"]}
    return write_entries(
        _existing,
        merged,
        target,
        description=f"Merged from {', '.join(d.name for d in datasets)}",
        categories={name: i for i, name in enumerate(sorted(names), 1)},
    )


def _without_id(entry: dict) -> dict:
    return {k: v for k, v in entry.items() if k != "id"}
