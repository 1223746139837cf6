"""`cosal data coco`, `voc`, `masks`, `labelme` and `yolo`: datasets of annotated pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cosal_d2.cli.verbs import add_verb
from cosal_d2.prepare.convert.options import Options

if TYPE_CHECKING:
    from cosal_d2.prepare.convert.conversion import Source
    from cosal_d2.prepare.target import Target


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add a verb for each format to those of `cosal data`."""
    parser = add_verb(
        verbs,
        "coco",
        partial(_run, _coco),
        help="convert any COCO instance json with masks",
        example="cosal data coco --json instances.json --images photos --out data --name mine",
    )
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FILE", help="the annotations")
    add("--images", type=Path, required=True, metavar="FOLDER", help="its pictures")
    _add_common_options(parser, Options())

    parser = add_verb(
        verbs,
        "voc",
        partial(_run, _voc),
        help="convert Pascal VOC's JPEGImages, SegmentationObject and SegmentationClass",
        example="cosal data voc --voc VOCdevkit/VOC2012 --out data --name voc",
    )
    add = parser.add_argument
    add("--voc", type=Path, required=True, metavar="FOLDER", help="such as VOCdevkit/VOC2012")
    add(
        "--list",
        type=Path,
        metavar="FILE",
        help="names of pictures, one a line, such as ImageSets/Segmentation/train.txt",
    )
    add("--names", type=Path, metavar="FILE", help="classes from index 1 (default: VOC's twenty)")
    _add_common_options(parser, Options())

    parser = add_verb(
        verbs,
        "masks",
        partial(_run, _masks),
        help="convert an image folder and a folder of masks: binary, or instance-index PNGs",
        example="cosal data masks --images SDCS/images --masks SDCS/masks --out data --name sdcs",
    )
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
        choices=("auto", "binary", "index"),
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
    add("--invert", action="store_true", help="binary: objects are black on white")
    add("--void", type=int, nargs="+", default=[], metavar="VALUE", help="index: of no object")
    add("--skip-missing", action="store_true", help="leave pictures without a mask out")
    _add_common_options(parser, Options(min_area=0.001, min_union=0.0, max_union=1.0))

    parser = add_verb(
        verbs,
        "labelme",
        partial(_run, _labelme),
        help="convert a folder of LabelMe json files",
        example="cosal data labelme --json photos --out data --name mine",
    )
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FOLDER", help="json files, one a picture")
    add("--images", type=Path, metavar="FOLDER", help="pictures (default: beside the json files)")
    _add_common_options(parser, Options())

    parser = add_verb(
        verbs,
        "yolo",
        partial(_run, _yolo),
        help="convert YOLO polygons: images/, labels/ and class names",
        example="cosal data yolo --images images/train --labels labels/train --names data.yaml "
        "--out data --name mine",
    )
    add = parser.add_argument
    add(
        "--images",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="such as images/train, or the folder that has train/, valid/ and test/",
    )
    add(
        "--labels",
        type=Path,
        metavar="FOLDER",
        help="such as labels/train (default: the path of --images with labels for images)",
    )
    add(
        "--names",
        type=Path,
        metavar="FILE",
        help="data.yaml with `names`, or a text file with a name a line (default: the data.yaml in "
        "or above --images)",
    )
    _add_common_options(parser, Options())


def add_target_options(parser: argparse.ArgumentParser, name: bool = True) -> None:
    """Where and how a dataset is written."""
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="ROOT", help="dataset root")
    if name:
        add("--name", required=True, help="writes ROOT/cosal/NAME.json and its folder")
    add("--link", action="store_true", help="symbolic links to the pictures instead of copies")
    add("--overwrite", action="store_true", help="replace a dataset of the same name")
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")


def target(args: argparse.Namespace, name: str | None = None) -> Target:
    """The target that the options name."""
    from cosal_d2.prepare.target import Target

    return Target(args.out, name or args.name, args.link, args.overwrite, args.workers, True)


def _add_common_options(parser: argparse.ArgumentParser, standard: Options) -> None:
    """The options of all formats."""
    add_target_options(parser)
    add = parser.add_argument
    add(
        "--min-instances",
        type=int,
        default=standard.min_instances,
        metavar="N",
        help="least number of objects of the co-salient class (%(default)s)",
    )
    add(
        "--min-area",
        type=float,
        default=standard.min_area,
        metavar="SHARE",
        help="least area of each of these, and of a distractor, as a share of the picture "
        "(%(default)s)",
    )
    add(
        "--min-union",
        type=float,
        default=standard.min_union,
        metavar="SHARE",
        help="least share of the picture that the co-salient class covers (%(default)s)",
    )
    add(
        "--max-union",
        type=float,
        default=standard.max_union,
        metavar="SHARE",
        help="largest such share (%(default)s)",
    )
    add(
        "--class",
        dest="classes",
        nargs="+",
        default=standard.classes,
        metavar="NAME",
        help="only these can be co-salient (default: the class that covers most)",
    )
    add(
        "--keep-empty",
        action="store_true",
        help="keep pictures in which nothing repeats, with an empty truth",
    )
    add(
        "--max-side",
        type=int,
        metavar="PIXELS",
        help="make larger pictures smaller; those over 179 megapixels need it, or a higher limit "
        "in the environment variable COSAL_MAX_MEGAPIXELS",
    )
    add("--skip-bad", action="store_true", help="leave faulty pictures out instead of stopping")
    add(
        "--strip-number",
        action="store_true",
        help="numbers at the end of labels are no part of the class: apple1 and apple-2 are apples",
    )
    add(
        "--masks-from-boxes",
        action="store_true",
        help="objects that have only a box get the released network's mask in it; their pictures "
        "are marked `weak_masks`. Of VOC, those of Annotations/*.xml",
    )


def _run(open_source: Callable[[argparse.Namespace], Source], args: argparse.Namespace) -> int:
    from cosal_d2.prepare.convert.conversion import convert

    options = Options(**{f.name: getattr(args, f.name) for f in fields(Options)})
    place = target(args)
    given = ("json", "images", "voc", "list", "names", "masks", "labels")
    place.check_apart(*filter(None, (getattr(args, name, None) for name in given)))
    source = open_source(args)
    if args.masks_from_boxes:
        from cosal_d2.inference import CoSaliencyPredictor
        from cosal_d2.inference.box_masks import with_box_masks

        source = with_box_masks(source, CoSaliencyPredictor().masks_in, progress=True)
    written = convert(source, place, options)
    print(written.summary())
    if options.skip_bad or not written.faults:
        return 0
    print(f"{len(written.faults)} failed:", *written.faults, sep="\n  ", file=sys.stderr)
    return 1


def _coco(args: argparse.Namespace) -> Source:
    from cosal_d2.prepare.convert.coco import coco_source

    return coco_source(args.json, args.images)


def _voc(args: argparse.Namespace) -> Source:
    from cosal_d2.prepare.convert.voc import voc_source
    from cosal_d2.prepare.convert.voc_boxes import voc_boxes_source

    if args.masks_from_boxes:
        return voc_boxes_source(args.voc, args.list)
    return voc_source(args.voc, args.list, args.names)


def _masks(args: argparse.Namespace) -> Source:
    from cosal_d2.prepare.convert.mask_folders import mask_source

    return mask_source(
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
        invert=args.invert,
    )


def _labelme(args: argparse.Namespace) -> Source:
    from cosal_d2.prepare.convert.labelme import labelme_source

    return labelme_source(args.json, args.images)


def _yolo(args: argparse.Namespace) -> Source:
    from cosal_d2.prepare.convert.yolo import yolo_source

    return yolo_source(args.images, args.labels, args.names)
