"""One composite: which classes and cut-outs it shows; and a series of composites."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosal_d2.prepare.composites.backgrounds import Backgrounds
from cosal_d2.prepare.composites.pasting import (
    MAX_UPSCALE,
    SPREAD,
    arrange,
    middle_size,
    paste,
    solid_pixels,
)
from cosal_d2.prepare.composites.sources import (
    Cutout,
    load_sprite,
    photo_cutouts,
    read_pictures,
    sprite_cutouts,
)
from cosal_d2.prepare.scene import Scene, SceneOptions, placed_instances
from cosal_d2.prepare.series import DatasetSpec, write_series
from cosal_d2.prepare.target import Target
from cosal_d2.utils.coco import DISTRACTOR

SIDES = (400, 480)  # longest side in pixels
RATIOS = (4 / 3, 3 / 2, 1.0, 16 / 9)


def class_words(name: str) -> set[str]:
    """The words of a class name; classes that share one, such as `egg` and `fried egg`, may be of
    one kind and are not each other's distractors."""
    return set(name.removeprefix("sprite/").lower().replace("_", " ").replace("-", " ").split())


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """(height, width) of a usual aspect ratio, upright or lying."""
    longest = int(rng.integers(SIDES[0], SIDES[1] + 1))
    shorter = round(longest / rng.choice(RATIOS, p=[0.4, 0.25, 0.25, 0.1]))
    return (shorter, longest) if rng.random() < 0.65 else (longest, shorter)


class Composer:
    """Makes composite number i of a series, a pure function of (seed, i) and what it was given.

    Args:
        photos: cut-outs by class; `distractor` holds objects of unknown class.
        sprites: sprites by class; may be empty.
        backgrounds: where the pictures' backgrounds come from.
        seed: seed of the series.
        options: counts and size.
        sprite_share: share of sprites among group classes and among distractors.

    Raises:
        ValueError: there are too few classes for `options`, or `sprite_share` is not 0 to 1.
    """

    def __init__(
        self,
        photos: dict[str, list[Cutout]],
        sprites: dict[str, list[Cutout]],
        backgrounds: Backgrounds,
        seed: int,
        options: SceneOptions,
        sprite_share: float = 0.5,
    ) -> None:
        if not 0 <= sprite_share <= 1:
            raise ValueError(f"sprite-share: {sprite_share} is no share; give 0 to 1")
        self.cutouts = {**photos, **sprites}
        self.photo_classes = [name for name in photos if name != DISTRACTOR]
        self.sprite_classes = list(sprites)
        self.unknown = photos.get(DISTRACTOR, [])
        self.backgrounds, self.seed, self.options = backgrounds, seed, options
        self.sprite_share = sprite_share
        usable, words = 0, set()
        for name in self.group_classes:
            usable += not class_words(name) & words
            words |= class_words(name)
        least = options.groups + options.distractors[0]
        if usable < least:
            asked = "the groups and MIN distractors" if options.groups else "MIN objects"
            raise ValueError(
                f"{usable} usable classes, but {asked} need {least}; usable cut-outs are whole, "
                "away from the frame and not small: give more pictures or classes, or a lower MIN"
            )

    @property
    def group_classes(self) -> list[str]:
        """Classes that a group can be of."""
        return [*self.photo_classes, *self.sprite_classes]

    def __call__(self, index: int) -> Scene:
        """The composite of an index."""
        return self.compose(np.random.default_rng([self.seed, index]))

    def compose(self, rng: np.random.Generator, upright: bool | None = None) -> Scene:
        """The composite that a generator gives.

        Args:
            rng: source of all randomness.
            upright: whether it is higher than wide; None lets the size decide.
        """
        height, width = self.options.size or _size(rng)
        if upright is not None and upright != (height > width):
            height, width = width, height
        repeated, names = self._choose(rng)
        size = middle_size(rng, len(names), height, width)
        cutouts = self._pick(rng, names, size * SPREAD / MAX_UPSCALE)
        sprites = [load_sprite(c) for c in cutouts]
        layers, places = arrange(rng, sprites, size, height, width)
        background = self.backgrounds.draw(rng, height, width, set(names))
        image = paste(rng, background, layers, places)
        solids = [solid_pixels(layer) for layer in layers]
        instances = placed_instances(names, repeated, solids, places, height, width)
        for instance, cutout in zip(instances, cutouts, strict=True):
            instance.source = cutout.source
        return Scene(image, instances, int(rng.integers(80, 96)))

    def _draw_pools(self, rng: np.random.Generator) -> tuple[list[str], list[str]]:
        """Photographed and sprite classes, the drawn kind first."""
        pools = (self.photo_classes, self.sprite_classes)
        sprite = bool(self.sprite_classes)
        if all(pools):
            sprite = rng.random() < self.sprite_share
        return pools[::-1] if sprite else pools

    def _free(self, rng: np.random.Generator, names: list[str]) -> list[str]:
        """Classes of the drawn kind, or else of the other, that share no word with any of `names`;
        none where none is left."""
        taken = set().union(*map(class_words, names))
        for classes in self._draw_pools(rng):
            pool = [n for n in classes if not class_words(n) & taken]
            if pool:
                return pool
        return []

    def _choose(self, rng: np.random.Generator) -> tuple[list[str], list[str]]:
        """The repeated classes, and the classes of all objects in random order."""
        repeated: list[str] = []
        names: list[str] = []
        while len(repeated) < self.options.groups:
            low, high = self.options.objects
            count = int(rng.integers(low, high + 1))
            pool = self._free(rng, repeated)
            if not pool:  # these classes share their words with all others: draw others
                repeated, names = [], []
                continue
            repeated.append(pool[int(rng.integers(len(pool)))])
            names += repeated[-1:] * count
        low, high = self.options.distractors
        for left in range(int(rng.integers(low, high + 1)), 0, -1):
            pool = self._free(rng, names)
            if not pool:
                break
            # Last, as no later name may be one that it was not compared with.
            photos = pool[0] not in self.sprite_classes
            if left == 1 and photos and self._unknown(names) and rng.random() < 0.3:
                pool = [DISTRACTOR]
            names.append(pool[int(rng.integers(len(pool)))])
        return repeated, [names[i] for i in rng.permutation(len(names))]

    def _unknown(self, names: list[str]) -> list[Cutout]:
        """Objects of unknown class that are of none of the classes `names`.

        An annotated distractor differs from the other classes of its own picture, and from sprites;
        nothing else is known of it.
        """
        if not names:
            return []
        photos = {n for n in names if n not in self.sprite_classes}
        return [c for c in self.unknown if photos <= c.others]

    def _pick(self, rng: np.random.Generator, names: list[str], side: float) -> list[Cutout]:
        """One cut-out for each name, different ones while there are, of `side` pixels or more
        first."""
        queues: dict[str, list[Cutout]] = {}
        for name in sorted(set(names)):
            known = [n for n in names if n != DISTRACTOR]
            pool = self._unknown(known) if name == DISTRACTOR else self.cutouts[name]
            order = [pool[i] for i in rng.permutation(len(pool))]
            queues[name] = sorted(order, key=lambda c: c.side < side)
        used = dict.fromkeys(queues, 0)
        cutouts = []
        for name in names:
            cutouts.append(queues[name][used[name] % len(queues[name])])
            used[name] += 1
        return cutouts


def _restrict(
    photos: dict[str, list[Cutout]],
    sprites: dict[str, list[Cutout]],
    categories: list[str],
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
            f"{classes_file} lists {what}; give one class a line, of the json's "
            f"{', '.join(sorted(categories))}"
            + (f", or of the sprites' {next(iter(sprites))} and so on" if sprites else "")
        )
    listed = {name: found for name, found in sprites.items() if name in wanted}
    return {name: found for name, found in photos.items() if name in wanted}, listed or sprites


def write_composites(
    spec: DatasetSpec,
    json_file: Path,
    image_folder: Path,
    *,
    classes_file: Path | None = None,
    sprite_folder: Path | None = None,
    sprite_share: float = 0.5,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Make and write a series of composites.

    Args:
        spec, workers, overwrite, progress: see `cosal_d2.prepare.series.write_series`.
        json_file: COCO instance json with masks.
        image_folder: what its `file_name` fields are relative to.
        classes_file: names of the classes to use, one a line, sprites as `sprite/NAME`; None takes
            all, and so it does of the sprites where no sprite is listed.
        sprite_folder: pictures with alpha, the file's name being the class; None takes none.
        sprite_share: share of sprites among group classes and among distractors.

    Returns:
        The json file.

    Raises:
        FileExistsError: the dataset exists and `overwrite` is False.
        FileNotFoundError: a source is missing.
        ValueError: a source or an argument is unusable, or would be replaced; the message names it.
    """
    given = (json_file, image_folder, classes_file, sprite_folder)
    target = Target(spec.root, spec.name, overwrite=overwrite, workers=workers)
    target.check_apart(*filter(None, given))
    pictures, categories = read_pictures(json_file, image_folder)
    photos = photo_cutouts(pictures)
    sprites = sprite_cutouts(sprite_folder) if sprite_folder is not None else {}
    if classes_file is not None:
        photos, sprites = _restrict(photos, sprites, categories, classes_file)
    composer = Composer(
        photos, sprites, Backgrounds(pictures), spec.seed, spec.options, sprite_share
    )
    description = f"Composites of cut-outs, seed {spec.seed}"
    names = [*composer.group_classes, DISTRACTOR]
    return write_series(spec, composer, names, description, workers, overwrite, progress)
