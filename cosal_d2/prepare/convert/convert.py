"""From a source of annotated pictures, of whatever format, to a co-saliency dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from cosal_d2.prepare.convert.entries import Entry, Skipped
from cosal_d2.prepare.convert.pictures import (
    Picture,
    load_picture,
    scaled,
    scaled_rle,
    smaller,
    upright_rle,
)
from cosal_d2.prepare.convert.selection import Selected, Selection, SourceObject, select
from cosal_d2.prepare.convert.writer import Target, Written, write_entries
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


class Source(Protocol):
    """A format: picklable; `read` is called in other processes.

    Attributes:
        description, fingerprint, categories, fields: as of a `Job`.
    """

    description: str
    fingerprint: dict
    categories: dict[str, int] | None
    fields: dict

    def tasks(self, work: Path) -> tuple[int, Iterable]:
        """As of a `Job`."""

    def read(self, task: object) -> Scene | Skipped:
        """The annotated picture of a task.

        Raises:
            ValueError, OSError: it is faulty; the message names file, field and fix.
        """


@dataclass(frozen=True)
class Options:
    """How a source is converted.

    Attributes:
        selection: which pictures are kept.
        max_side: longest side in pixels; larger pictures are made smaller.
        skip_bad: leave faulty pictures out instead of stopping.

    Raises:
        ValueError: `max_side` is less than 1.
    """

    selection: Selection = field(default_factory=Selection)
    max_side: int | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.max_side is not None and self.max_side < 1:
            raise ValueError(f"max-side: {self.max_side} pixels; give 1 or more")


class ConversionJob:
    """A `Job`: reads a scene, selects, and checks the picture."""

    def __init__(self, source: Source, options: Options) -> None:
        self.source, self.options = source, options
        self.description = source.description
        self.fingerprint = {"source": source.fingerprint, "options": asdict(options)}

    @property
    def categories(self) -> dict[str, int] | None:
        """Those of the source."""
        return self.source.categories

    @property
    def fields(self) -> dict:
        """Those of the source."""
        return self.source.fields

    def tasks(self, work: Path) -> tuple[int, Iterable]:
        """Those of the source.

        Raises:
            ValueError: a class to select is none of the source's.
        """
        found = self.source.tasks(work)
        known = self.source.categories
        for name in self.options.selection.classes if known is not None else ():
            if name not in known:
                raise ValueError(
                    f"class: {name!r} is none of the source's classes: {', '.join(sorted(known))}"
                )
        return found

    def __call__(self, task: object) -> Entry | Skipped:
        """The entry of a picture, or why it is left out."""
        try:
            scene = self.source.read(task)
            if isinstance(scene, Skipped):
                return scene
            chosen = select(scene.objects, scene.height, scene.width, self.options.selection)
            if isinstance(chosen, str):
                return Skipped(chosen)
            return self._entry(scene, chosen)
        except (OSError, ValueError) as error:
            if self.options.skip_bad:
                return Skipped(str(error), bad=True)
            hint = "; or leave such pictures out with --skip-bad"
            raise type(error)(f"{error}{hint}") from error

    def _entry(self, scene: Scene, chosen: Selected) -> Entry:
        picture = load_picture(scene.file, scene.data)
        turn = _turn(scene, picture)
        size = picture.upright
        new = smaller(picture, self.options.max_side) if self.options.max_side else None
        name, content, scale = scene.name, scene.data, None
        if new is not None:
            content, suffix = new
            size = scale = scaled(size, self.options.max_side)
            if not (picture.is_jpeg or PurePosixPath(name).suffix.lower() == suffix):
                name += suffix
        pairs = [(o, upright_rle(o.rle, turn)) for o in chosen.objects + chosen.distractors]
        if scale is not None:
            pairs = [(item, scaled_rle(rle, scale)) for item, rle in pairs]
        annotations = [
            {**self._annotation(item, chosen.group, scene), **fields, "iscrowd": int(item.crowd)}
            for (item, _), fields in zip(pairs, rle_fields([r for _, r in pairs]), strict=True)
            if fields["area"]
        ]
        image = {
            **scene.fields,
            "height": size[0],
            "width": size[1],
            "cosalient_category": chosen.group,
        }
        return Entry(scene.file, name, image, annotations, content, picture.data)

    def _annotation(self, item: SourceObject, group: str | None, scene: Scene) -> dict:
        """Category and further fields of an object."""
        extra = dict(item.fields)
        if item.class_name == group:
            least = self.options.selection.min_area * scene.height * scene.width
            if item.area < least and not item.crowd:
                extra["small"] = True
            return {"category": group, **extra}
        if item.class_name != DISTRACTOR:
            extra.setdefault("class_name", item.class_name)
        return {"category": DISTRACTOR, **extra}


def _turn(scene: Scene, picture: Picture) -> int:
    """EXIF orientation that the scene's masks still lack; 1 for none."""
    if (scene.height, scene.width) == picture.upright:
        return 1
    if (scene.height, scene.width) == picture.stored:
        return picture.orientation
    height, width = picture.upright
    raise ValueError(
        f"{scene.file}: the picture is {height} x {width} pixels (height x width), its annotation "
        f"{scene.height} x {scene.width}; correct `height` and `width`, or replace the file"
    )


def convert(source: Source, target: Target, options: Options | None = None) -> Written:
    """Convert a source into `root/cosal/name.json` and its image folder.

    Each picture is decoded, so that a truncated one is found. Masks become compressed RLE in the
    picture's upright frame, boxes are tight; `cosalient_category` names the co-salient class or is
    null; other salient objects are of category `distractor` and keep their own class as
    `class_name`; objects of the co-salient class under the least area are marked `small`.

    Args:
        source: the format's reader.
        target: where to write.
        options: what to keep.

    Raises:
        FileExistsError: the dataset exists and may not be replaced.
        ValueError, OSError: the source is faulty; the message names file, field and fix.
    """
    return write_entries(ConversionJob(source, options or Options()), target)
