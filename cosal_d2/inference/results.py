"""What a prediction says of one picture."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cosal_d2.inference.saving import CATEGORY, ResultWriter
from cosal_d2.inference.sources import Source
from cosal_d2.utils.drawing import SCREEN_SIDE, Outline, draw_overlay, map_to_uint8
from cosal_d2.utils.maps import adaptive_threshold
from cosal_d2.utils.masks import boxed_mask_rle, rle_fields
from cosal_d2.utils.object_instances import ObjectInstances

if TYPE_CHECKING:
    from detectron2.structures import Instances


class Regions(Protocol):
    """What an engine says of the regions that it compared."""

    def find(self, cosal_map: np.ndarray) -> ObjectInstances:
        """The objects that a map (H, W) shows."""


class CoSaliencyResult:
    """The co-saliency map of one picture, and the objects, groups and counts behind it.

    Objects are worked out when they are first asked for; the map alone costs nothing more.

    Attributes:
        image: the picture, uint8 BGR (H, W, 3), upright.
        map: the co-saliency map, float32 (H, W) in [0, 1].
        name: of the picture's file, without folders; "picture" where it was none.
        repeats: probability that anything repeats in the picture; None for a network without the
            grouping.
    """

    def __init__(self, image: np.ndarray, output: Mapping[str, Any], name: str = "picture") -> None:
        """
        Args:
            image: the picture.
            output: of the network for this picture, on the CPU.
            name: of the picture's file.
        """
        self.image, self.name = image, name
        self.map: np.ndarray = np.asarray(output["cosal_map"])
        self.repeats: float | None = output.get("repeats")
        self._regions: Regions | None = output.get("regions")

    def mask(self, threshold: float | None = None) -> np.ndarray:
        """Where the map reaches a threshold, bool (H, W).

        Args:
            threshold: a probability; by default the adaptive one that F-measures use, twice the
                map's mean and at most 1. Nothing is inside where the map is 0.
        """
        if threshold is None:
            threshold = adaptive_threshold(self.map)
        return (self.map >= threshold) & (self.map > 0)

    @functools.cached_property
    def found(self) -> ObjectInstances:
        """The N co-salient objects as numpy arrays, which need neither torch nor Detectron2.

        Raises:
            ValueError: the network has no grouping.
        """
        if self._regions is None:
            raise ValueError(
                "this network finds no objects: use a config with MODEL.GROUPING.ENABLED, such as "
                "the default"
            )
        return self._regions.find(self.map)

    @functools.cached_property
    def instances(self) -> Instances:
        """The N co-salient objects: ``pred_boxes``, ``scores``, ``pred_masks`` (N, H, W) bool and
        disjoint, ``group_ids`` (N,), 0 for the largest group, and ``embeddings`` (N, D).

        Masks of more than a quarter of a gigabyte are passed over one by one
        (:class:`~cosal_d2.utils.object_instances.DisjointMasks`).

        Raises:
            ValueError: the network has no grouping.
            ImportError: Detectron2 is not installed; :attr:`found` needs none.
        """
        return self.found.to_detectron2()

    @property
    def groups(self) -> list[Instances]:
        """The instances of each group, the largest group first."""
        ids = self.instances.group_ids
        return [self.instances[ids == i] for i in range(int(ids.max()) + 1 if len(ids) else 0)]

    @property
    def counts(self) -> list[int]:
        """How many objects each group has, the largest first."""
        return np.bincount(self.found.group_ids).tolist()

    @property
    def count(self) -> int:
        """How many objects the largest group has; 0 where nothing repeats."""
        return max(self.counts, default=0)

    def cutout(self) -> np.ndarray:
        """The picture with the map as its opacity, uint8 BGRA (H, W, 4)."""
        return np.dstack([self.image, map_to_uint8(self.map)])

    def objects(self) -> list[np.ndarray]:
        """Each object alone, cut to its box, uint8 BGRA (h, w, 4), transparent around it."""
        return list(map(self.object, range(len(self.found))))

    def object(self, index: int) -> np.ndarray:
        """One of :meth:`objects`, by its index in the instances."""
        mask, (x, y) = self._boxed_mask(index)
        height, width = mask.shape
        pixels = self.image[y : y + height, x : x + width]
        return np.dstack([pixels, mask.view(np.uint8) * np.uint8(255)])

    def _boxed_mask(self, index: int) -> tuple[np.ndarray, tuple[int, int]]:
        """The mask of an object in its box, bool (h, w), and x and y of the box's first pixel."""
        x0, y0, x1, y1 = self.found.pred_boxes[index].astype(int).tolist()
        return self.found.pred_masks[index, y0:y1, x0:x1], (x0, y0)

    def overlay(self, longest: int | None = SCREEN_SIDE) -> np.ndarray:
        """The picture tinted by its map, with the objects outlined in their group's colour where
        the network finds objects, uint8 BGR.

        Args:
            longest: pixels of the drawing's longer side, at most; None for the picture's size.
        """
        if self._regions is None:
            return draw_overlay(self.image, self.map, longest=longest)
        ids = self.found.group_ids.tolist()
        objects = (Outline(*self._boxed_mask(i), group) for i, group in enumerate(ids))
        return draw_overlay(self.image, self.map, objects, longest)

    def to_coco(self, file_name: str = "", image_id: int = 1, first_id: int = 1) -> dict:
        """COCO's dict of this one picture: ``images``, ``annotations`` and ``categories``.

        Args:
            file_name: of the picture.
            image_id: of the picture.
            first_id: of the first annotation.

        Returns:
            plain types; an annotation has ``bbox``, ``area``, ``segmentation`` (compressed RLE),
            ``score`` and ``group_id`` beside its ids.
        """
        height, width = self.map.shape
        image = {"id": image_id, "file_name": file_name, "height": height, "width": width}
        if self.repeats is not None:
            image["repeats"] = self.repeats
        found = self.found
        masks = map(self._boxed_mask, range(len(found)))
        fields = rle_fields([boxed_mask_rle(*boxed, height, width) for boxed in masks])
        annotations = [
            {
                **{"id": first_id + i, "image_id": image_id, "category_id": CATEGORY["id"]},
                **{"iscrowd": 0, "score": score, "group_id": group, **own},
            }
            for i, (own, score, group) in enumerate(
                zip(fields, found.scores.tolist(), found.group_ids.tolist(), strict=True)
            )
        ]
        return {"images": [image], "annotations": annotations, "categories": [CATEGORY]}

    def save(
        self,
        folder: str | os.PathLike,
        what: str | Collection[str] = ("map", "overlay"),
        name: str = "",
    ) -> list[Path]:
        """Write files into a folder, as ``cosal predict --save`` does: those of this name are
        replaced; ``objects.json`` and ``counts.csv`` keep what they say of other names.

        Args:
            folder: made where it is missing.
            what: of :data:`cosal_d2.config.RESULTS`; a text has commas between them.
            name: a file name instead of the picture's own: for "apples.jpg" "apples_map.png" and so
                on are written; ``objects.json`` and ``counts.csv`` give it as it is.

        Returns:
            the paths of the files.

        Raises:
            ValueError: there is no such result, the name is no file name, the network finds no
                objects, or the folder has a file of the run's name that is not of an earlier one.
            OSError: a file cannot be written.
        """
        name = name or self.name
        what = what.split(",") if isinstance(what, str) else what
        if os.path.basename(name) != name:
            raise ValueError(f"name={name!r}: give a file name, such as apples.jpg")
        if {"objects", "json", "csv"}.intersection(what):
            _ = self.found  # raises before anything is written
        source = Source(name, name)
        with ResultWriter(folder, what, keep=True) as writer:
            saved = writer.write(source, self)
            if errors := writer.append(source, saved):
                raise OSError(f"{name}: {'; '.join(errors)}")
            return [*writer.pictures(source), *writer.tables]
