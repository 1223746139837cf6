"""Many pictures: reading, the network, and drawing and saving at the same time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from tqdm import tqdm

from cosal_d2.inference.predictor import Box, CoSaliencyPredictor
from cosal_d2.inference.results import CoSaliencyResult
from cosal_d2.inference.saving import ResultWriter, Saved, one_line
from cosal_d2.inference.sources import Source
from cosal_d2.utils.parallel import read_ahead, worker_count
from cosal_d2.utils.pictures import read_image

MOST_THREADS = 4  # that read, and as many that save

Read = tuple[Source, np.ndarray | Exception]
Predicted = tuple[Source, CoSaliencyResult | Exception]


def predict_pictures(
    predictor: CoSaliencyPredictor,
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
        like, tiles: of each picture, see :class:`.CoSaliencyPredictor`.

    Returns:
        a sentence for each picture that has not all its results.
    """
    threads = max(1, min(MOST_THREADS, worker_count(None) - 1))
    ahead = 2 * batch + threads
    torch_threads = torch.get_num_threads()
    failed = []
    read = read_ahead(_read, sources, ahead, threads)
    predicted = _predicted(partial(_forward, predictor, like, tiles), read, batch)
    saved = read_ahead(partial(_save, writer), predicted, ahead, threads)
    try:
        for source, outcome in tqdm(saved, total=len(sources), unit="picture", disable=None):
            if errors := writer.append(source, outcome):
                reason = "; ".join(errors)
                failed.append(reason if source.path in reason else f"{source.path}: {reason}")
                tqdm.write(f"failed: {failed[-1]}", file=sys.stderr)
    finally:
        torch.set_num_threads(torch_threads)
    return failed


def _read(source: Source) -> Read:
    try:
        return source, read_image(source.path)
    except Exception as error:  # whatever it is, it is of this picture alone
        return source, error


def _predicted(
    forward: Callable[[list[tuple[Source, np.ndarray]]], list[Predicted]],
    pictures: Iterable[Read],
    batch: int,
) -> Iterator[Predicted]:
    """Results, or what stands in their way, of pictures or what stood in theirs."""
    waiting: list[tuple[Source, np.ndarray]] = []
    for source, image in pictures:
        if isinstance(image, Exception):
            yield source, image
            continue
        waiting.append((source, image))
        if len(waiting) == batch:
            yield from forward(waiting)
            waiting = []
    if waiting:
        yield from forward(waiting)


def _forward(
    predictor: CoSaliencyPredictor,
    like: Box | None,
    tiles: int,
    pictures: list[tuple[Source, np.ndarray]],
) -> list[Predicted]:
    sources, images = zip(*pictures, strict=True)
    boxes = None if like is None else [like] * len(images)
    try:
        results = predictor.batch(images, boxes, tiles)
    except Exception as error:
        if len(pictures) > 1:  # one of them is to blame, or all are too much for the memory
            return [x for one in pictures for x in _forward(predictor, like, tiles, [one])]
        results = [error]
    return list(zip(sources, results, strict=True))


def _save(writer: ResultWriter, predicted: Predicted) -> tuple[Source, Saved]:
    source, result = predicted
    torch.set_num_threads(1)  # of this thread: the cores are the network's
    if isinstance(result, Exception):
        return source, Saved([], [one_line(result)])
    return source, writer.write(source, result)
