"""Pictures through workers of Ray Data, on this machine or a cluster, into shards."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Ray reads these when it is imported.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # else it reports its use to its makers
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of its processes, on stderr
os.environ.setdefault("RAY_worker_niceness", "0")  # as `cosal predict`; else 15

import pyarrow as pa
import ray
import ray.data
from detectron2.config import CfgNode
from tqdm import tqdm

from cosal_d2.inference.bulk.shards import FAILED, SCHEMA, ShardFolder
from cosal_d2.inference.bulk.worker import PICTURES, SECONDS, Worker, failed_row
from cosal_d2.inference.sources import Source
from cosal_d2.utils.parallel import worker_count

TASK = 16  # pictures that a worker gets at once, or a batch where that is more
STORE_BYTES = 2**29  # of memory shared between the processes of this machine
LOST = (
    "its worker process ended each time it computed this picture, mostly for lack of memory; try "
    "it alone with cosal predict, or give fewer workers or a smaller size"
)


@dataclass
class BulkRun:
    """What a run did.

    Attributes:
        pictures: how many rows it wrote.
        workers: how many worker processes it asked for.
        elapsed: seconds from the first task to the last row, with the loading of the network.
        model_seconds: of all workers, in the network.
    """

    pictures: int = 0
    workers: int = 0
    elapsed: float = 0.0
    model_seconds: float = 0.0

    @property
    def busy(self) -> float:
        """The share of the workers' time that the network was at work."""
        return self.model_seconds / (self.workers * self.elapsed) if self.elapsed else 0.0


@contextlib.contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Ray on this machine, or the cluster of an address; as it is where it already runs.

    Raises:
        ConnectionError: there is no cluster at the address.
        OSError: Ray cannot be started here.
    """
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"address": "local", "num_cpus": worker_count(None)}
        options |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    else:
        options["address"] = address
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)  # its file in Ray's folder has the rest
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        if address is None:
            raise OSError(f"Ray did not start on this machine, try again: {error}") from error
        raise ConnectionError(
            f"--address {address}: no Ray cluster answers there ({error}); its first machine says "
            "its address at ray start --head"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def predict_in_bulk(
    sources: Sequence[Source],
    shards: ShardFolder,
    cfg: CfgNode,
    *,
    workers: int | None = None,
    batch: int = 1,
    device: str = "",
    dtype: str = "",
    size: int | None = None,
    tiles: int = 1,
) -> BulkRun:
    """Predict those pictures that have no row yet, and add their rows.

    Ray starts a worker again that ended, and gives its task to the next one. What a task of many
    pictures did not give after two tries is tried picture by picture, and a picture that ends its
    worker there too becomes a row with that reason.

    Args:
        sources: the pictures, at paths that every worker can read.
        shards: takes the rows.
        cfg: the config.
        workers: processes that hold the network; by default one for each GPU or, without one, one
            for the first four processors and for each four more.
        batch: pictures of a forward pass.
        device: "cpu" or "cuda"; by default a GPU where the cluster has one.
        dtype, size: of :class:`.CoSaliencyPredictor`.
        tiles: of :class:`.PicturePredictor`.

    Raises:
        OSError: a worker cannot load the network, Ray failed, or a shard cannot be written.
    """
    todo = {name: source for source in sources if (name := _text(source.name)) not in shards.names}
    run = BulkRun()
    if not todo:
        return run
    cfg = cfg.clone()
    cfg.defrost()
    if os.path.isfile(cfg.MODEL.WEIGHTS):
        cfg.MODEL.WEIGHTS = os.path.abspath(cfg.MODEL.WEIGHTS)
    resources = ray.cluster_resources()
    gpus, processors = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    cfg.MODEL.DEVICE = device or ("cuda" if gpus else "cpu")
    on_gpu = cfg.MODEL.DEVICE != "cpu"
    run.workers = workers or (gpus if on_gpu else -(-processors // 4)) or 1
    each = {"num_gpus": 1} if on_gpu else {"num_cpus": _processors_each(run.workers, processors)}
    settings = {"dtype": dtype, "size": size, "tiles": tiles, "batch": batch}
    start = time.perf_counter()
    with tqdm(total=len(todo), unit="picture", disable=None) as bar:
        for task in (max(batch, min(TASK, len(todo) // (4 * run.workers))), 1):
            tables = _rows(list(todo.items()), task, run.workers, each, cfg, settings)
            for rows in tables:
                run.model_seconds += sum(rows[SECONDS].to_pylist())
                new = _add(shards, rows.select(SCHEMA.names))
                run.pictures += new.num_rows
                bar.update(new.num_rows)
                for name in new["name"].to_pylist():
                    del todo[name]
            if not todo:
                break
    if todo:
        lost = [failed_row(name, LOST) for name in todo]
        run.pictures += _add(shards, pa.Table.from_pylist(lost, SCHEMA)).num_rows
    run.elapsed = time.perf_counter() - start
    return run


def _text(name: str) -> str:
    """A file name as text of Parquet; bytes that are not UTF-8 become ``\\udcXX``."""
    return name.encode("utf-8", "backslashreplace").decode()


def _processors_each(workers: int, processors: int) -> int:
    """Processors of a worker: their share, and no more than the largest machine has."""
    largest = max(node["Resources"].get("CPU", 1) for node in ray.nodes() if node["Alive"])
    return max(1, min(processors // workers, int(largest)))


def _add(shards: ShardFolder, rows: pa.Table) -> pa.Table:
    new = shards.add(rows)
    for row in new.select(["name", "status", "reason"]).to_pylist():
        if row["status"] == FAILED:
            tqdm.write(f"failed: {row['name']}: {row['reason']}", file=sys.stderr)
    return new


def _rows(
    named: Sequence[tuple[str, Source]],
    task: int,
    workers: int,
    each: dict[str, int],
    cfg: CfgNode,
    settings: dict[str, Any],
) -> Iterator[pa.Table]:
    """Rows of pictures as they are done; those of a task that failed twice are missing."""
    paths = [os.fsencode(os.path.abspath(source.path)) for _, source in named]
    table = pa.table([paths, [name for name, _ in named]], schema=PICTURES)
    tasks = [table.slice(first, task) for first in range(0, len(named), task)]
    data = ray.data.from_arrow(tasks)
    data.context.enable_progress_bars = False
    data.context.max_errored_blocks = -1
    compute = ray.data.ActorPoolStrategy(
        size=workers, max_tasks_in_flight_per_actor=2 if task > 1 else 1
    )
    with warnings.catch_warnings():
        # It has no other name for `max_task_retries` yet, without which it tries for ever.
        warnings.simplefilter("ignore", DeprecationWarning)
        done = data.map_batches(
            Worker,
            batch_size=None,
            batch_format="pyarrow",
            compute=compute,
            fn_constructor_args=[cfg],
            fn_constructor_kwargs=settings,
            max_task_retries=1,
            **each,
        )
    try:
        yield from done.iter_batches(batch_size=None, batch_format="pyarrow")
    except ray.exceptions.RayError as error:
        raise OSError(f"Ray ended the run: {str(error).strip().splitlines()[-1]}") from error
