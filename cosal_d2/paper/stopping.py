"""Ending a training between two steps: at a signal, or when a time budget is used up."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator

from detectron2.engine import HookBase

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SIGNAL = "stopped by a signal"


class Stopped(KeyboardInterrupt):
    """Work was ended on purpose, and can be gone on with. Its text is the reason."""


class StopRequest:
    """What may end a run: SIGINT, SIGTERM, or ``deadline`` (of ``time.monotonic``, None for none).

    While ``holding`` the first signal only asks for an end; everywhere else, and at the second
    signal, it is raised as :class:`Stopped` at once.
    """

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.holding = False
        self.asked = False
        self._pid = os.getpid()

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Catch the signals while the block runs; the earlier handlers come back afterwards."""
        before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def excusing(self) -> Iterator[None]:
        """Turn an error into :class:`Stopped` once an end was asked for.

        A signal that goes to a whole process group ends the loader's workers as well, and torch
        reports their end as an error.
        """
        try:
            yield
        except RuntimeError as error:
            if self.asked:
                raise Stopped(SIGNAL) from error
            raise

    def check(self, needed: float = 0.0) -> None:
        """Raise :class:`Stopped` if an end was asked for.

        Args:
            needed: seconds that what comes next takes, and has to have before the deadline.
        """
        if self.asked:
            raise Stopped(SIGNAL)
        if self.deadline is not None and time.monotonic() + needed > self.deadline:
            raise Stopped("the budget is used up")

    def _receive(self, number: int, frame: object) -> None:
        # A loader's worker has inherited this handler; KeyboardInterrupt ends it without an error.
        in_worker = os.getpid() != self._pid
        if in_worker or self.asked or not self.holding:
            self.asked = True
            raise Stopped(SIGNAL)
        self.asked = True
        logger.info("stopping after this step; once more to stop at once")


class StopHook(HookBase):
    """Saves a checkpoint and ends the training after the step in which an end was asked for.

    After the last step nothing is left to save: a training that got there is evaluated.
    """

    def __init__(self, request: StopRequest, evaluation_seconds: float = 0.0) -> None:
        """
        Args:
            request: what may ask for an end.
            evaluation_seconds: what the evaluation takes, kept free before the deadline.
        """
        self.request = request
        self.evaluation_seconds = evaluation_seconds

    def before_train(self) -> None:
        self.request.holding = self.trainer.start_iter < self.trainer.max_iter

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done >= self.trainer.max_iter:
            self.request.holding = False
            return
        try:
            self.request.check(self.evaluation_seconds)
        except Stopped:
            self.trainer.checkpointer.save(
                f"model_{self.trainer.iter:07d}", iteration=self.trainer.iter
            )
            raise

    def after_train(self) -> None:
        self.request.holding = False
