"""Writing a series of drawn scenes as a dataset: COCO json beside its folder of pictures."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from cosal_d2.prepare.scene import Scene, SceneOptions
from cosal_d2.utils.files import write_bytes, write_text
from cosal_d2.utils.masks import mask_rle, rle_fields
from cosal_d2.utils.parallel import ordered_map, worker_count
from cosal_d2.utils.pictures import encoded


def check_name(name: str) -> None:
    """Raise ValueError where `name` cannot name a dataset's files."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError(
            f"name: {name!r} is no dataset name; use letters, digits, '_', '-' and '.'"
        )


def check_free(home: Path, name: str, overwrite: bool) -> None:
    """Make sure that a dataset may be written as `home/name.json` and `home/name/`.

    Raises:
        FileExistsError: it exists and `overwrite` is False, or what exists is no dataset.
        NotADirectoryError: a file stands where a folder above it has to be.
    """
    for folder in (home, *home.parents):
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder}: is a file, not a folder; give another --out")
    json_file, pictures = home / f"{name}.json", home / name
    for path in (json_file, pictures):
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path}: exists already; give another name or --overwrite to replace the dataset"
            )
    for path, is_one in ((json_file, json_file.is_file()), (pictures, pictures.is_dir())):
        if path.exists() and not is_one:
            raise FileExistsError(
                f"{path}: is no part of a dataset, so --overwrite does not replace it; move it "
                "away, or give another name"
            )
    if pictures.is_dir() and not json_file.exists() and any(pictures.iterdir()):
        raise FileExistsError(
            f"{pictures}: is no dataset, as {json_file.name} is not beside it, so --overwrite does "
            "not replace it; move it away, or give another name"
        )


def install(*moves: tuple[Path, Path]) -> None:
    """Move new files and folders to their places, all of them or none; former ones are deleted.

    Args:
        moves: (new, place) in order, on one file system. On failure or interruption the new ones
            are moved back, and the former ones are put back in their places.
    """
    former = [
        (place, new.with_name(f".{place.name}.{os.getpid()}.former"))
        for new, place in moves
        if place.exists()
    ]
    try:
        for place, aside in reversed(former):
            os.replace(place, aside)
        for new, place in moves:
            os.replace(new, place)
    except BaseException:
        for new, place in moves:
            if place.exists() and not new.exists():
                os.replace(place, new)
        for place, aside in former:
            if aside.exists():
                os.replace(aside, place)
        raise
    for _, aside in former:
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        else:
            aside.unlink()


def install_dataset(new_folder: Path, new_json: Path, folder: Path, json_file: Path) -> None:
    """Put a finished dataset in place, the json last; on failure the former one is put back."""
    install((new_folder, folder), (new_json, json_file))


@dataclass(frozen=True)
class DatasetSpec:
    """A series of scenes to write.

    Attributes:
        root: dataset root; the files go to `root/cosal/name.json` and `root/cosal/name/`.
        name: dataset name: letters, digits, `_`, `-` and `.`.
        count: number of scenes.
        seed: seed of the series; scene i depends on (seed, i), `options` and the sources alone.
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
        check_name(self.name)
        if self.count < 1:
            raise ValueError(f"count: {self.count} scenes asked for; give 1 or more")
        if self.seed < 0:
            raise ValueError(f"seed: {self.seed} is negative; give 0 or more")


def _write_scene(
    draw: Callable[[int], Scene], categories: dict[str, int], folder: Path, index: int
) -> tuple[dict, list[dict]]:
    """Draw scene number `index`, write its JPEG and return its image entry and annotations."""
    scene = draw(index)
    file = folder / f"{index:06d}.jpg"
    write_bytes(file, encoded(scene.image, ".jpg", scene.quality))
    image = {
        "id": index + 1,
        "file_name": file.name,
        "height": scene.image.shape[0],
        "width": scene.image.shape[1],
        "cosalient_category": scene.cosalient_category,
    }
    annotations = [
        {
            "image_id": image["id"],
            "category_id": categories[instance.category],
            "class_name": instance.class_name,
            **({} if instance.source is None else {"source": instance.source}),
            **rle_fields([mask_rle(instance.mask)])[0],
            "iscrowd": 0,
        }
        for instance in scene.instances
    ]
    return image, annotations


def write_series(
    spec: DatasetSpec,
    draw: Callable[[int], Scene],
    categories: Sequence[str],
    description: str,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Draw a series of scenes and write it as COCO instances.

    Masks are the visible pixels as compressed RLE, boxes are tight, `cosalient_category` (image
    field) names the repeated class or is null where none or several repeat, `class_name`
    (annotation field) is the object's own class, for distractors too, and `source` (annotation
    field) says where it was cut out. The output is the same, byte by byte, for any number of
    workers. It is built in a hidden folder beside its place and moved there when complete, the json
    last.

    Args:
        spec: where to write, and how many scenes.
        draw: makes the scene of an index; a picklable, pure function.
        categories: category names in the order of their ids, which start at 1.
        description: goes to the json's `info`.
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
    home.mkdir(parents=True, exist_ok=True)
    ids = {name: i for i, name in enumerate(categories, 1)}
    content: dict = {"info": {"description": description}, "images": [], "annotations": []}
    with TemporaryDirectory(prefix=f".{spec.name}.", dir=home) as work:
        folder, json_file = Path(work, "pictures"), Path(work, "new.json")
        folder.mkdir()
        write = partial(_write_scene, draw, ids, folder)
        scenes = ordered_map(write, range(spec.count), workers)
        for image, annotations in tqdm(
            scenes, total=spec.count, unit="scene", disable=not progress
        ):
            content["images"].append(image)
            for entry in annotations:
                content["annotations"].append({"id": len(content["annotations"]) + 1, **entry})
        content["categories"] = [{"id": i, "name": name} for name, i in ids.items()]
        text = json.dumps(content, separators=(",", ":"), allow_nan=False)
        write_text(json_file, text + "\n")
        install_dataset(folder, json_file, home / spec.name, home / f"{spec.name}.json")
    return home / f"{spec.name}.json"
