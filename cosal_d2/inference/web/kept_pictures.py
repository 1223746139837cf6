"""The last picture of each visitor, in memory, bounded and forgotten in time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from cosal_d2.inference.web.limits import Limits, Refused
from cosal_d2.inference.web.seen_picture import SeenPicture


class KeptPictures:
    """One picture a visitor; the longest unused give way to new ones."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            limits: memory of all together, and seconds after which one is forgotten.
            clock: seconds.
        """
        self.limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._pictures: OrderedDict[str, tuple[SeenPicture, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pictures)

    def __contains__(self, visitor: str) -> bool:
        return visitor in self._pictures

    def put(self, visitor: str, picture: SeenPicture) -> None:
        """Keep a picture instead of the visitor's former one."""
        with self._lock:
            self._pictures.pop(visitor, None)
            self._pictures[visitor] = picture, self._clock()
            while self._bytes() > self.limits.kept_megabytes * 1e6 and len(self._pictures) > 1:
                self._pictures.popitem(last=False)

    def get(self, visitor: str) -> SeenPicture:
        """The visitor's picture.

        Raises:
            Refused: there is none any more.
        """
        self.forget_old()
        with self._lock:
            if visitor not in self._pictures:
                raise Refused("your picture is not here any more; send it again", 410)
            picture, _ = self._pictures.pop(visitor)
            self._pictures[visitor] = picture, self._clock()
            return picture

    def forget(self, visitor: str | None) -> None:
        """Drop the visitor's picture, if there is one."""
        with self._lock:
            self._pictures.pop(visitor, None)

    def forget_old(self) -> None:
        """Drop those that were not used for long."""
        with self._lock:
            oldest = self._clock() - self.limits.kept_seconds
            while self._pictures and next(iter(self._pictures.values()))[1] < oldest:
                self._pictures.popitem(last=False)

    def _bytes(self) -> int:
        return sum(picture.nbytes for picture, _ in self._pictures.values())
