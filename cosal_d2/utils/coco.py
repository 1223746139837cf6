"""COCO instance format: reading a json of it, and what is wrong with its fields."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from cosal_d2.utils.coco_fields import PARSERS, is_id, not_finite, parse_box, parse_side, shown
from cosal_d2.utils.files import read_json

# Category of salient objects that do not belong to the repeated group.
DISTRACTOR = "distractor"
# Fields that an entry of each list needs.
FIELDS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "bbox", "segmentation"),
    "categories": ("id", "name"),
}
# Share of the picture from which on an object is large, as the least area of a conversion.
LARGE = 0.01


@dataclass(frozen=True)
class FieldFault:
    """A field that is missing or not to be read, or an id that repeats.

    Attributes:
        part, position: the list and the place in it.
        field: its name; None where the entry is no json object.
        missing: whether there is nothing: no field, null, or a size of 0.
        repeats: whether it is an id of an earlier entry.
        message: what is wrong, with the value as ``repr`` gives it.
        fix: what to do.
    """

    part: str
    position: int
    field: str | None
    missing: bool
    repeats: bool
    message: str
    fix: str


def load_coco(json_file: str | os.PathLike) -> dict:
    """The content of a COCO instance json, with lists under `images`, `annotations` and
    `categories`.

    What can be read in more than one spelling is there in one: integral ids (1, 1.0, "1") as
    integers (any other text is an id too), numbers and texts of numbers as numbers, `iscrowd` and
    further flags (0, 1, false, true, also as texts) as 0 and 1, a flat polygon as a list of one. A
    field that cannot be read stays as it is, for :func:`field_faults` and :func:`check_fields` to
    name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no text, not valid json, or lacks a list.
    """
    try:
        content = read_json(Path(json_file))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{json_file}: no such file; give a COCO instance json") from error
    except IsADirectoryError as error:
        raise ValueError(f"{json_file} is a folder; give the COCO instance json in it") from error
    for part in FIELDS:
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise ValueError(
                f"{json_file}: the list `{part}` is missing; COCO instance format has `images`, "
                "`annotations` and `categories`"
            )
    for part, parsers in PARSERS.items():
        for entry in content[part]:
            if isinstance(entry, dict):
                _normalise(entry, parsers)
    return content


def _normalise(entry: dict, parsers: dict[str, Callable]) -> None:
    for field, parse in parsers.items():
        value = entry.get(field)
        if value is not None:
            try:
                entry[field] = parse(value)
            except ValueError:
                continue


def field_faults(
    content: dict,
    optional: Collection[str] = (),
    unread: Collection[str] = (),
    may_repeat: Collection[str] = (),
) -> Iterator[FieldFault]:
    """Every field of :func:`load_coco`'s content that is missing or unreadable, and every id that
    an earlier entry has.

    Args:
        content: from :func:`load_coco`.
        optional: names of fields that may lack; a `height` or `width` of 0 is one that lacks.
        unread: names of fields that are not looked at.
        may_repeat: lists in which ids may repeat.
    """
    for part, parsers in PARSERS.items():
        seen: dict[int | str, int] = {}
        for i, entry in enumerate(content[part]):
            if not isinstance(entry, dict):
                message, fix = f"{part}[{i}] is {shown(entry)}", "give a json object, or remove it"
                yield FieldFault(part, i, None, False, False, message, fix)
                continue
            for field, parse in parsers.items():
                if field in unread:
                    continue
                needed = field in FIELDS[part] and field not in optional
                fault = _field_fault(entry, field, parse, needed)
                if fault is not None:
                    missing, message, fix = fault
                    yield FieldFault(part, i, field, missing, False, f"{part}[{i}] {message}", fix)
            for field in entry.keys() - parsers.keys():
                where = not_finite(entry[field], field)
                if where is not None:
                    message = f"{part}[{i}] has the {field} {shown(entry[field])}"
                    message += f", of which {where} is no number" if where != field else ""
                    fix = "json has no such number; give another, or null"
                    yield FieldFault(part, i, field, False, False, message, fix)
            number = entry.get("id")
            if is_id(number):
                first = seen.setdefault(number, i)
                if first != i and part not in may_repeat:
                    message = f"{part}[{i}] repeats the id {number!r} of {part}[{first}]"
                    yield FieldFault(part, i, "id", False, True, message, "give each its own")


def _field_fault(
    entry: dict, field: str, parse: Callable, needed: bool
) -> tuple[bool, str, str] | None:
    """Whether a field of an entry is missing, what is wrong with it, and the fix; None where
    nothing is."""
    value = entry.get(field)
    if value is None:
        if needed and (field not in entry or field != "segmentation"):  # null is an empty mask
            has = "has no" if field not in entry else "has the value null as its"
            return True, f"{has} `{field}`", "add it as in COCO instance format"
        return None
    try:
        parse(value)
    except ValueError as error:
        return False, f"has the {field} {shown(value)}", str(error)
    if value == 0 and needed and parse is parse_side:
        return True, f"has the {field} 0", "give the picture's pixels"
    return None


def check_fields(
    content: dict,
    json_file: str | os.PathLike,
    optional: Collection[str] = (),
    unread: Collection[str] = (),
    may_repeat: Collection[str] = (),
) -> None:
    """Make sure that every field can be read, that every entry has the ``FIELDS`` of its list, and
    an id of its own.

    Args:
        content, optional, unread, may_repeat: as :func:`field_faults` takes them.
        json_file: the content's file, for the message.

    Raises:
        ValueError: naming file, entry, field and value of the first that is not so.
    """
    fault = next(field_faults(content, optional, unread, may_repeat), None)
    if fault is not None:
        raise ValueError(f"{json_file}: {fault.message}; {fault.fix}")


def drawable(segmentation: list | dict | None) -> list | dict | None:
    """What of a segmentation, as :func:`load_coco` gives it, can be drawn: RLE, or its polygons of
    three points or more; None where that is nothing."""
    if isinstance(segmentation, list):
        segmentation = [p for p in segmentation if len(p) >= 6 and len(p) % 2 == 0]
    return segmentation or None


def id_order(entry: dict) -> tuple[bool, int | str]:
    """Sort key of entries by their ids, as :func:`load_coco` gives them: numbers before texts."""
    return isinstance(entry["id"], str), entry["id"]


def is_large(annotation: dict, image: dict) -> bool:
    """Whether an object whose mask is not known is large in its picture: its box covers a share of
    ``LARGE`` or more, or is not known."""
    try:
        _, _, w, h = parse_box(annotation.get("bbox"))
        pixels = parse_side(image.get("height")) * parse_side(image.get("width"))
    except ValueError:
        return True
    return w * h == 0 or w * h >= LARGE * pixels
