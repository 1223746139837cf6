"""What ``tools/demo.py`` and ``cosal predict`` do: pictures in, maps and overlays out."""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections.abc import Iterable

import cv2
import numpy as np
from tqdm import tqdm

from cosal_d2.config import get_cosal_config
from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.utils.drawing import draw_overlay, map_to_uint8
from cosal_d2.utils.pictures import PICTURE_SUFFIXES, read_image

DEFAULT_CONFIG = "cosal_vgg16_cpu.yaml"


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of prediction."""
    parser.add_argument(
        "--config-file",
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="a path, or the name of a shipped config (default: %(default)s)",
    )
    parser.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="PATH",
        help="pictures, folders of pictures, or glob patterns",
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where results go")
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config changes, such as MODEL.WEIGHTS output/model_final.pth",
    )


def run_predict(args: argparse.Namespace) -> int:
    """Write ``STEM_map.png`` and ``STEM_overlay.png`` for each picture.

    The map is 8-bit grey at the picture's upright size, round(255 p). A picture that cannot be read
    is named and left out.

    Returns:
        0, or 1 when nothing could be started or a picture was left out.
    """
    try:
        paths = find_pictures(args.input)
        os.makedirs(args.output, exist_ok=True)
        predictor = CoSaliencyPredictor(get_cosal_config(args.config_file, args.opts))
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    failed = 0
    for path in tqdm(paths, unit="picture", disable=None):
        try:
            image = read_image(path)
        except ValueError as error:
            tqdm.write(f"left out: {error}", file=sys.stderr)
            failed += 1
            continue
        stem = os.path.splitext(os.path.basename(path))[0]
        write_result(os.path.join(args.output, stem), image, predictor(image))
    print(f"{len(paths) - failed} of {len(paths)} pictures done, results in {args.output}")
    return 1 if failed else 0


def write_result(prefix: str, image: np.ndarray, cosal_map: np.ndarray) -> None:
    """Write ``PREFIX_map.png`` and ``PREFIX_overlay.png``.

    Args:
        prefix: folder and stem.
        image: uint8 BGR (H, W, 3).
        cosal_map: float32 (H, W) in [0, 1].

    Raises:
        OSError: a file cannot be written.
    """
    pictures = {"map": map_to_uint8(cosal_map), "overlay": draw_overlay(image, cosal_map)}
    for kind, picture in pictures.items():
        path = f"{prefix}_{kind}.png"
        if not cv2.imwrite(path, picture):
            raise OSError(f"cannot write {path}")


def find_pictures(inputs: Iterable[str]) -> list[str]:
    """Expand files, folders and glob patterns into picture paths, sorted within each.

    Raises:
        FileNotFoundError: an input matches nothing.
        ValueError: two pictures share a stem, so that one result would overwrite the other.
    """
    paths: dict[str, None] = {}
    for entry in inputs:
        if os.path.isfile(entry):
            found = [entry]
        else:
            pattern = os.path.join(glob.escape(entry), "*") if os.path.isdir(entry) else entry
            found = sorted(p for p in glob.glob(pattern) if p.lower().endswith(PICTURE_SUFFIXES))
        if not found:
            raise FileNotFoundError(f"--input {entry}: no such picture, or none in it")
        paths.update(dict.fromkeys(found))
    stems: dict[str, str] = {}
    for path in paths:
        stem = os.path.splitext(os.path.basename(path))[0]
        if stem in stems:
            raise ValueError(
                f"{stems[stem]} and {path} would both be written as {stem}_map.png; rename one, or "
                "give them in two runs with two outputs"
            )
        stems[stem] = path
    return list(paths)
