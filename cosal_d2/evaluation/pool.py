"""Worker processes for the measures that are slow."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Hashable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from cosal_d2.utils.sod_measures import HeavyScore, heavy_score

PRELOADED = ["py_sod_metrics", "cosal_d2.utils.sod_measures"]
WAITING_PER_WORKER = 4
MAX_WORKERS = 8


def default_workers(processes: int = 1) -> int:
    """Number of workers for each of ``processes`` processes on this machine: its usable cores,
    shared out, at most 8 and at least 1."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(MAX_WORKERS, cores // processes))


class HeavyPool:
    """Scores maps with :func:`cosal_d2.utils.sod_measures.heavy_score` in worker processes.

    Workers start at the first map and end with :meth:`collect`. They start afresh instead of
    forking, so a program that uses them guards its main part by ``if __name__ == "__main__"``.

    Args:
        workers: number of processes; 0 scores in the calling one.
    """

    def __init__(self, workers: int) -> None:
        if workers < 0:
            raise ValueError(f"workers: {workers} is negative; give 0 or more")
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None
        self._futures: dict[Hashable, Future[HeavyScore]] = {}
        self._scores: dict[Hashable, HeavyScore] = {}

    def submit(self, key: Hashable, levels: np.ndarray, truth: np.ndarray) -> None:
        """Queue a map; waits while four maps a worker are waiting. A key's last map counts.

        Args:
            key: names the result.
            levels: ``(H, W)`` uint8.
            truth: ``(H, W)`` boolean.
        """
        if self._workers == 0:
            self._scores[key] = heavy_score(levels, truth)
            return
        if self._executor is None:
            self._executor = _start(self._workers)
        waiting = [f for f in self._futures.values() if not f.done()]
        if len(waiting) >= WAITING_PER_WORKER * self._workers:
            wait(waiting, return_when=FIRST_COMPLETED)
        self._futures[key] = self._executor.submit(heavy_score, levels, truth)

    def collect(self) -> dict[Hashable, HeavyScore]:
        """Wait for all maps, give their scores by key, forget them and end the workers.

        Raises:
            RuntimeError: a worker died.
        """
        try:
            self._scores.update((key, f.result()) for key, f in self._futures.items())
        except BrokenProcessPool as error:
            raise RuntimeError(
                "a worker process of the measures died; guard the program by "
                'if __name__ == "__main__", free memory, or use 0 workers'
            ) from error
        finally:
            scores = self._scores
            self.close()
        return scores

    def close(self) -> None:
        """Forget all maps and end the workers."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
        self._executor, self._futures, self._scores = None, {}, {}


def _start(workers: int) -> ProcessPoolExecutor:
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(PRELOADED)
    return ProcessPoolExecutor(workers, mp_context=context)
