"""An ordered map over processes that holds only a few tasks and results at a time."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import TypeVar

import cv2

Task = TypeVar("Task")
Result = TypeVar("Result")

_function: Callable | None = None


def worker_count(workers: int | None) -> int:
    """`workers`, or one for each core that this process may use.

    Raises:
        ValueError: `workers` is less than 1.
    """
    if workers is None:
        cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        workers = len(cores) or os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"workers: {workers} processes asked for; give 1 or more")
    return workers


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _start_process(pickled: bytes) -> None:
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process is the one to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _function = pickle.loads(pickled)


def _run_chunk(tasks: list) -> list:
    return [_function(task) for task in tasks]


def _chunks(tasks: Iterable[Task], size: int) -> Iterator[list[Task]]:
    remaining = iter(tasks)
    while chunk := list(islice(remaining, size)):
        yield chunk


def ordered_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, chunk: int = 4
) -> Iterator[Result]:
    """Results of `function` in the order of `tasks`, from `workers` processes or, for 1, this one.

    Tasks are taken as they are needed, so that memory does not grow with their number. In the
    processes OpenCV has one thread.

    Args:
        function: picklable.
        tasks: picklable each.
        workers: number of processes.
        chunk: tasks that are sent at once.
    """
    if workers == 1:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield from map(function, tasks)
        finally:
            cv2.setNumThreads(threads)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers,
        mp_context=context,
        initializer=_start_process,
        initargs=(pickle.dumps(function),),
    )
    chunks = _chunks(tasks, chunk)
    try:
        waiting = deque(pool.submit(_run_chunk, c) for c in islice(chunks, 3 * workers))
        while waiting:
            results = waiting.popleft().result()
            waiting.extend(pool.submit(_run_chunk, c) for c in islice(chunks, 1))
            yield from results
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
