"""COCO instance format: its fields, and reading a json of it."""

from __future__ import annotations

import json
import os
from collections.abc import Collection

# Category of salient objects that do not belong to the repeated group.
DISTRACTOR = "distractor"
# Fields that an entry of each list needs.
FIELDS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "bbox", "segmentation"),
    "categories": ("id", "name"),
}


def load_coco(json_file: str | os.PathLike) -> dict:
    """The content of a COCO instance json, with lists under `images`, `annotations` and
    `categories`; their entries are not looked at.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not valid json, or lacks a list.
    """
    try:
        with open(json_file, encoding="utf-8-sig") as file:
            content = json.load(file)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{json_file}: no such file; give a COCO instance json") from error
    except ValueError as error:
        raise ValueError(f"{json_file} is not valid json: {error}; is it complete?") from error
    for part in FIELDS:
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise ValueError(
                f"{json_file}: the list `{part}` is missing; COCO instance format has `images`, "
                "`annotations` and `categories`"
            )
    return content


def check_fields(
    content: dict,
    json_file: str | os.PathLike,
    optional: Collection[str] = (),
    may_repeat: Collection[str] = (),
) -> None:
    """Make sure that every entry has the ``FIELDS`` of its list, and an id of its own.

    Args:
        content: from :func:`load_coco`.
        json_file: its file, for the messages.
        optional: names of fields that may lack.
        may_repeat: lists in which ids may repeat.

    Raises:
        ValueError: naming file, entry and field.
    """
    for part, fields in FIELDS.items():
        seen = set()
        for i, entry in enumerate(content[part]):
            for field in fields:
                if not isinstance(entry, dict) or (field not in entry and field not in optional):
                    raise ValueError(
                        f"{json_file}: {part}[{i}] has no `{field}`; add it as in COCO instance "
                        "format"
                    )
            if entry["id"] in seen and part not in may_repeat:
                raise ValueError(
                    f"{json_file}: {part}[{i}] repeats the id {entry['id']!r}; give each its own"
                )
            seen.add(entry["id"])
