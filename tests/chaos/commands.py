"""The console command in a process of its own, forked from one that has imported the network."""

from __future__ import annotations

import faulthandler
import functools
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing.context import BaseContext
from pathlib import Path
from types import SimpleNamespace

import cv2
import torch.multiprocessing
import torch.utils.tensorboard  # noqa: F401  (imported here once for all commands)
import training_data  # noqa: F401  (registers the small encoder)

import cosal_d2.engine.launch
import cosal_d2.inference  # noqa: F401
from cosal_d2.cli import main
from cosal_d2.data import register_all_cosal

TESTS = Path(__file__).resolve().parents[1]
KEPT = Path("output/chaos")
LONGEST = 180  # seconds that a command may take


@functools.cache
def server() -> BaseContext:
    """Starts processes; the first one takes as long as importing the network does."""
    paths = [str(TESTS), *(os.path.abspath(path) for path in sys.path)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chaos.commands"])
    return context


class Command:
    """`cosal ARGUMENTS` in a process group of its own.

    Attributes:
        log: file of what it prints.
    """

    def __init__(
        self,
        arguments: list[str],
        log: Path,
        *,
        data: Path | None = None,
        file_size: int | None = None,
        slow: float = 0,
    ) -> None:
        """Start it.

        Args:
            arguments: of the command line.
            log: file for what it prints.
            data: ``$DETECTRON2_DATASETS``.
            file_size: bytes of its largest file, ``RLIMIT_FSIZE``.
            slow: seconds that it takes to write a file.
        """
        self.log = log
        self._start = log.stat().st_size if log.exists() else 0
        options = (list(map(str, arguments)), str(log), data and str(data), file_size, slow)
        self.process = server().Process(target=_run, args=options)
        self.process.start()

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self.process.exitcode

    def wait(self, seconds: float = LONGEST) -> int | None:
        """Wait for it and all processes that it has started.

        Returns:
            its exit status; None where some were left after the time, which are then killed.
        """
        end = time.monotonic() + seconds
        self.process.join(seconds)
        while self.members() and time.monotonic() < end:
            time.sleep(0.02)
        if self.members():
            self.signal(signal.SIGUSR1)  # they print where they are
            time.sleep(1)
            self.signal(signal.SIGKILL)
            self.process.join()
            return None
        return self.process.exitcode

    def signal(self, number: int, all: bool = True) -> None:
        """Send a signal to all of its processes, or to the first one.

        A process that has not yet a group of its own is waited for.
        """
        if not all:
            os.kill(self.process.pid, number)
            return
        while self.process.is_alive() and os.getpgid(self.process.pid) != self.process.pid:
            time.sleep(0.001)
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def members(self) -> dict[int, int]:
        """Its living processes, with their parents."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    state, parent, group = (
                        (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                    )
                except OSError:  # it has ended
                    continue
                if int(group) == self.process.pid and state not in "ZX":
                    found[int(entry.name)] = int(parent)
        return found

    def said(self) -> str:
        """What this command, and not an earlier one, has printed."""
        with open(self.log, "rb") as file:
            file.seek(self._start)
            return file.read().decode("utf-8", "replace")

    def last_line(self) -> str:
        """The last line that it has printed."""
        return (self.said().strip().splitlines() or [""])[-1]


def keep(folder: Path, name: str) -> str:
    """Move the files of a lost attempt to where they can be looked at; gives that place."""
    place = KEPT / name
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, place, symlinks=True)
    return str(place)


def _run(
    arguments: list[str], log: str, data: str | None, file_size: int | None, slow: float
) -> None:
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if file_size is not None:  # which is no limit of what it prints
        copy = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
        file = copy.stdin.fileno()
    for number in (1, 2):
        os.dup2(file, number)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", 1, closefd=False) for n in (1, 2))
    faulthandler.register(signal.SIGUSR1)
    # As in a command that nothing forked: else each loader would import the network anew.
    multiprocessing.set_start_method("fork", force=True)
    if data:
        os.environ["DETECTRON2_DATASETS"] = data
        register_all_cosal()
    cv2.setNumThreads(1)
    # Two processes of a training would import the network anew, which takes most of the time.
    fork = functools.partial(torch.multiprocessing.start_processes, start_method="fork")
    sys.modules["detectron2.engine.launch"].mp = SimpleNamespace(start_processes=fork)
    if slow:
        Path.write_bytes = functools.partialmethod(_write_slowly, seconds=slow)
    if file_size is not None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, hard))
    sys.exit(main(arguments))


def _write_slowly(path: Path, content: bytes, seconds: float) -> None:
    content = memoryview(content)
    size = len(content) // 16 + 1
    with open(path, "wb", buffering=0) as file:
        for start in range(0, len(content), size):
            file.write(content[start : start + size])
            time.sleep(seconds / 16)
