"""Writing a series of scenes as a dataset root: COCO json beside its image folder."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from cosal_d2.synthetic.catalogue import CLASSES, DISTRACTOR
from cosal_d2.synthetic.scene import Instance, SceneOptions, render_scene

CATEGORIES: dict[str, int] = {name: i for i, name in enumerate([*CLASSES, DISTRACTOR], 1)}


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset to write.

    Attributes:
        root: dataset root; the files go to `root/cosal/name.json` and `root/cosal/name/`.
        name: dataset name: letters, digits, `_`, `-` and `.`.
        count: number of scenes.
        seed: seed of the series; scene i depends on (seed, i) and `options` alone.
        options: what a scene holds.

    Raises:
        ValueError: a value is unusable; the message names the attribute.
    """

    root: Path
    name: str
    count: int
    seed: int = 0
    options: SceneOptions = field(default_factory=SceneOptions)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", self.name):
            raise ValueError(
                f"name: {self.name!r} is no dataset name; use letters, digits, '_', '-' and '.'"
            )
        if self.count < 1:
            raise ValueError(f"count: {self.count} scenes asked for; give 1 or more")
        if self.seed < 0:
            raise ValueError(f"seed: {self.seed} is negative; give 0 or more")


def _annotation(instance: Instance) -> dict:
    rle = coco_mask.encode(np.asfortranarray(instance.mask, dtype=np.uint8))
    return {
        "category_id": CATEGORIES[instance.category],
        "class_name": instance.class_name,
        "bbox": [float(v) for v in coco_mask.toBbox(rle)],
        "area": int(coco_mask.area(rle)),
        "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
        "iscrowd": 0,
    }


def _write_scene(index: int, folder: Path, seed: int, options: SceneOptions) -> dict:
    """Draw a scene, write its JPEG and return its json entries, without ids."""
    scene = render_scene(seed, index, options)
    file_name = f"{index:06d}.jpg"
    done, data = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, scene.quality])
    if not done:
        raise OSError(f"{folder / file_name}: OpenCV could not encode the image as JPEG")
    (folder / file_name).write_bytes(data.tobytes())
    height, width = scene.image.shape[:2]
    return {
        "image": {
            "file_name": file_name,
            "height": height,
            "width": width,
            "cosalient_category": scene.cosalient_category,
        },
        "annotations": [_annotation(i) for i in scene.instances],
    }


def _one_thread() -> None:
    cv2.setNumThreads(1)


@contextlib.contextmanager
def _mapper(workers: int) -> Iterator:
    """An ordered, lazy map over `workers` processes, or in this one."""
    if workers == 1:
        threads = cv2.getNumThreads()
        _one_thread()
        try:
            yield map
        finally:
            cv2.setNumThreads(threads)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread)
    try:
        yield partial(pool.map, chunksize=4)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _assemble(spec: DatasetSpec, scenes: list[dict]) -> dict:
    images, annotations = [], []
    for image_id, scene in enumerate(scenes, 1):
        images.append({"id": image_id, **scene["image"]})
        for entry in scene["annotations"]:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **entry})
    return {
        "info": {"description": f"Synthetic co-saliency scenes, seed {spec.seed}"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for name, i in CATEGORIES.items()],
    }


def _install(new_folder: Path, new_json: Path, folder: Path, json_file: Path) -> None:
    """Put the finished dataset in place, the json last; on failure the former one is put back."""
    former = [
        (target, target.with_name(f".{target.name}.{os.getpid()}.former"))
        for target in (json_file, folder)
        if target.exists()
    ]
    moved: list[tuple[Path, Path]] = []
    try:
        for target, aside in former:
            os.replace(target, aside)
            moved.append((target, aside))
        os.replace(new_folder, folder)
        os.replace(new_json, json_file)
    except BaseException:
        if not new_folder.exists():
            os.replace(folder, new_folder)
        for target, aside in moved:
            os.replace(aside, target)
        raise
    for _, aside in moved:
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()


def write_dataset(
    spec: DatasetSpec, workers: int | None = None, overwrite: bool = False, progress: bool = False
) -> Path:
    """Draw a series of scenes and write it as COCO instances.

    Masks are the visible pixels as compressed RLE, boxes are tight, `cosalient_category` (image
    field) names the repeated class or is null, `class_name` (annotation field) is the object's own
    class, for distractors too. The output is the same, byte by byte, for any number of workers. It
    is built in a hidden folder beside its place and moved there when complete, the json last.

    Args:
        spec: what to write and where.
        workers: processes; None takes one for each core that this process may use.
        overwrite: replace a dataset of the same name once the new one is complete.
        progress: show a progress bar.

    Returns:
        The json file.

    Raises:
        FileExistsError: the dataset exists and `overwrite` is False.
        ValueError: `workers` is less than 1.
    """
    if workers is None:
        cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        workers = len(cores) or os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"workers: {workers} processes asked for; give 1 or more")
    home = Path(spec.root) / "cosal"
    folder, json_file = home / spec.name, home / f"{spec.name}.json"
    for path in (json_file, folder):
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path}: exists already; give another name or --overwrite to replace the dataset"
            )
    partial_folder = home / f".{spec.name}.{os.getpid()}.partial"
    partial_json = partial_folder.with_suffix(".json")
    home.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir()
    try:
        draw = partial(_write_scene, folder=partial_folder, seed=spec.seed, options=spec.options)
        with _mapper(min(workers, spec.count)) as run:
            bar = tqdm(
                run(draw, range(spec.count)), total=spec.count, unit="scene", disable=not progress
            )
            scenes = list(bar)
        text = json.dumps(_assemble(spec, scenes), separators=(",", ":"), allow_nan=False)
        partial_json.write_text(text + "\n", encoding="utf-8")
        _install(partial_folder, partial_json, folder, json_file)
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_json.unlink(missing_ok=True)
    return json_file
