"""From a source of annotated pictures, of whatever format, to a co-saliency dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from cosal_d2.prepare.convert.dataset_writer import (
    Entry,
    Skipped,
    Target,
    Written,
    write_entries,
)
from cosal_d2.prepare.convert.options import Options
from cosal_d2.prepare.convert.picture_file import (
    Picture,
    load_picture,
    scaled,
    scaled_rle,
    smaller,
    upright_rle,
)
from cosal_d2.prepare.convert.selection import Selected, SourceObject, select
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.masks import rle_fields


@dataclass(frozen=True)
class Scene:
    """An annotated picture as a source has it.

    Attributes:
        file: the picture.
        name: its relative path among the source's pictures.
        height, width: of its masks, pixels: those of the picture, upright or as stored.
        objects: what is annotated.
        fields: further fields of its image entry.
        data: the picture's content, where it is no file of its own.
    """

    file: Path
    name: str
    height: int
    width: int
    objects: list[SourceObject]
    fields: dict = field(default_factory=dict)
    data: bytes | None = None


@dataclass(frozen=True)
class Source:
    """What a format's module makes of its files.

    Attributes:
        tasks: a picklable one for each picture.
        read: picklable; gives the scene of a task, and raises ValueError or OSError with file,
            field and fix where it is faulty.
        description: goes to the json's `info`.
        categories: names with their ids; None: those that occur, sorted.
        fields: further top-level fields of the json.
    """

    tasks: Sequence
    read: Callable[[Any], Scene]
    description: str
    categories: dict[str, int] | None = None
    fields: dict = field(default_factory=dict)


def convert(source: Source, target: Target, options: Options | None = None) -> Written:
    """Convert a source into `root/cosal/name.json` and its image folder.

    Each picture is decoded, so that a truncated one is found. Masks become compressed RLE in the
    picture's upright frame, boxes are tight; `cosalient_category` names the co-salient class or is
    null; other salient objects are of category `distractor` and keep their own class as
    `class_name`; objects of the co-salient class under the least area are marked `small`.

    Args:
        source: from the format's module.
        target: where to write.
        options: what to keep.

    Raises:
        ValueError, OSError: the source is faulty; the message names file, field and fix.
    """
    options = options or Options()
    if source.categories is not None:
        for name in options.classes:
            if name not in source.categories:
                raise ValueError(
                    f"class: {name!r} is none of the source's classes: "
                    f"{', '.join(sorted(source.categories))}"
                )
    return write_entries(
        partial(_convert_picture, source.read, options),
        source.tasks,
        target,
        description=source.description,
        categories=source.categories,
        fields=source.fields,
    )


def _convert_picture(
    read: Callable[[Any], Scene], options: Options, task: object
) -> Entry | Skipped:
    try:
        scene = read(task)
        chosen = select(scene.objects, scene.height, scene.width, options)
        return Skipped("without a group") if chosen is None else _entry(scene, chosen, options)
    except (OSError, ValueError) as error:
        if options.skip_bad:
            return Skipped(str(error), bad=True)
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"{error}; or leave such pictures out with --skip-bad") from error


def _entry(scene: Scene, chosen: Selected, options: Options) -> Entry:
    picture = load_picture(scene.file, scene.data)
    items = chosen.objects + chosen.distractors
    rles = [item.rle for item in items]
    if _is_unrotated(scene, picture):
        rles = [upright_rle(rle, picture.orientation) for rle in rles]
    name, content, size = scene.name, scene.data, picture.upright
    if options.max_side is not None and max(size) > options.max_side:
        content, suffix = smaller(picture, options.max_side)
        size = scaled(size, options.max_side)
        rles = [scaled_rle(rle, size) for rle in rles]
        if not (picture.is_jpeg or PurePosixPath(name).suffix.lower() == suffix):
            name += suffix
    least = options.min_area * scene.height * scene.width
    annotations = [
        {**_roles(item, chosen.group, least), **fields, "iscrowd": int(item.crowd)}
        for item, fields in zip(items, rle_fields(rles), strict=True)
        if fields["area"]
    ]
    image = {
        **scene.fields,
        "height": size[0],
        "width": size[1],
        "cosalient_category": chosen.group,
    }
    return Entry(scene.file, name, image, annotations, content)


def _is_unrotated(scene: Scene, picture: Picture) -> bool:
    """Whether the masks were drawn on the picture as stored, without its EXIF rotation."""
    size = scene.height, scene.width
    if size not in (picture.upright, picture.stored):
        height, width = picture.upright
        raise ValueError(
            f"{scene.file}: the picture is {height} x {width} pixels (height x width), its "
            f"annotation {scene.height} x {scene.width}; correct `height` and `width`, or replace "
            "the file"
        )
    return size != picture.upright


def _roles(item: SourceObject, group: str | None, least: float) -> dict:
    """Category and further fields of an object; co-salient ones under `least` pixels are small."""
    fields = dict(item.fields)
    if item.class_name == group:
        if item.area < least and not item.crowd:
            fields["small"] = True
        return {"category": group, **fields}
    if item.class_name != DISTRACTOR:
        fields.setdefault("class_name", item.class_name)
    return {"category": DISTRACTOR, **fields}
