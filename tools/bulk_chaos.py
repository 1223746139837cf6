"""Kills a worker and then the command of a running `cosal bulk`, runs it again, and counts what was
lost or doubled."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

WORKER = "ray::MapWorker"  # how Ray names the process of a worker that is idle or at work
CLI = "import sys; from cosal_d2.cli import main; sys.exit(main())"
PATIENCE = 3600.0  # seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line of what was tried and what was lost; 1 where anything was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="folder of pictures")
    parser.add_argument("out", help="folder that is not there yet")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="of cosal bulk")
    args = parser.parse_args(argv)
    found = kill_and_resume(args.source, args.out, args.options)
    print(", ".join(f"{count} {what}" for what, count in found.items()))
    return 1 if found["lost"] or found["doubled"] else 0


def kill_and_resume(source: str, out: str, options: Sequence[str]) -> dict[str, int]:
    """Run ``cosal bulk``; kill a worker once there is a first shard and the command once there are
    two more; run it again to its end.

    Args:
        source: a folder of pictures whose shards are at least four.
        out: a folder that is not there yet.
        options: of the command.

    Returns:
        ``pictures``; ``workers killed``, ``commands killed``; rows ``kept`` of the killed command,
        ``failed``, and names ``lost`` and ``doubled``.

    Raises:
        ChildProcessError: the command ended before it could be killed, or by an error of its own.
    """
    from pyarrow import parquet

    command = [sys.executable, "-c", CLI, "bulk", source, out, *options]
    shards = Path(out)

    def names() -> list[str]:
        tables = (
            parquet.read_table(path, columns=["name"])
            for path in sorted(shards.glob("part-*.parquet"))
        )
        return [name for table in tables for name in table["name"].to_pylist()]

    def count() -> int:
        return len(list(shards.glob("part-*.parquet")))

    driver = subprocess.Popen(command)
    try:
        _wait(lambda: count() >= 1, driver)
        kill_worker(driver.pid)
        before = count()
        _wait(lambda: count() >= before + 2, driver)
    finally:
        driver.kill()
        driver.wait()
    kept = len(names())
    ended = subprocess.run(command).returncode
    if ended not in (0, 1):
        raise ChildProcessError(f"{' '.join(command)} ended with {ended}")
    expected = {path.name for path in Path(source).iterdir()}
    rows = Counter(names())
    status = parquet.read_table(shards, columns=["status"])["status"].to_pylist()
    return {
        "pictures": len(expected),
        "workers killed": 1,
        "commands killed": 1,
        "kept": kept,
        "failed": status.count("failed"),
        "lost": len(expected - rows.keys()),
        "doubled": sum(count > 1 for count in rows.values()),
    }


def _wait(done: Callable[[], bool], driver: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        if driver.poll() is not None or time.monotonic() > end:
            raise ChildProcessError("cosal bulk ended, or did nothing, before it was killed")
        time.sleep(0.05)


def kill_worker(driver: int) -> None:
    """Kill a worker of a process; one that Ray is starting again is waited for, up to a minute.

    Raises:
        ChildProcessError: there is none.
    """
    for _ in range(600):
        for pid in workers_of(driver):
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.1)
    raise ChildProcessError(f"process {driver} has no worker")


def workers_of(driver: int) -> Iterator[int]:
    """Process ids of the workers that Ray started for a process."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.joinpath("cmdline").read_bytes().startswith(WORKER.encode()):
                pid = int(folder.name)
                if driver in _ancestors(pid):
                    yield pid
        except OSError:  # it ended
            continue


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        status = Path(f"/proc/{pid}/stat").read_text()
        pid = int(status.rpartition(")")[2].split()[1])
        yield pid


if __name__ == "__main__":
    sys.exit(main())
