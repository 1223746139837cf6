"""Composites on the fly: training pictures made of the training set's own cut-outs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from cosal_d2.data.aug_input import CoSaliencyAugInput
from cosal_d2.data.seeding import derive_seed
from cosal_d2.prepare.composites.backgrounds import Backgrounds
from cosal_d2.prepare.composites.composer import Composer, class_words
from cosal_d2.prepare.composites.pasting import paste_beside
from cosal_d2.prepare.composites.sources import (
    Annotation,
    Cutout,
    Picture,
    load_sprite,
    photo_cutouts,
    sprite_cutouts,
)
from cosal_d2.prepare.scene import SceneOptions
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.masks import to_rle
from cosal_d2.utils.pictures import read_image

logger = logging.getLogger(__name__)

# Random streams of a sample's seed: the decision, the picture.
DECISION, PICTURE = 2, 3


class TrainingComposites:
    """Makes composites for a training loader; each is a pure function of a sample's seed.

    A sample becomes, by chance, a composite (a group of cut-outs of one class, or two groups, and
    single ones of others on free ground), a composite in which nothing repeats, or a photograph of
    a single object; a photograph that stays may get a single object of another class beside its
    group.
    """

    def __init__(
        self,
        records: Sequence[dict],
        singles: Sequence[dict] = (),
        *,
        prob: float,
        objects: tuple[int, int],
        distractors: tuple[int, int],
        no_group: float,
        two_groups: float = 0.0,
        paste_prob: float,
        sprites: str = "",
    ) -> None:
        """
        Args:
            records: dataset dicts of the training set; their whole objects are cut out, and their
                free ground serves as background.
            singles: dataset dicts of pictures of one object each: more cut-outs, and photographs in
                which nothing repeats.
            prob: probability that a sample is a composite.
            objects: smallest and largest number of objects of a group.
            distractors: smallest and largest number of single objects beside a group.
            no_group: share of composites in which nothing repeats, half of them photographs of a
                single object if there are any.
            two_groups: share of the others in which two classes repeat, if there are enough.
            paste_prob: probability that a photograph with a group gets a single object of another
                class.
            sprites: folder of pictures with alpha, named by their class; "" for none.

        Raises:
            FileNotFoundError: no such folder of sprites, or none in it.
            ValueError: the records hold too few objects or classes that can be cut out, or a range
                is none.
        """
        pictures = [_picture(r) for r in (*records, *singles)]
        photos = photo_cutouts(pictures)
        extra = sprite_cutouts(Path(sprites)) if sprites else {}
        backgrounds = Backgrounds(pictures[: len(records)])
        grouped = SceneOptions(objects, distractors)
        single = SceneOptions(objects, (1, min(max(distractors[1], 1) + 1, 12)), groups=0)
        self.group = Composer(photos, extra, backgrounds, 0, grouped)
        self.no_group = Composer(photos, extra, backgrounds, 0, single)
        self.two_groups = None
        if two_groups > 0:
            twice = SceneOptions(objects, distractors, groups=2)
            try:
                self.two_groups = Composer(photos, extra, backgrounds, 0, twice)
            except ValueError as error:  # the others are made all the same
                logger.warning("no composites of two groups: %s", error)
        self.singles = list(singles)
        self.prob, self.paste_prob = prob, paste_prob
        self.no_group_share, self.two_groups_share = no_group, two_groups
        self.classes = {name: i for i, name in enumerate([*self.group.group_classes, DISTRACTOR])}
        logger.info(
            "composites of %d cut-outs of %d classes",
            sum(len(found) for found in self.group.cutouts.values()),
            len(self.group.group_classes),
        )

    def draw(self, record: dict) -> CoSaliencyAugInput | None:
        """The composite that takes a sample's place, or None where its photograph stays.

        Args:
            record: a dataset dict with ``seed``, ``height`` and ``width``; what takes its place is
                upright or lying as it is.
        """
        decide = np.random.default_rng(derive_seed(record["seed"], DECISION))
        if decide.random() >= self.prob:
            return None
        rng = np.random.default_rng(derive_seed(record["seed"], PICTURE))
        composer, upright = self.group, record["height"] > record["width"]
        if decide.random() < self.no_group_share:
            if self.singles and decide.random() < 0.5:
                return self._single(rng, upright)
            composer = self.no_group
        elif self.two_groups is not None and decide.random() < self.two_groups_share:
            composer = self.two_groups
        scene = composer.compose(rng, upright)
        masks = np.array([i.mask for i in scene.instances], bool)
        names = [i.class_name for i in scene.instances]
        return CoSaliencyAugInput(
            scene.image,
            instance_masks=masks.reshape(-1, *scene.image.shape[:2]),
            cosalient=[i.category != DISTRACTOR for i in scene.instances],
            classes=[self.classes[name] for name in names],
        )

    def paste(self, augmented: CoSaliencyAugInput, record: dict) -> CoSaliencyAugInput:
        """The photograph of a sample, by chance with a single object of another class beside its
        group; without one where no class is left or the object does not fit.

        Args:
            augmented: the photograph with its masks, untransformed.
            record: its dataset dict, with ``seed``.
        """
        decide = np.random.default_rng(derive_seed(record["seed"], DECISION, 1))
        if decide.random() >= self.paste_prob or not record.get("cosalient_category"):
            return augmented
        if not len(augmented.instance_masks):
            return augmented
        rng = np.random.default_rng(derive_seed(record["seed"], PICTURE, 1))
        names = (a.get("own_class") or a["class_name"] for a in record["annotations"])
        taken = set().union(*map(class_words, names))
        cutout = self._other(rng, taken)
        if cutout is None:
            return augmented
        pasted = paste_beside(rng, augmented.image, augmented.instance_masks, load_sprite(cutout))
        if pasted is None:
            return augmented
        image, solid = pasted
        masks = augmented.instance_masks.astype(bool) & ~solid
        crowd = (augmented.sem_seg == 1) & ~augmented.instance_masks[augmented.cosalient].any(0)
        return CoSaliencyAugInput(
            image,
            instance_masks=np.concatenate([masks, solid[None]]),
            cosalient=[*augmented.cosalient, False],
            classes=[*augmented.classes, augmented.classes.max() + 1],
            crowd=crowd & ~solid,
        )

    def _other(self, rng: np.random.Generator, taken: set[str]) -> Cutout | None:
        """A photographed cut-out of a class without any of the words, one class as likely as
        another; None where no class is left."""
        names = [n for n in self.group.photo_classes if not class_words(n) & taken]
        if not names:
            return None
        pool = self.group.cutouts[names[int(rng.integers(len(names)))]]
        return pool[int(rng.integers(len(pool)))]

    def _single(self, rng: np.random.Generator, upright: bool) -> CoSaliencyAugInput:
        """A photograph of a single object, upright or lying where there is one."""
        alike = [r for r in self.singles if (r["height"] > r["width"]) == upright]
        records = alike or self.singles
        record = records[int(rng.integers(len(records)))]
        augmented = CoSaliencyAugInput.from_annotations(
            read_image(record["file_name"]), record["annotations"]
        )
        return CoSaliencyAugInput(
            augmented.image,
            instance_masks=augmented.instance_masks,
            cosalient=np.zeros(len(augmented.classes), bool),
            classes=augmented.classes,
        )


def _picture(record: dict) -> Picture:
    """A dataset dict as a source of cut-outs and backgrounds."""
    size = (record["height"], record["width"])
    annotations = []
    for i, entry in enumerate(record["annotations"]):
        rle = to_rle(entry["segmentation"], *size)
        if coco_mask.area(rle):
            crowd = bool(entry.get("iscrowd", 0))
            annotations.append(Annotation(i, entry["class_name"], rle, crowd))
    return Picture(Path(record["file_name"]), *size, record.get("clean", True), annotations)
