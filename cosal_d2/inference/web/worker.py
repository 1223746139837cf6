"""The one thread in which pictures are decoded, predicted and drawn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cosal_d2.inference.web.limits import Limits, Refused

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Worker:
    """Does one thing after the other, so that memory is that of one picture at work."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._thread = ThreadPoolExecutor(1, "cosal-serve")

    async def do(self, work: Callable[..., T], *args) -> T:
        """What a call gives, within the time limit.

        Raises:
            Refused: it did not end in time (one that runs goes on, and the next waits for it), or
                failed; the log says why.
        """
        future = self._thread.submit(work, *args)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.limits.seconds)
        except TimeoutError:
            raise Refused("this took too long; try again, or send a smaller picture", 503) from None
        except Refused:
            raise
        except Exception as error:
            logger.exception("a request failed")
            raise Refused("the server failed on this picture; its log says why", 500) from error

    def close(self) -> None:
        """Drop what waits."""
        self._thread.shutdown(wait=False, cancel_futures=True)
