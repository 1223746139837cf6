"""`cosal data synthetic`, `composites` and `sprites`: datasets that are drawn or composed."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from cosal_d2.cli.verbs import add_verb

if TYPE_CHECKING:
    from cosal_d2.prepare.scene import SceneOptions


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add the verbs to those of `cosal data`."""
    parser = add_verb(
        verbs,
        "synthetic",
        run_synthetic,
        help="draw scenes in which one class of objects repeats",
        example="cosal data synthetic --out data --name scenes --count 300 --seed 1",
    )
    _add_series_options(parser)

    parser = add_verb(
        verbs,
        "composites",
        run_composites,
        help="compose pictures of objects cut out of photographs",
        example="cosal data composites --json data/cosal/train.json --images data/cosal/train "
        "--out data --name composites --count 500 --seed 1",
    )
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FILE", help="COCO instance json with masks")
    add("--images", type=Path, required=True, metavar="FOLDER", help="its pictures")
    _add_series_options(parser)
    add(
        "--classes",
        type=Path,
        metavar="FILE",
        help="use these classes only, one name a line: categories, and sprites as sprite/NAME; all "
        "sprites are used where none is listed",
    )
    add(
        "--sprites",
        type=Path,
        metavar="FOLDER",
        help="PNG or WebP with alpha, named as their class",
    )
    add(
        "--sprite-share",
        type=float,
        default=0.5,
        metavar="P",
        help="share of sprites among group classes and distractors (default 0.5)",
    )

    parser = add_verb(
        verbs,
        "sprites",
        run_sprites,
        help="take colour emoji out of fonts and picture folders, as sprites for composites",
        example="cosal data sprites --out sprites --font NotoColorEmoji.ttf --images fluent/assets",
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FOLDER", help="writes FOLDER/SOURCE/CODE.png")
    add(
        "--font",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="colour fonts, such as NotoColorEmoji.ttf",
    )
    add(
        "--images",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="PNG or WebP with alpha, named by code points such as 1f34e.webp",
    )
    add("--overwrite", action="store_true", help="replace folders of the same names")


def _add_series_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="ROOT", help="dataset root")
    add("--name", required=True, help="writes ROOT/cosal/NAME.json and its folder")
    add("--count", type=int, required=True, help="number of pictures")
    add("--seed", type=int, default=0, help="seed of the series (default 0)")
    add("--groups", type=int, default=1, metavar="N", help="classes that repeat (default 1)")
    add(
        "--no-group",
        dest="groups",
        action="store_const",
        const=0,
        help="nothing repeats: every object is a distractor",
    )
    add(
        "--objects",
        type=int,
        nargs=2,
        default=(2, 6),
        metavar=("MIN", "MAX"),
        help="objects of each group; with --no-group, all objects (default 2 6)",
    )
    add(
        "--distractors",
        type=int,
        nargs="+",
        metavar="N",
        help="single objects of other classes: one number, or MIN MAX (default 0 4)",
    )
    add("--size", type=int, nargs=2, metavar=("H", "W"), help="pixels (default: varied)")
    add("--workers", type=int, help="processes (default: one a core)")
    add("--overwrite", action="store_true", help="replace a dataset of the same name")


def _scene_options(args: argparse.Namespace) -> SceneOptions:
    from cosal_d2.prepare.scene import SceneOptions

    counts = args.distractors or (0, 4)
    if len(counts) > 2:
        raise ValueError(f"--distractors: give one number or MIN MAX, not {len(counts)}")
    if args.groups:
        distractors = counts[0], counts[-1]
        return SceneOptions(tuple(args.objects), distractors, args.groups, args.size)
    if args.distractors:
        raise ValueError("--distractors: with --no-group, --objects counts all objects")
    return SceneOptions(distractors=tuple(args.objects), groups=0, size=args.size)


def run_synthetic(args: argparse.Namespace) -> None:
    """Draw and write a series of synthetic scenes."""
    from cosal_d2.prepare.synthetic import DatasetSpec, write_dataset

    spec = DatasetSpec(args.out, args.name, args.count, args.seed, _scene_options(args))
    json_file = write_dataset(spec, args.workers, args.overwrite, progress=True)
    print(f"{args.count} scenes: {json_file} and {json_file.with_suffix('')}/")


def run_composites(args: argparse.Namespace) -> None:
    """Compose and write a series of pictures."""
    from cosal_d2.prepare.composites import write_composites
    from cosal_d2.prepare.series import DatasetSpec

    json_file = write_composites(
        DatasetSpec(args.out, args.name, args.count, args.seed, _scene_options(args)),
        args.json,
        args.images,
        classes_file=args.classes,
        sprite_folder=args.sprites,
        sprite_share=args.sprite_share,
        workers=args.workers,
        overwrite=args.overwrite,
        progress=True,
    )
    print(f"{args.count} pictures: {json_file} and {json_file.with_suffix('')}/")


def run_sprites(args: argparse.Namespace) -> None:
    """Write the sprites of fonts and folders."""
    from cosal_d2.prepare.composites.emoji import write_sprites

    written = write_sprites(args.out, args.font, args.images, args.overwrite)
    for name, codes in written.items():
        print(f"{args.out / name}: {len(codes)} sprites")
    counts = Counter(code for codes in written.values() for code in codes)
    print(f"{len(counts)} classes, {sum(n > 1 for n in counts.values())} with several instances")
