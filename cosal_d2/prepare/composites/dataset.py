"""Writing composites as a dataset root."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cosal_d2.prepare.composites.backgrounds import Backgrounds
from cosal_d2.prepare.composites.cutouts import Cutout, photo_cutouts, sprite_cutouts
from cosal_d2.prepare.composites.scene import Composer, CompositeOptions
from cosal_d2.prepare.composites.source import read_pictures
from cosal_d2.prepare.series import SeriesContent, SeriesSpec, check_free, write_series
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.parallel import worker_count


@dataclass(frozen=True)
class CompositeSpec(SeriesSpec):
    """A series of composites; picture i depends on the sources, (seed, i) and `options` alone.

    Attributes:
        json_file: COCO instance json with masks.
        image_folder: what its `file_name` fields are relative to.
        classes_file: names of the classes to use, one a line, sprites as `sprite/NAME`; None takes
            all, and so it does of the sprites where no sprite is listed.
        sprite_folder: pictures with alpha, the file's name being the class; None takes none.
        options: what a composite shows.
    """

    json_file: Path = Path("train.json")
    image_folder: Path = Path("train")
    classes_file: Path | None = None
    sprite_folder: Path | None = None
    options: CompositeOptions = field(default_factory=CompositeOptions)


def _restrict(
    photos: dict[str, list[Cutout]],
    sprites: dict[str, list[Cutout]],
    categories: set[str],
    classes_file: Path,
) -> tuple[dict[str, list[Cutout]], dict[str, list[Cutout]]]:
    """The cut-outs and sprites of the classes that a file lists; all sprites where it lists none.

    Raises:
        ValueError: a name is no category of the json and no sprite class, or there is no name.
    """
    lines = Path(classes_file).read_text(encoding="utf-8").splitlines()
    wanted = [line.strip() for line in lines if line.strip()]
    unknown = [name for name in wanted if name not in categories and name not in sprites]
    if unknown or not wanted:
        what = f"unknown classes {', '.join(map(repr, unknown))}" if unknown else "no class"
        raise ValueError(
            f"classes: {classes_file} lists {what}; give one class a line, of the json's "
            f"{', '.join(sorted(categories))}"
            + (f", or of the sprites' {next(iter(sprites))} and so on" if sprites else "")
        )
    listed = {name: found for name, found in sprites.items() if name in wanted}
    return {name: found for name, found in photos.items() if name in wanted}, listed or sprites


def write_composites(
    spec: CompositeSpec,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Make composites and write them as `cosal_d2.prepare.series.write_series` does.

    Annotations have the further field `source`: the id of the source annotation, or a sprite's
    file. A sprite's class is called `sprite/` and its file's name without suffix.

    Args:
        spec: what to write, from what, and where.
        workers: processes; None takes one for each core that this process may use.
        overwrite: replace a dataset of the same name once the new one is complete.
        progress: show a progress bar.

    Returns:
        The json file.

    Raises:
        FileExistsError: the dataset exists and `overwrite` is False.
        FileNotFoundError: a source is missing.
        ValueError: a source or an argument is unusable; the message names it.
    """
    worker_count(workers)
    check_free(Path(spec.root) / "cosal", spec.name, overwrite)
    pictures, categories = read_pictures(spec.json_file, spec.image_folder)
    photos = photo_cutouts(pictures)
    sprites = sprite_cutouts(spec.sprite_folder) if spec.sprite_folder is not None else {}
    if spec.classes_file is not None:
        photos, sprites = _restrict(photos, sprites, set(categories), spec.classes_file)
    composer = Composer(photos, sprites, Backgrounds(pictures), spec.seed, spec.options)
    groups = [*composer.names[False], *composer.names[True]]
    content = SeriesContent(
        composer, [*groups, DISTRACTOR], f"Composites of cut-outs, seed {spec.seed}", ("source",)
    )
    return write_series(spec, content, workers, overwrite, progress)
