"""Many pictures: reading, the network, and drawing and saving at the same time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from tqdm import tqdm

from cosal_d2.inference.inputs import Box
from cosal_d2.inference.picture_predictor import PicturePredictor
from cosal_d2.inference.results import CoSaliencyResult
from cosal_d2.inference.saving import ResultWriter, Saved, one_line
from cosal_d2.inference.sources import Source
from cosal_d2.utils.parallel import read_ahead, worker_count
from cosal_d2.utils.pictures import read_image

MOST_THREADS = 4  # that read, and as many that save

# A picture and its pixels or result, or a sentence that says what went wrong. An exception would
# keep what its frames hold, such as the network's memory.
Read = tuple[Source, np.ndarray | str]
Predicted = tuple[Source, CoSaliencyResult | str]


def predict_pictures(
    predictor: PicturePredictor,
    sources: Sequence[Source],
    writer: ResultWriter,
    *,
    batch: int = 1,
    like: Box | None = None,
    tiles: int = 1,
) -> list[str]:
    """Predict pictures and write their results, with a progress bar on a terminal.

    Threads read the pictures ahead, others draw and save; the network does not wait for them as
    long as they keep up. Whatever goes wrong with one picture is named on stderr, and the others
    are done.

    Args:
        predictor: its ``batch`` is called.
        sources: the pictures.
        writer: of the results.
        batch: pictures of a forward pass.
        like, tiles: of each picture, see :class:`.PicturePredictor`.

    Returns:
        a sentence for each picture that has not all its results.

    Raises:
        OSError: the folder of the results can no longer be written to.
    """
    threads = max(1, min(MOST_THREADS, worker_count(None) - 1))
    ahead = 2 * batch + threads
    failed = []
    read = read_ahead(_read, sources, ahead, threads)
    predicted = _predicted(partial(_forward, predictor, like, tiles), read, batch)
    saved = read_ahead(partial(_save, writer), predicted, ahead, threads)
    for source, outcome in tqdm(saved, total=len(sources), unit="picture", disable=None):
        if errors := writer.append(source, outcome):
            writer.require_room()
            reason = "; ".join(errors)
            failed.append(reason if source.path in reason else f"{source.path}: {reason}")
            tqdm.write(f"failed: {failed[-1]}", file=sys.stderr)
    return failed


def _read(source: Source) -> Read:
    try:
        return source, read_image(source.path)
    except Exception as error:  # whatever it is, it is of this picture alone
        return source, one_line(error)


def _predicted(
    forward: Callable[[list[tuple[Source, np.ndarray]]], list[Predicted]],
    pictures: Iterable[Read],
    batch: int,
) -> Iterator[Predicted]:
    waiting: list[tuple[Source, np.ndarray]] = []
    for source, image in pictures:
        if isinstance(image, str):
            yield source, image
            continue
        waiting.append((source, image))
        if len(waiting) == batch:
            yield from forward(waiting)
            waiting = []
    if waiting:
        yield from forward(waiting)


def _forward(
    predictor: PicturePredictor,
    like: Box | None,
    tiles: int,
    pictures: list[tuple[Source, np.ndarray]],
) -> list[Predicted]:
    sources, images = zip(*pictures, strict=True)
    boxes = None if like is None else [like] * len(images)
    try:
        return list(zip(sources, predictor.batch(images, boxes, tiles), strict=True))
    except Exception as error:
        reason = one_line(error)
    if len(pictures) == 1:
        return [(sources[0], reason)]
    # One of them is to blame, or all are too much for the memory.
    return [x for one in pictures for x in _forward(predictor, like, tiles, [one])]


def _save(writer: ResultWriter, predicted: Predicted) -> tuple[Source, Saved]:
    source, result = predicted
    if isinstance(result, str):
        return source, Saved([], [result])
    return source, writer.write(source, result)
