"""The log of a training's numbers, which goes on after a resume as if nothing had happened."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator

from detectron2.engine import hooks
from detectron2.utils import comm
from detectron2.utils.events import CommonMetricPrinter, JSONWriter, TensorboardXWriter

WINDOW = 20  # iterations over which Detectron2's writers smooth
TIMES = ("time", "data_time", "rank_data_time", "eta_seconds")  # of the machine that it runs on


class MetricsWriter(hooks.PeriodicWriter):
    """Detectron2's PeriodicWriter over its default writers, whose window of values is part of a
    checkpoint.

    ``metrics.json`` is cut to its length at the checkpoint, so that no iteration is in it twice;
    TensorBoard drops what its former file has of later iterations. Only the main process writes.
    """

    def __init__(self, folder: str, period: int = WINDOW) -> None:
        """
        Args:
            folder: for the files, which are opened when the training starts.
            period: in iterations.
        """
        super().__init__([], period)
        self.path = os.path.join(folder, "metrics.json")
        self._state: dict = {}
        self._finished = False

    def before_train(self) -> None:
        written = self._restore()
        if not comm.is_main_process():
            return
        folder = os.path.dirname(self.path)
        os.makedirs(folder, exist_ok=True)
        start = self.trainer.start_iter
        files = [JSONWriter(self.path), TensorboardXWriter(folder, purge_step=start)]
        for writer in files:
            writer._last_write = written
        self._writers = [CommonMetricPrinter(self.trainer.max_iter), *files]

    def after_step(self) -> None:
        with self._naming_path():
            super().after_step()

    def after_train(self) -> None:
        with self._naming_path():
            super().after_train()

    def close(self) -> None:
        """Write what there is and close the files, as far as they let it, after an error."""
        for writer in self._writers:
            for step in (writer.write, writer.close):
                with contextlib.suppress(Exception):
                    step()

    def state_dict(self) -> dict:
        """Length of ``metrics.json``, the last iteration in it, and the window of each value."""
        storage = getattr(self.trainer, "storage", None)
        if storage is None or not self._writers:
            return {}
        hints = storage.smoothing_hints()
        values = {
            name: [hints[name], history.values()[-max(1, storage.count_samples(name, WINDOW)) :]]
            for name, history in storage.histories().items()
            if name not in TIMES
        }
        written = max(getattr(writer, "_last_write", None) or -1 for writer in self._writers[1:])
        return {"size": os.path.getsize(self.path), "written": written, "values": values}

    def load_state_dict(self, state: dict) -> None:
        """Go on from that state when the training starts."""
        self._state = state

    def prolong(self) -> None:
        """Keep what a finished training, which is to go on, has logged at its end."""
        self._finished = True

    def forget(self) -> None:
        """Start from nothing: an earlier training in the folder has no checkpoint."""
        self._state = {"size": 0, "written": -1, "values": {}}

    @contextlib.contextmanager
    def _naming_path(self) -> Iterator[None]:
        """Name the file in the error of one that cannot be written."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0), self.path) from error

    def _restore(self) -> int:
        """Bring log and values back to the state; the last iteration that has been written."""
        for name, (hint, values) in self._state.get("values", {}).items():
            for value, iteration in values:
                self.trainer.storage.put_scalar(
                    name, value, smoothing_hint=hint, cur_iter=iteration
                )
        if not (self._state and os.path.isfile(self.path)):
            return -1
        size, written = self._state["size"], self._state["written"]
        if self._finished:
            size, written = self._until(self.trainer.start_iter)
        if comm.is_main_process() and os.path.getsize(self.path) > size:
            os.truncate(self.path, size)
        return written

    def _until(self, last: int) -> tuple[int, int]:
        """Length in bytes of the lines up to an iteration, and the last iteration in them."""
        size, written = 0, -1
        with open(self.path, "rb") as lines:
            for line in lines:
                iteration = json.loads(line)["iteration"] if line.endswith(b"\n") else last + 1
                if iteration > last:
                    break
                size, written = size + len(line), max(written, iteration)
        return size, written
