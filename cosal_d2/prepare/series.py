"""Writing a series of drawn scenes as a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cosal_d2.prepare.convert.dataset_writer import Entry, write_entries
from cosal_d2.prepare.scene import Scene, SceneOptions
from cosal_d2.prepare.target import Target, check_name
from cosal_d2.utils.masks import mask_rle, rle_fields
from cosal_d2.utils.pictures import encoded


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


def _scene_entry(draw: Callable[[int], Scene], index: int) -> Entry:
    """Draw scene number `index`, as it will stand in the dataset."""
    scene = draw(index)
    height, width = scene.image.shape[:2]
    annotations = [
        {
            "category": instance.category,
            "class_name": instance.class_name,
            **({} if instance.source is None else {"source": instance.source}),
            **rle_fields([mask_rle(instance.mask)])[0],
            "iscrowd": 0,
        }
        for instance in scene.instances
    ]
    name = f"{index:06d}.jpg"
    image = {"height": height, "width": width, "cosalient_category": scene.cosalient_category}
    content = encoded(scene.image, ".jpg", scene.quality)
    return Entry(Path(name), name, image, annotations, content)


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
    workers.

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
    target = Target(spec.root, spec.name, overwrite=overwrite, workers=workers, progress=progress)
    ids = {name: i for i, name in enumerate(categories, 1)}
    draw_entry = partial(_scene_entry, draw)
    write_entries(draw_entry, range(spec.count), target, description=description, categories=ids)
    return target.json_file
