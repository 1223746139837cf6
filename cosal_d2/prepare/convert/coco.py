"""COCO instance json, of any size: its entries wait in a small database, not in memory."""

from __future__ import annotations

import json
import sqlite3
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path

from cosal_d2.prepare.convert.convert import Scene
from cosal_d2.prepare.convert.entries import file_stamp, need_folder, safe_name
from cosal_d2.prepare.convert.json_stream import stream_json
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.utils.masks import to_rle

HELP = "any COCO instance json with masks"
BATCH = 1000  # entries that are stored at once
IMAGE_FIELDS = ("id", "file_name", "height", "width", "cosalient_category")
ANNOTATION_FIELDS = (
    *("id", "image_id", "category_id", "segmentation", "bbox", "area", "iscrowd"),
    *("keypoints", "num_keypoints", "category"),
)
REQUIRED = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id"),
    "categories": ("id", "name"),
}


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this format."""
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the annotations")
    parser.add_argument("--images", type=Path, required=True, metavar="FOLDER", help="its pictures")


def source(args: Namespace) -> CocoSource:
    """The source that the options name."""
    return CocoSource(args.json, args.images)


class CocoSource:
    """A `Source`: a COCO instance json (polygons, RLE compressed or not) and its image folder.

    Raises:
        FileNotFoundError: json or folder are missing.
        ValueError: the json lacks a field; the message names the entry.
    """

    def __init__(self, json_file: Path, images: Path) -> None:
        self.json_file, self.images = Path(json_file), need_folder(images, "images")
        self.names: dict[int, str] = {}
        self.fields: dict = {}
        self.keep_ids = True
        self.description = f"Selected from {self.json_file.name}"
        if not self.json_file.is_file():
            raise FileNotFoundError(
                f"{self.json_file}: no such file; give a COCO instance json to --json"
            )
        self.fingerprint = {
            "coco": file_stamp(self.json_file),
            "images": str(self.images.resolve()),
        }

    @property
    def categories(self) -> dict[str, int]:
        """Names with their ids, known once `tasks` has read the json; the first id of a name that
        several categories have."""
        return {name: i for i, name in reversed(self.names.items())}

    def _add_categories(self, entries: object) -> None:
        self.names = {}
        for i, entry in enumerate(entries if isinstance(entries, list) else []):
            self._check("categories", i, entry)
            if entry["id"] in self.names:
                raise ValueError(
                    f"{self.json_file}: categories[{i}] ({entry['name']!r}, id {entry['id']}) "
                    "repeats an id; give each its own"
                )
            self.names[entry["id"]] = str(entry["name"])

    def _check(self, part: str, index: int, entry: object) -> None:
        for name in REQUIRED[part]:
            if not isinstance(entry, dict) or name not in entry:
                raise ValueError(
                    f"{self.json_file}: {part}[{index}] has no `{name}`; add it as in COCO "
                    "instance format"
                )

    def tasks(self, work: Path) -> tuple[int, Iterable]:
        """Texts of each image entry and of its annotations, in the json's order."""
        index = work / "index.sqlite"
        index.unlink(missing_ok=True)  # of a run that was killed it may be damaged
        database = sqlite3.connect(index)
        database.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE images (id TEXT UNIQUE, file TEXT UNIQUE, entry TEXT);"
            "CREATE TABLE annotations (image TEXT, entry TEXT);"
        )
        counts = {"images": 0, "annotations": 0}
        rows: dict[str, list[tuple]] = {part: [] for part in counts}
        for part, value, text in stream_json(self.json_file, tuple(counts)):
            if part == "categories":
                self._add_categories(value)
            elif part == "licenses":
                self.fields[part] = value
            elif part in counts:
                self._check(part, counts[part], value)
                rows[part].append(self._row(part, value, text))
                counts[part] += 1
                if len(rows[part]) == BATCH:
                    self._insert(database, rows)
        self._insert(database, rows)
        if not self.names:
            raise ValueError(
                f"{self.json_file}: the list `categories` is missing; COCO instance format has "
                "`images`, `annotations` and `categories`"
            )
        database.execute("CREATE INDEX by_image ON annotations (image)")
        database.commit()
        self._find_orphans(database)
        return counts["images"], self._rows(database)

    def _row(self, part: str, value: dict, text: str) -> tuple:
        if part == "annotations":
            return json.dumps(value["image_id"]), text
        self.keep_ids &= isinstance(value["id"], int)
        return json.dumps(value["id"]), str(value["file_name"]), text

    def _insert(self, database: sqlite3.Connection, rows: dict[str, list[tuple]]) -> None:
        database.executemany("INSERT INTO annotations VALUES (?, ?)", rows["annotations"])
        newest = "SELECT COALESCE(MAX(rowid), 0) FROM images"
        before = database.execute(newest).fetchone()[0]
        try:
            database.executemany("INSERT INTO images VALUES (?, ?, ?)", rows["images"])
        except sqlite3.IntegrityError as error:
            number, file, _ = rows["images"][database.execute(newest).fetchone()[0] - before]
            field = "file_name" if "images.file" in str(error) else "id"
            raise ValueError(
                f"{self.json_file}: the image entry of {file} (id {number}) repeats the `{field}` "
                "of another; `check --fix` writes a repaired copy"
            ) from None
        for part in rows.values():
            part.clear()

    def _find_orphans(self, database: sqlite3.Connection) -> None:
        query = "SELECT entry FROM annotations WHERE image NOT IN (SELECT id FROM images) LIMIT 1"
        for (text,) in database.execute(query):
            entry = json.loads(text)
            raise ValueError(
                f"{self.json_file}: the annotation of id {entry['id']} is of image "
                f"{entry['image_id']}, which is none of `images`; `check --fix` writes a copy "
                "without it"
            )

    @staticmethod
    def _rows(database: sqlite3.Connection) -> Iterator[tuple[str, list[str]]]:
        query = "SELECT entry FROM annotations WHERE image = ? ORDER BY rowid"
        for image, text in database.execute("SELECT id, entry FROM images ORDER BY rowid"):
            yield text, [row for (row,) in database.execute(query, (image,))]
        database.close()

    def read(self, task: tuple[str, list[str]]) -> Scene:
        """The scene of an image entry."""
        image = json.loads(task[0])
        file = self.images / str(image["file_name"]).replace("\\", "/")
        if not file.is_file():
            file = self.images / safe_name(str(image["file_name"]))
        try:
            height, width = int(image["height"]), int(image["width"])
        except (TypeError, ValueError):
            size = image["height"], image["width"]
            raise ValueError(f"{file}: `height` and `width` are {size}; give pixels") from None
        objects = []
        for entry in json.loads(f"[{','.join(task[1])}]"):
            where = f"{file}: {self.json_file.name}, annotation of id {entry['id']}"
            if entry["category_id"] not in self.names:
                raise ValueError(
                    f"{where}: the category_id {entry['category_id']} is none of `categories`; "
                    "add it or correct it"
                )
            try:
                rle = to_rle(entry.get("segmentation"), height, width)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
            extra = {k: v for k, v in entry.items() if k not in ANNOTATION_FIELDS}
            name = self.names[entry["category_id"]]
            objects.append(SourceObject(name, rle, bool(entry.get("iscrowd", 0)), extra))
        fields = {k: v for k, v in image.items() if k not in IMAGE_FIELDS}
        if self.keep_ids:
            fields["id"] = image["id"]
        return Scene(file, safe_name(str(image["file_name"])), height, width, objects, fields)
