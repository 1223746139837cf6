"""From a source of annotated pictures, of whatever format, to a co-saliency dataset."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from cosal_d2.prepare.convert.class_names import Spelling
from cosal_d2.prepare.convert.dataset_writer import (
    Entry,
    Skipped,
    Written,
    write_entries,
)
from cosal_d2.prepare.convert.drawing_frame import Frame, check_frame, doubt
from cosal_d2.prepare.convert.left_out import NO_PIXEL, LeftOut
from cosal_d2.prepare.convert.no_group import why_no_group
from cosal_d2.prepare.convert.options import Options
from cosal_d2.prepare.convert.picture_file import (
    Picture,
    load_picture,
    scaled,
    scaled_rle,
    smaller,
    upright_rle,
)
from cosal_d2.prepare.convert.selection import Selected, SourceObject, select, spelled
from cosal_d2.prepare.target import Target
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.files import LONGEST_NAME, NotAFileError
from cosal_d2.utils.masks import rle_fields
from cosal_d2.utils.size_limit import LIMIT_VARIABLE, max_pixels


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
        left_out: shapes that make no object.
        clipped: number of objects that reached beyond the picture.
        frame: what its size rests on; None where that is the masks' own.
    """

    file: Path
    name: str
    height: int
    width: int
    objects: list[SourceObject]
    fields: dict = field(default_factory=dict)
    data: bytes | None = None
    left_out: list[LeftOut] = field(default_factory=list)
    clipped: int = 0
    frame: Frame | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its masks, pixels."""
        return self.height, self.width

    def lacks_large(self, least: float) -> bool:
        """Whether a shape that makes no object may well be one of `least` pixels or more."""
        return any(shape.is_large(least) for shape in self.left_out)


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
        shapes: number of shapes that are of no task's picture, by reason.
    """

    tasks: Sequence
    read: Callable[[Any], Scene]
    description: str
    categories: dict[str, int] | None = None
    fields: dict = field(default_factory=dict)
    shapes: Counter = field(default_factory=Counter)


def convert(source: Source, target: Target, options: Options | None = None) -> Written:
    """Convert a source into `root/cosal/name.json` and its image folder.

    Each picture is decoded, so that a truncated one is found. Masks become compressed RLE in the
    picture's upright frame, boxes are tight; `cosalient_category` names the co-salient class or is
    null; other salient objects are of category `distractor` and keep their own class as
    `class_name`; objects of the co-salient class under the least area are marked `small`; a
    picture is marked `clean` false where a large shape made no object, or where its masks may be
    turned. Class names that differ by case or blanks alone are one class.

    Args:
        source: from the format's module.
        target: where to write.
        options: what to keep.

    Raises:
        ValueError, OSError: the source is faulty; the message names file, field and fix.
    """
    options = options or Options()
    spelling = Spelling(source.categories or (), options.strip_number)
    categories = None
    if source.categories is not None:
        categories = {}
        for name, number in source.categories.items():
            categories.setdefault(spelling.of(name), number)
    classes = tuple(spelling.of(name) for name in options.classes)
    for name, given in zip(classes, options.classes, strict=True):
        if categories is not None and name not in categories:
            raise ValueError(
                f"class: {given!r} is none of the source's classes: {', '.join(sorted(categories))}"
            )
    options = replace(options, classes=classes)
    return write_entries(
        partial(_convert_picture, source.read, spelling, options),
        source.tasks,
        target,
        description=source.description,
        categories=categories,
        fields=source.fields,
        shapes=source.shapes,
        if_empty=partial(why_no_group, source.read, source.tasks, spelling, options),
    )


def _convert_picture(
    read: Callable[[Any], Scene], spelling: Spelling, options: Options, task: object
) -> Entry | Skipped:
    try:
        scene = read(task)
        shapes = Counter(shape.reason for shape in scene.left_out)
        objects = spelled(scene.objects, spelling)
        chosen = select(objects, scene.height, scene.width, options)
        if chosen is None:
            return Skipped("without a group", shapes=shapes)
        least = options.min_area * scene.height * scene.width
        if chosen.group is None and scene.lacks_large(least):
            return Skipped("with a large shape left out, and without a group", shapes=shapes)
        shapes.update(_left_out(objects, chosen, least))
        return replace(_entry(scene, chosen, options), shapes=shapes)
    except (OSError, ValueError) as error:
        if options.skip_bad or isinstance(error, NotAFileError):
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
    elif size[0] * size[1] > max_pixels():
        raise ValueError(
            f"{scene.file}: {size[0] * size[1] / 1e6:.0f} megapixels are read at reduced scale, "
            f"which its masks would not fit; give --max-side, or set {LIMIT_VARIABLE}"
        )
    if len(os.fsencode(PurePosixPath(name).name)) > LONGEST_NAME:
        raise NotAFileError(
            f"{scene.file}: in the dataset its name would have over {LONGEST_NAME} bytes, which no "
            "folder takes; give it a shorter one"
        )
    least = options.min_area * scene.height * scene.width
    annotations = [
        {**_roles(item, chosen.group, least), **fields, "iscrowd": int(item.crowd)}
        for item, fields in zip(items, rle_fields(rles), strict=True)
        if fields["area"]
    ]
    remarks, clean = _remarks(scene, picture, least)
    image = {
        **scene.fields,
        "height": size[0],
        "width": size[1],
        "cosalient_category": chosen.group,
        **({} if clean else {"clean": False}),
    }
    return Entry(scene.file, name, image, annotations, content, remarks, clipped=scene.clipped)


def _remarks(
    scene: Scene, picture: Picture, least: float
) -> tuple[tuple[tuple[str, str], ...], bool]:
    """What is to be said of a picture, and whether its annotation is beyond doubt.

    Returns:
        pairs of a remark and what it is about; whether the picture is clean.
    """
    remarks = [
        ("marked not clean: a large shape makes no object", shape.message)
        for shape in scene.left_out
        if shape.is_large(least)
    ]
    clean = not remarks
    frame = scene.frame or Frame(*scene.size, stated=scene.size)
    open_question = doubt(frame, picture) if scene.objects else None
    if open_question is not None:
        mark = "marked not clean: " if open_question.severe else ""
        remarks.append((f"{mark}{open_question.text}", str(scene.file)))
        clean = clean and not open_question.severe
    return tuple(remarks), clean


def _is_unrotated(scene: Scene, picture: Picture) -> bool:
    """Whether the masks were drawn on the picture as stored, without its EXIF rotation."""
    check_frame(scene.size, picture)
    return scene.size != picture.upright


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


def _left_out(objects: list[SourceObject], chosen: Selected, least: float) -> Counter:
    """Objects of a kept picture that the selection leaves out, by reason."""
    kept = {id(o) for o in chosen.objects + chosen.distractors}
    reasons = Counter()
    for item in objects:
        if id(item) in kept:
            continue
        if not item.area:
            reasons[NO_PIXEL] += 1
        elif item.crowd:
            reasons["crowds of other classes"] += 1
        elif item.area < least and item.class_name not in (chosen.group, DISTRACTOR):
            reasons["of other classes under --min-area"] += 1
        else:
            reasons["that overlap a larger one"] += 1
    return reasons
