"""An image folder beside a folder of masks: binary, as of saliency sets, or instance indices."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cosal_d2.prepare.convert.convert import Scene
from cosal_d2.prepare.convert.entries import by_stem, listing_stamp, need_folder
from cosal_d2.prepare.convert.index_masks import components, indexed, read_binary, read_values
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.masks import mask_rle
from cosal_d2.utils.pictures import PICTURE_SUFFIXES

HELP = "an image folder and a folder of masks: binary, or instance-index PNGs"
DEFAULTS = {"min_area": 0.001, "min_union": 0.0, "max_union": 1.0}
KINDS = ("auto", "binary", "index")
SAMPLE = 50  # masks that `auto` looks at
MAX_COLOURS = 100  # more are no instance colours


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this format."""
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="FOLDER", help="pictures")
    add(
        "--masks",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="masks named as their pictures; --mask-suffix is cut from their names",
    )
    add(
        "--kind",
        choices=KINDS,
        default="auto",
        help="binary: connected components become instances; index: 0 is background, every other "
        "value (or colour) an instance; auto looks at the first masks (default)",
    )
    add("--mask-suffix", default="", metavar="TEXT", help="such as _mask: a.jpg has a_mask.png")
    add("--category", default="object", metavar="NAME", help="class of all objects (object)")
    add(
        "--opening",
        type=int,
        default=0,
        metavar="PIXELS",
        help="binary: radius of a morphological opening that parts touching objects (0: none)",
    )
    add("--threshold", type=int, metavar="VALUE", help="binary: least value inside (half)")
    add("--void", type=int, nargs="+", default=[], metavar="VALUE", help="index: of no object")
    add("--skip-missing", action="store_true", help="leave pictures without a mask out")


def source(args: Namespace) -> MaskSource:
    """The source that the options name."""
    return MaskSource(
        args.images,
        args.masks,
        kind=args.kind,
        suffix=args.mask_suffix,
        category=args.category,
        min_area=args.min_area,
        opening=args.opening,
        threshold=args.threshold,
        void=tuple(args.void),
        skip_missing=args.skip_missing,
    )


class MaskSource:
    """A `Source`: pictures with a mask picture each.

    Args:
        images, masks: folders; names agree but for the suffix, in subfolders too.
        kind: `auto`, `binary` or `index`.
        suffix: what mask names have more than picture names.
        category: class of all objects.
        min_area: binary: components under this share of the picture are dropped.
        opening: binary: radius of an opening, pixels.
        threshold: binary: least value inside; None: half the range.
        void: index: values of no object.
        skip_missing: leave pictures without a mask out.

    Raises:
        FileNotFoundError: a folder or a mask is missing.
        ValueError: an argument is unusable; the message names it.
    """

    def __init__(
        self,
        images: Path,
        masks: Path,
        *,
        kind: str = "auto",
        suffix: str = "",
        category: str = "object",
        min_area: float = 0.001,
        opening: int = 0,
        threshold: int | None = None,
        void: tuple[int, ...] = (),
        skip_missing: bool = False,
    ) -> None:
        self.images, self.masks = need_folder(images, "images"), need_folder(masks, "masks")
        if opening < 0:
            raise ValueError(f"opening: a radius of {opening} pixels; give 0 or more")
        if category == DISTRACTOR:
            raise ValueError(f"category: {DISTRACTOR!r} is never co-salient; give another name")
        self.category, self.min_area, self.opening = category, min_area, opening
        self.threshold, self.void = threshold, frozenset(void)
        self.categories, self.fields = {category: 1}, {}
        self.description = f"Masks of {self.masks.name}"
        self.pairs = self._pairs(suffix, skip_missing)
        self.kind = _guess([m for _, m in self.pairs[:SAMPLE]]) if kind == "auto" else kind
        self.fingerprint = {
            "images": listing_stamp(self.images, [p for p, _ in self.pairs]),
            "masks": listing_stamp(self.masks, [m for _, m in self.pairs]),
            "reading": [self.kind, category, min_area, opening, threshold, sorted(void)],
        }

    def _pairs(self, suffix: str, skip_missing: bool) -> list[tuple[Path, Path]]:
        found = {}
        for stem, file in by_stem(self.masks, PICTURE_SUFFIXES).items():
            if stem.endswith(suffix):
                found[stem[: len(stem) - len(suffix)]] = file
        pairs = []
        pictures = by_stem(self.images)
        if self.images.resolve() == self.masks.resolve() and suffix:
            pictures = {s: p for s, p in pictures.items() if not s.endswith(suffix)}
        for stem, picture in pictures.items():
            if stem in found:
                pairs.append((picture, found[stem]))
            elif not skip_missing:
                raise FileNotFoundError(
                    f"{picture}: no mask {stem}{suffix}.png (or another suffix) in {self.masks}; "
                    "add it, or give --mask-suffix or --skip-missing"
                )
        if not pairs:
            raise FileNotFoundError(
                f"{self.images}: no picture has a mask in {self.masks}; masks are named as their "
                "pictures"
            )
        return pairs

    def tasks(self, work: Path) -> tuple[int, Iterable]:
        """Pairs of picture and mask."""
        return len(self.pairs), self.pairs

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k not in ("pairs", "fingerprint")}

    def read(self, task: tuple[Path, Path]) -> Scene:
        """The scene of a picture and its mask."""
        picture, mask = task
        if self.kind == "binary":
            inside = read_binary(mask, self.threshold)
            rles = components(inside, self.min_area * inside.size, self.opening)
            size = inside.shape
        else:
            values = read_values(mask)
            rles = [mask_rle(m) for _, m in indexed(values, self.void)]
            size = values.shape
        objects = [SourceObject(self.category, rle) for rle in rles]
        return Scene(picture, picture.relative_to(self.images).as_posix(), *size, objects)


def _guess(masks: list[Path]) -> str:
    """`index` where a mask counts 0 to N, 2 <= N < 128, or has a few colours, and none is black and
    white of 8 or 16 bits."""
    counts = False
    for file in masks:
        values = np.unique(read_values(file))
        high = int(values[-1])
        if len(values) == 2 and high in (255, 65535):
            return "binary"
        counted = len(values) >= high and high < 128
        coloured = high > 65535 and len(values) <= MAX_COLOURS
        counts |= len(values) > 2 and (counted or coloured)
    return "index" if counts else "binary"
