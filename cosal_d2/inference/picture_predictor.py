"""What every engine's predictor offers: one picture, a batch, a stream."""

from __future__ import annotations

import contextlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from cosal_d2.inference.inputs import Box, Picture, check_several, named_picture
from cosal_d2.inference.results import CoSaliencyResult
from cosal_d2.utils.parallel import read_ahead


class PicturePredictor(ABC):
    """Pictures of any size and kind to results; an engine computes them."""

    def __call__(self, image: Picture, like: Box | None = None, tiles: int = 1) -> CoSaliencyResult:
        """What repeats in a picture.

        Args:
            image: a path, a PIL image, or uint8 BGR (H, W, 3) as OpenCV reads it
                (:func:`~cosal_d2.inference.inputs.named_picture`).
            like: a box XYXY in the picture's pixels around one object: then the result is that
                object and all that resembles it.
            tiles: windows along the picture's longer side, for many small objects or a large
                picture: each is seen at the network's size, overlaps its neighbours by a quarter
                and is about square, and the objects of all are compared with each other
                (:func:`~cosal_d2.inference.tiles.predict_tiles`). One pass compares at most
                ``MODEL.GROUPING.NUM_REGIONS`` objects, so there are more of them with more windows.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is no picture, the array is none, the box holds nothing of it, or
                the network has no grouping, which the box and windows need.
        """
        return self.batch([image], [like], tiles)[0]

    def batch(
        self, images: Sequence[Picture], like: Sequence[Box | None] | None = None, tiles: int = 1
    ) -> list[CoSaliencyResult]:
        """What repeats in each of several pictures, whatever their sizes, in one forward pass; with
        tiles one picture after the other.

        Args:
            images, like, tiles: as for one picture.
        """
        check_several(images)
        images = list(images)
        like = [None] * len(images) if like is None else like
        if len(like) != len(images):
            raise ValueError(f"like: {len(like)} boxes for {len(images)} pictures; give one each")
        return self._predict([named_picture(image) for image in images], like, tiles)

    def stream(
        self, images: Iterable[Picture], batch: int = 1, tiles: int = 1
    ) -> Iterator[CoSaliencyResult]:
        """Results in the order of the pictures: while the caller works on one, the next ones are
        read, and predicted, a batch ahead.

        Args:
            images: as for one picture; also endless ones. They are taken in another thread.
            batch: pictures of a forward pass.
            tiles: as for one picture.

        Raises:
            ValueError: the batch is less than 1, or there is one picture alone.
        """
        if batch < 1:
            raise ValueError(f"batch={batch}: give 1 or more pictures of a forward pass")
        check_several(images)
        with (
            contextlib.closing(self._one_by_one(images, batch, tiles)) as results,
            # One thread: it takes the next result, for which the network may have to work.
            contextlib.closing(
                read_ahead(lambda _: next(results, None), itertools.count(), batch)
            ) as ahead,
        ):
            for result in ahead:
                if result is None:
                    return
                yield result

    def _one_by_one(
        self, images: Iterable[Picture], batch: int, tiles: int
    ) -> Iterator[CoSaliencyResult]:
        """Results of a stream, worked out when they are asked for; pictures are read ahead."""
        waiting = []
        for picture in read_ahead(named_picture, images):
            waiting.append(picture)
            if len(waiting) == batch:
                yield from self._predict(waiting, [None] * batch, tiles)
                waiting = []
        if waiting:
            yield from self._predict(waiting, [None] * len(waiting), tiles)

    @property
    @abstractmethod
    def finds_objects(self) -> bool:
        """Whether results have objects, groups and counts."""

    @abstractmethod
    def _predict(
        self, named: list[tuple[str, np.ndarray]], like: Sequence[Box | None], tiles: int
    ) -> list[CoSaliencyResult]:
        """Results of pictures, uint8 BGR (H, W, 3), with their names."""
