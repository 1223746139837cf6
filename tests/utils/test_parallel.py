"""The pool of worker processes."""

import os
import subprocess
import sys

import pytest

from cosal_d2.utils.parallel import Pool, ordered_map, read_ahead, worker_count


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_are_taken_as_they_are_needed_and_results_keep_their_order(workers):
    taken = []

    def tasks():
        for i in range(200):
            taken.append(i)
            yield i

    results = ordered_map(abs, tasks(), workers=workers, chunk=2)
    assert next(results) == 0
    assert len(taken) < 40
    assert list(results) == list(range(1, 200))


def test_tasks_that_come_one_by_one():
    with Pool(abs, 2) as pool:
        for i in range(5):
            pool.submit(-i)
        assert list(pool.results(leave=2)) == [0, 1, 2]
        pool.submit(-5)
        assert list(pool.results()) == [3, 4, 5]


def test_an_error_in_a_task_reaches_the_caller():
    with pytest.raises(TypeError, match="abs"):
        list(ordered_map(abs, [1, "no number"], workers=2))


def test_a_worker_that_dies_is_explained():
    with pytest.raises(ChildProcessError, match="a worker process died; free memory"):
        list(ordered_map(os._exit, [1], workers=2))


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_read_ahead_keeps_its_order_and_its_bound(threads):
    taken = []

    def tasks():
        for i in range(50):
            taken.append(i)
            yield i

    results = read_ahead(lambda i: 1 // (i - 40), tasks(), ahead=5, threads=threads)
    assert [next(results) for _ in range(40)] == [-1] * 40
    assert len(taken) == 45
    with pytest.raises(ZeroDivisionError):  # in its task's place
        next(results)


def test_worker_count():
    assert worker_count(3) == 3
    assert 1 <= worker_count(None) <= os.cpu_count()
    with pytest.raises(ValueError, match="workers: 0 processes asked for; give 1 or more"):
        worker_count(0)


def test_neither_workers_nor_what_prepares_data_load_torch():
    code = (
        "import pkgutil, sys, importlib, cosal_d2.utils.sod_measures, cosal_d2.utils.parallel\n"
        "import cosal_d2.prepare as prepare\n"
        "for module in pkgutil.walk_packages(prepare.__path__, 'cosal_d2.prepare.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(sorted({'torch', 'detectron2'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
