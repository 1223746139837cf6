"""The one pool of worker processes, reading ahead in a thread, and the one count of cores."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

import cv2

Task = TypeVar("Task")
Result = TypeVar("Result")

WAITING_PER_WORKER = 3

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

    Raises:
        ChildProcessError: a process died.
    """
    if workers == 1:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield from map(function, tasks)
        finally:
            cv2.setNumThreads(threads)
        return
    remaining = iter(tasks)
    with Pool(partial(_each, function), workers) as pool:
        while part := list(islice(remaining, chunk)):
            pool.submit(part)
            for results in pool.results(WAITING_PER_WORKER * workers - 1):
                yield from results
        for results in pool.results():
            yield from results


def read_ahead(
    function: Callable[[Task], Result], tasks: Iterable[Task], ahead: int = 4, threads: int = 1
) -> Iterator[Result]:
    """Results of `function` in the order of `tasks`, worked out in threads before they are wanted:
    for what waits for files, or is done outside of Python's lock, as decoding pictures is.

    Args:
        function, tasks: an error of `function` is raised in its task's place.
        ahead: at most this many results wait.
        threads: how many; the tasks are taken in the caller's.
    """
    with ThreadPoolExecutor(threads) as pool:
        futures: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                futures.append(pool.submit(function, task))
                if len(futures) > ahead:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
        finally:
            for future in futures:
                future.cancel()


class Pool(Generic[Task, Result]):
    """Worker processes for tasks that come one by one; it ends them as a context manager.

    The processes start afresh instead of forking, so a program that uses them guards its main part
    by ``if __name__ == "__main__"``. OpenCV has one thread in them.

    Args:
        function: what they do with a task, picklable.
        workers: number of processes, which start with the first tasks.
    """

    def __init__(self, function: Callable[[Task], Result], workers: int) -> None:
        self._executor = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_process,
            initargs=(pickle.dumps(function),),
        )
        self._futures: deque[Future[Result]] = deque()

    def submit(self, task: Task) -> None:
        """Queue a task, picklable.

        Raises:
            ChildProcessError: a process died.
        """
        try:
            self._futures.append(self._executor.submit(_run, task))
        except BrokenProcessPool as error:
            raise _worker_died() from error

    def results(self, leave: int = 0) -> Iterator[Result]:
        """Give the next results in the order of the tasks, until `leave` tasks are left.

        Raises:
            ChildProcessError: a process died.
        """
        while len(self._futures) > leave:
            try:
                result = self._futures.popleft().result()
            except BrokenProcessPool as error:
                raise _worker_died() from error
            yield result

    def close(self) -> None:
        """Forget what is queued and end the processes."""
        self._futures.clear()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Pool[Task, Result]:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _each(function: Callable[[Task], Result], tasks: list[Task]) -> list[Result]:
    return [function(task) for task in tasks]


def _start_process(pickled: bytes) -> None:
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process is the one to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _function = pickle.loads(pickled)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _run(task: Any) -> Any:
    return _function(task)


def _worker_died() -> ChildProcessError:
    return ChildProcessError(
        "a worker process died; free memory, ask for fewer workers, or, in a program of your own, "
        'guard its main part by if __name__ == "__main__"'
    )
