"""SIGTERM and SIGINT end a training after the iteration it is in, with a checkpoint."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import torch
from detectron2.data.build import worker_init_reset_seed
from detectron2.utils import comm

Result = TypeVar("Result")

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TrainingStopped(SystemExit):
    """A training stopped as a signal told it to, with 128 + the signal's number as exit status."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class Interrupted(BaseException):
    """A signal came while :meth:`StopSignals.interruptible` ran a function."""


class StopSignals:
    """Notes the signals that this process gets in a ``with`` block; a second SIGINT raises
    KeyboardInterrupt at once.

    Off the main thread, where Python handles no signals, none is noted.

    Attributes:
        received: number of the last one, 0 for none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._interrupting = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def agreed(self, device: torch.device) -> int:
        """The signal that any of the processes has received, 0 for none; all of them ask at the
        same iteration.

        Args:
            device: of the network, from which the processes' backend can send.
        """
        if comm.get_world_size() == 1:
            return self.received
        number = torch.tensor(int(self.received), device=device)
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
        return int(number)

    def interruptible(self, function: Callable[[], Result]) -> Result:
        """What a long function gives. Of several processes none is interrupted: the others would
        wait for it.

        Raises:
            Interrupted: a signal has come, before or meanwhile.
        """
        if comm.get_world_size() > 1:
            return function()
        self._interrupting = True
        try:
            if self.received:
                raise Interrupted
            return function()
        finally:
            self._interrupting = False

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        if self._interrupting:
            self._interrupting = False
            raise Interrupted


class ForwardedSignals(StopSignals):
    """Passes signals on to the processes that this one has started, which do the training."""

    def _note(self, number: int, frame: FrameType | None) -> None:
        super()._note(number, frame)
        for process in multiprocessing.active_children():
            process.terminate()


def start_worker(worker: int, deaf_to: tuple[int, ...] = SIGNALS) -> None:
    """Start a process of a loader as Detectron2 does, deaf to signals: a terminal and a cluster
    send them to all processes of a training, and the first one says when it is over.

    Args:
        worker: its number.
        deaf_to: the signals. Who ignores SIGTERM has to be ended before the interpreter is, which
            waits for it.
    """
    for number in deaf_to:
        signal.signal(number, signal.SIG_IGN)
    worker_init_reset_seed(worker)
