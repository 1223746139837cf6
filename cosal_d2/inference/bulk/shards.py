"""A folder of Parquet files with a row a picture, which grows by whole files."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cosal_d2.utils.files import check_output, replacing

OK, FAILED = "ok", "failed"
_PER_OBJECT = [
    ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
    ("masks", pa.list_(pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.string())]))),
    ("groups", pa.list_(pa.int32())),
    ("scores", pa.list_(pa.float32())),
]
# What each column means stands in docs/bulk.md.
SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("map", pa.binary()),
        *_PER_OBJECT,
        ("repeats", pa.float32()),
        ("count", pa.int32()),
        ("counts", pa.list_(pa.int32())),
    ]
)
SETTINGS = b"cosal bulk"  # key of the settings in a file's metadata
NAME = "part-{:06d}.parquet"
SHARD_BYTES = 2**28  # rows that wait for their shard never hold more than about this


class ShardFolder:
    """Rows of pictures as Parquet files, each of which appears as a whole or not at all.

    A row whose name is there already is dropped, so that no picture is in the folder twice. As a
    context manager it writes the rows that still wait at its end, also after an error.

    Attributes:
        names: of the pictures in the folder, and of those whose rows wait.
        failed: how many of them failed.
    """

    def __init__(
        self, folder: str | os.PathLike, settings: Mapping[str, Any], rows: int = 256
    ) -> None:
        """
        Args:
            folder: made where it is missing.
            settings: plain values on which the rows depend; all shards of a folder have the same.
            rows: pictures of a shard; less where their maps are large.

        Raises:
            OSError: the folder cannot be made or written to, or another run is writing to it.
            ValueError: a file of a shard's name is no shard, or has other settings.
        """
        self.folder = Path(folder)
        self.rows = rows
        self.names: set[str] = set()
        self.failed = 0
        self._settings = json.loads(json.dumps(settings))
        self._waiting: list[pa.Table] = []
        check_output(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder)
        try:
            self._next = self._load()
        except BaseException:
            os.close(self._lock)
            raise

    def _load(self) -> int:
        """Names of all shards; gives the number of the next one."""
        for path in self.folder.glob(".*.part.parquet"):  # of a run that was killed
            path.unlink()
        shards = sorted(self.folder.glob(NAME.replace("{:06d}", "*")))
        for path in shards:
            self._count(self._read(path))
        return max((_number(path) for path in shards), default=-1) + 1

    def add(self, rows: pa.Table) -> pa.Table:
        """Take rows of :data:`SCHEMA`, and write a shard once there are enough.

        Returns:
            those rows whose names are new.

        Raises:
            OSError: the shard cannot be written.
        """
        new = rows.filter(pa.array([name not in self.names for name in _names(rows)], pa.bool_()))
        self._count(new)
        self._waiting.append(new)
        waiting = sum(table.num_rows for table in self._waiting)
        if waiting >= self.rows or sum(t.nbytes for t in self._waiting) >= SHARD_BYTES:
            self._write()
        return new

    def __enter__(self) -> ShardFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # An error before, such as that of a full disk, is the one to tell.
        with contextlib.suppress(OSError) if kind else contextlib.nullcontext():
            if any(table.num_rows for table in self._waiting):
                self._write()
        os.close(self._lock)

    def _count(self, rows: pa.Table) -> None:
        self.names.update(_names(rows))
        self.failed += pc.sum(pc.equal(rows["status"], FAILED)).as_py() or 0

    def _read(self, path: Path) -> pa.Table:
        """Names and status in a shard."""
        try:
            _number(path)
            with pq.ParquetFile(path) as file:
                settings = json.loads((file.schema_arrow.metadata or {})[SETTINGS])
                found = file.read(["name", "status"])
        except (KeyError, ValueError, pa.ArrowException, OSError) as error:
            raise ValueError(
                f"{path} is no shard of this command, or damaged ({error}); move it away, and its "
                "pictures are done again, or give another folder"
            ) from error
        for key in settings.keys() | self._settings.keys():
            there, here = settings.get(key), self._settings.get(key)
            if there != here:
                raise ValueError(
                    f"{path} was made with {key} {there}, and this run has {here}; give the same, "
                    "or another folder"
                )
        return found

    def _write(self) -> None:
        rows = pa.concat_tables(self._waiting)
        rows = rows.replace_schema_metadata({SETTINGS: json.dumps(self._settings)})
        try:
            with replacing(self.folder / NAME.format(self._next)) as temporary:
                pq.write_table(rows, temporary, compression="zstd")
        except OSError as error:
            raise OSError(
                f"{self.folder} cannot be written to ({error}); make room, and give the same "
                "command again"
            ) from error
        self._next += 1
        self._waiting = []


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("part-"))


def _names(rows: pa.Table) -> list[str]:
    return rows["name"].to_pylist()


def _locked(folder: Path) -> int:
    """A file descriptor that holds the folder until it is closed or its process ends.

    Raises:
        BlockingIOError: another process holds it.
    """
    lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        import fcntl  # not on Windows, where two runs are not kept apart

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        pass
    except BlockingIOError:
        os.close(lock)
        raise BlockingIOError(
            f"another run is writing to {folder}; wait for its end, or give another folder"
        ) from None
    return lock
