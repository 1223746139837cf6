"""How well crowds of small objects are found and counted, by the size that the network sees and by
windows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from detectron2.config import CfgNode

from cosal_d2.evaluation.measures import f_beta, precision_recall
from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.prepare.scene import Scene, SceneOptions
from cosal_d2.prepare.synthetic.render import render_scene
from cosal_d2.utils.maps import adaptive_threshold

# Single objects of other classes in a crowd's picture (ours).
DISTRACTORS = (2, 6)


@dataclass(frozen=True)
class CrowdRow:
    """One way of looking at crowds of one number of objects.

    Attributes:
        objects: in each crowd.
        size: pixels of the shorter side that the network sees.
        tiles: windows along the longer side.
        count: mean of :attr:`.CoSaliencyResult.count`.
        count_error: mean of its distance to the number of objects, over that number.
        within_tenth: share of crowds with a count at most a tenth off.
        adpF: mean F of the map at its adaptive threshold, beta squared 0.3.
        seconds: mean time for map and objects.
    """

    objects: int
    size: int
    tiles: int
    count: float
    count_error: float
    within_tenth: float
    adpF: float
    seconds: float


def crowd_rows(
    config: str | CfgNode,
    objects: Sequence[int],
    sizes: Sequence[int],
    tiles: Sequence[int],
    scenes: int,
    *,
    picture: tuple[int, int] = (960, 1280),
    seed: int = 0,
) -> Iterator[CrowdRow]:
    """Count synthetic crowds in every way that is asked for.

    Args:
        config: of the network.
        objects: numbers of objects, 2 to 200.
        sizes: see :class:`CoSaliencyPredictor`.
        tiles: see :meth:`CoSaliencyPredictor.__call__`.
        scenes: crowds of each number.
        picture: (height, width) of a crowd's picture.
        seed: of the crowds.
    """
    predictors = {size: CoSaliencyPredictor(config, size=size) for size in sizes}
    for count in objects:
        options = SceneOptions((count, count), DISTRACTORS, size=picture)
        crowds = [render_scene(seed, i, options) for i in range(scenes)]
        for size, predictor in predictors.items():
            for along in tiles:
                scores = [_score(predictor, crowd, along) for crowd in crowds]
                counts, errors, f, seconds = zip(*scores, strict=True)
                near = [error <= 0.1 for error in errors]
                means = map(fmean, (counts, errors, near, f, seconds))
                yield CrowdRow(count, size, along, *means)


def _score(
    predictor: CoSaliencyPredictor, crowd: Scene, tiles: int
) -> tuple[int, float, float, float]:
    """Count, its error over the number of objects, F of the map, and seconds."""
    masks = [i.mask for i in crowd.instances if i.category == crowd.cosalient_category]
    start = time.perf_counter()
    result = predictor(crowd.image, tiles=tiles)
    count = result.count
    seconds = time.perf_counter() - start
    truth = np.any(masks, axis=0)
    precision, recall = precision_recall(result.map, truth, adaptive_threshold(result.map))
    return count, abs(count - len(masks)) / len(masks), f_beta(precision, recall, 0.3), seconds
