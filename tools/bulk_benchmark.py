"""`cosal bulk` beside `cosal predict --save map,json` over the same pictures, in turn: pictures a
second, processor seconds a picture and memory."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PAUSE = 0.5  # seconds between two looks at the processes
CLI = "import sys; from cosal_d2.cli import main; sys.exit(main())"
TICKS = os.sysconf("SC_CLK_TCK")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="folder of pictures")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is run (default: 1)")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="of cosal bulk; the last ones")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each run, and the medians of the rounds' ratios."""
    args = build_parser().parse_args(argv)
    ratios = []
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            maps, shards = Path(folder, "maps"), Path(folder, "shards")
            command = ["predict", "--input", args.source, "--output", str(maps)]
            bare = measure([*command, "--save", "map,json"], lambda p=maps: _maps(p))
            print("predict:", line(bare), flush=True)
            command = ["bulk", args.source, str(shards), "--shard", "8", *args.options]
            bulk = measure(command, lambda p=shards: _rows(p))
            print("bulk:   ", line(bulk), flush=True)
        ratios.append((bulk["rate"] / bare["rate"], bare["processor"] / bulk["processor"]))
    by_time, by_processor = (statistics.median(values) for values in zip(*ratios, strict=True))
    print(f"bulk over predict: {by_time:.2f} by time, {by_processor:.2f} by processor seconds")


def line(found: dict[str, float]) -> str:
    """What :func:`measure` found, for people."""
    return (
        f"{found['rate']:.2f} pictures/s, {found['processor']:.2f} processor s/picture after the "
        f"start, peak {found['peak'] / 1e6:.0f} MB of all processes"
    )


def measure(arguments: Sequence[str], done: Callable[[], int]) -> dict[str, float]:
    """Run ``cosal`` and look at its processes until it ends.

    Args:
        arguments: of the command.
        done: how many pictures are done so far.

    Returns:
        ``rate``, pictures a second, and ``processor``, seconds a picture of all processes, both
        from the first result on, without the start; ``peak``, bytes of memory of all processes
        together, where shared memory counts once.
    """
    process = subprocess.Popen([sys.executable, "-c", CLI, *arguments], stdout=sys.stderr)
    seconds: dict[int, float] = {}
    looks: list[tuple[int, float, float]] = []  # pictures done, time, processor seconds
    peak = 0.0
    while process.poll() is None:
        time.sleep(PAUSE)
        memory = 0.0
        for pid in (process.pid, *_descendants(process.pid)):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                seconds[pid] = (int(fields[11]) + int(fields[12])) / TICKS
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                memory += 1024 * int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1])
            except (OSError, TypeError):  # it ended
                continue
        peak = max(peak, memory)
        count = done()
        if count and (not looks or count > looks[-1][0]):
            looks.append((count, time.monotonic(), sum(seconds.values())))
    if process.returncode not in (0, 1) or len(looks) < 2:
        raise SystemExit(f"cosal {' '.join(arguments)} ended with {process.returncode}")
    (n0, t0, p0), (n1, t1, p1) = looks[0], looks[-1]
    return {"rate": (n1 - n0) / (t1 - t0), "processor": (p1 - p0) / (n1 - n0), "peak": peak}


def _maps(folder: Path) -> int:
    return len(list(folder.glob("*_map.png")))


def _rows(folder: Path) -> int:
    from pyarrow import parquet

    return sum(parquet.read_metadata(p).num_rows for p in folder.glob("part-*.parquet"))


def _descendants(root: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    waiting = [root]
    while waiting:
        found = children.get(waiting.pop(), [])
        yield from found
        waiting += found


if __name__ == "__main__":
    main()
