"""How long a conversion takes beside only decoding and copying its pictures."""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cosal_d2.prepare.convert.coco import CocoSource
from cosal_d2.prepare.convert.convert import convert
from cosal_d2.prepare.convert.writer import Target
from cosal_d2.prepare.synthetic import SceneOptions, render_scene
from cosal_d2.utils.parallel import ordered_map, worker_count

SIZE = (480, 640)  # height and width, as most of COCO's
SCENES = 24  # drawn; the others are copies
OBJECTS = (2, 6)
SMALL_OBJECTS = 2  # a picture, so that it has about as many as COCO's
NOISE = 6.0  # standard deviation, so that JPEGs are about as large as COCO's


@dataclass(frozen=True)
class Speed:
    """Medians over the rounds.

    Attributes:
        plain: seconds to decode and copy the pictures.
        conversion: seconds of the whole conversion.
        ratio: conversion over plain, of each round.
        memory: most memory in MiB: that of the first process and of its largest one, for each.
    """

    plain: float
    conversion: float
    ratio: float
    memory: float


def write_coco_like(root: Path, count: int, seed: int = 0) -> tuple[Path, Path]:
    """Write a COCO instance json and `count` JPEGs of 480 x 640 pixels, with polygon masks.

    Returns:
        The json and the image folder.
    """
    folder = root / "images"
    folder.mkdir(parents=True)
    options = SceneOptions(size=SIZE, group=OBJECTS)
    scenes = [_scene(folder, seed, i, options) for i in range(min(SCENES, count))]
    images, annotations = [], []
    for number in range(count):
        file, found = scenes[number % len(scenes)]
        name = f"{number:07d}.jpg"
        shutil.copyfile(file, folder / name)
        images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        for entry in found:
            annotations.append({**entry, "id": len(annotations), "image_id": number})
    for file, _ in scenes:
        file.unlink()
    names = {1: "thing", 2: "other"}
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": n} for i, n in names.items()],
    }
    json_file = root / "instances.json"
    json_file.write_text(json.dumps(content), encoding="utf-8")
    return json_file, folder


def _scene(folder: Path, seed: int, index: int, options: SceneOptions) -> tuple[Path, list[dict]]:
    """A drawn scene's file, and its objects and a few small ones as polygons."""
    scene = render_scene(seed, index, options)
    file = folder / f"scene{index}.jpg"
    rng = np.random.default_rng([seed, index])
    noisy = scene.image[:, :, ::-1] + rng.normal(0, NOISE, scene.image.shape)
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, quality=90)
    masks = [(1 if o.category == scene.cosalient_category else 2, o.mask) for o in scene.instances]
    for _ in range(SMALL_OBJECTS):
        mask = np.zeros(SIZE, np.uint8)
        centre = (int(rng.integers(20, SIZE[1] - 20)), int(rng.integers(20, SIZE[0] - 20)))
        axes = tuple(int(v) for v in rng.integers(6, 18, 2))
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        masks.append((2, mask))
    entries = []
    for category, mask in masks:
        outlines, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        corners = [cv2.approxPolyDP(o, 1.5, True) for o in outlines]
        polygons = [(c.ravel() + 0.25).tolist() for c in corners if len(c) > 2]
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        entries.append(
            {
                "category_id": category,
                "segmentation": polygons,
                "bbox": [x, y, w, h],
                "area": int(mask.sum()),
                "iscrowd": 0,
            }
        )
    return file, entries


def _decode_and_copy(target: Path, file: Path) -> None:
    with Image.open(file) as image:
        image.load()
    shutil.copyfile(file, target / file.name)


@contextmanager
def _stopwatch(times: list[float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    times.append(time.perf_counter() - start)


def measure(folder: Path, count: int, rounds: int, workers: int | None = None) -> Speed:
    """Time both alternately, on the same number of processes, starting them included.

    Args:
        folder: takes the pictures and what is made of them; 1 MB for five pictures.
        count: pictures.
        rounds: how often; one of each before them is not counted.
        workers: processes; None takes one a core.
    """
    workers = min(worker_count(workers), count)
    json_file, images = write_coco_like(folder / "source", count)
    files = sorted(images.iterdir())
    plain: list[float] = []
    whole: list[float] = []
    for number in range(rounds + 1):
        copies = folder / f"copies{number}"
        copies.mkdir()
        with _stopwatch(plain):
            for _ in ordered_map(partial(_decode_and_copy, copies), files, workers, chunk=8):
                pass
        shutil.rmtree(copies)
        root = folder / f"converted{number}"
        with _stopwatch(whole):
            convert(CocoSource(json_file, images), Target(root, "speed", workers=workers))
        shutil.rmtree(root)
        os.sync()
    ratios = [b / a for a, b in zip(plain[1:], whole[1:], strict=True)]
    unit = 1024 if os.uname().sysname != "Darwin" else 1024**2
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss if workers > 1 else 0
    return Speed(
        statistics.median(plain[1:]),
        statistics.median(whole[1:]),
        statistics.median(ratios),
        (own + workers * child) / unit,
    )
