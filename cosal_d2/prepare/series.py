"""Writing a series of drawn scenes as a dataset root: COCO json beside its image folder."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from tqdm import tqdm

from cosal_d2.utils.masks import mask_rle, rle_fields
from cosal_d2.utils.parallel import ordered_map, worker_count


def check_name(name: str) -> None:
    """Raise ValueError where `name` cannot name a dataset's files."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError(
            f"name: {name!r} is no dataset name; use letters, digits, '_', '-' and '.'"
        )


@dataclass(frozen=True)
class SeriesSpec:
    """A series of scenes to write.

    Attributes:
        root: dataset root; the files go to `root/cosal/name.json` and `root/cosal/name/`.
        name: dataset name: letters, digits, `_`, `-` and `.`.
        count: number of scenes.
        seed: seed of the series.

    Raises:
        ValueError: a value is unusable; the message names the attribute.
    """

    root: Path
    name: str
    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.count < 1:
            raise ValueError(f"count: {self.count} scenes asked for; give 1 or more")
        if self.seed < 0:
            raise ValueError(f"seed: {self.seed} is negative; give 0 or more")


class DrawnInstance(Protocol):
    """An object of a scene: its category and class, and its visible pixels, bool (H, W)."""

    category: str
    class_name: str
    mask: np.ndarray


class DrawnScene(Protocol):
    """A scene: uint8 BGR (H, W, 3), the repeated class or None, objects, JPEG quality (0-100)."""

    image: np.ndarray
    cosalient_category: str | None
    instances: Sequence[DrawnInstance]
    quality: int


@dataclass(frozen=True)
class SeriesContent:
    """What a series shows.

    Attributes:
        draw: makes the scene of an index; a picklable, pure function.
        categories: category names in the order of their ids, which start at 1.
        description: goes to the json's `info`.
        extra: names of further instance attributes that become annotation fields.
    """

    draw: Callable[[int], DrawnScene]
    categories: Sequence[str]
    description: str
    extra: tuple[str, ...] = ()


class _SceneWriter:
    """Draws scene number i, writes its JPEG and returns its json entries, without ids."""

    def __init__(self, content: SeriesContent, folder: Path) -> None:
        self.content, self.folder = content, folder
        self.ids = {name: i for i, name in enumerate(content.categories, 1)}

    def __call__(self, index: int) -> dict:
        scene = self.content.draw(index)
        file_name = f"{index:06d}.jpg"
        done, data = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, scene.quality])
        if not done:
            raise OSError(f"{self.folder / file_name}: OpenCV could not encode the image as JPEG")
        (self.folder / file_name).write_bytes(data.tobytes())
        height, width = scene.image.shape[:2]
        return {
            "image": {
                "file_name": file_name,
                "height": height,
                "width": width,
                "cosalient_category": scene.cosalient_category,
            },
            "annotations": [self._annotation(i) for i in scene.instances],
        }

    def _annotation(self, instance: DrawnInstance) -> dict:
        return {
            "category_id": self.ids[instance.category],
            "class_name": instance.class_name,
            **{name: getattr(instance, name) for name in self.content.extra},
            **rle_fields([mask_rle(instance.mask)])[0],
            "iscrowd": 0,
        }


def _assemble(content: SeriesContent, scenes: list[dict]) -> dict:
    images, annotations = [], []
    for image_id, scene in enumerate(scenes, 1):
        images.append({"id": image_id, **scene["image"]})
        for entry in scene["annotations"]:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **entry})
    return {
        "info": {"description": content.description},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(content.categories, 1)],
    }


def former_versions(path: Path) -> list[Path]:
    """What `install_dataset` moved aside from `path` and could not clear up, as it was killed."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.\d+\.former")
    return [p for p in path.parent.iterdir() if pattern.fullmatch(p.name)]


def install_dataset(new_folder: Path, new_json: Path, folder: Path, json_file: Path) -> None:
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


def check_free(home: Path, name: str, overwrite: bool) -> None:
    """Make sure that a dataset may be written as `home/name.json` and `home/name/`.

    Raises:
        FileExistsError: it exists and `overwrite` is False.
    """
    for path in (home / f"{name}.json", home / name):
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path}: exists already; give another name or --overwrite to replace the dataset"
            )


def write_series(
    spec: SeriesSpec,
    content: SeriesContent,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Draw a series of scenes and write it as COCO instances.

    Masks are compressed RLE, boxes are tight, `cosalient_category` (image field) names the repeated
    class or is null, `class_name` (annotation field) is the object's own class, for distractors
    too. The output is the same, byte by byte, for any number of workers. It is built in a hidden
    folder beside its place and moved there when complete, the json last.

    Args:
        spec: where to write, and how many scenes.
        content: what to write.
        workers: processes; None takes one for each core that this process may use.
        overwrite: replace a dataset of the same name once the new one is complete.
        progress: show a progress bar.

    Returns:
        The json file.

    Raises:
        FileExistsError: the dataset exists and `overwrite` is False.
        ValueError: `workers` is less than 1.
    """
    home = Path(spec.root) / "cosal"
    workers = min(worker_count(workers), spec.count)
    check_free(home, spec.name, overwrite)
    folder, json_file = home / spec.name, home / f"{spec.name}.json"
    partial_folder = home / f".{spec.name}.{os.getpid()}.partial"
    partial_json = partial_folder.with_suffix(".json")
    home.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir()
    try:
        drawn = ordered_map(_SceneWriter(content, partial_folder), range(spec.count), workers)
        scenes = list(tqdm(drawn, total=spec.count, unit="scene", disable=not progress))
        text = json.dumps(_assemble(content, scenes), separators=(",", ":"), allow_nan=False)
        partial_json.write_text(text + "\n", encoding="utf-8")
        install_dataset(partial_folder, partial_json, folder, json_file)
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_json.unlink(missing_ok=True)
    return json_file
