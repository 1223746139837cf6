"""What the server takes at most, and how it says no."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of the server.

    Attributes:
        megabytes: of a picture's file, at most.
        megapixels: of a picture, at most, as its header states them.
        queue: requests with work that are taken at the same time, waiting ones included, at most;
            as many visitors of the page wait for their turn beside them.
        seconds: for a request's body to arrive, and again for its answer, waiting included.
        kept_seconds: after its last use a visitor's picture is forgotten, and a file deleted.
        kept_megabytes: of visitors' pictures in memory, and of the temporary folder, at most.
        connections: open ones, at most.
    """

    megabytes: float = 16.0
    megapixels: float = 32.0
    queue: int = 16
    seconds: float = 60.0
    kept_seconds: float = 600.0
    kept_megabytes: float = 1024.0
    connections: int = 256

    def __post_init__(self) -> None:
        for name in ("megabytes", "megapixels", "queue", "seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)}: give a number over 0")

    @property
    def bytes(self) -> int:
        """Of a picture's file, at most."""
        return int(self.megabytes * 1e6)


class Refused(ValueError):
    """A request that is not served; the text is for whoever asked.

    Attributes:
        status: of the HTTP answer.
    """

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


def too_large(limits: Limits) -> Refused:
    """The answer to a body over the limit."""
    return Refused(
        f"the file is over {limits.megabytes:g} MB, the limit here; send a smaller one", 413
    )


def busy() -> Refused:
    """The answer where as many requests as the limit are at work."""
    return Refused("too many requests at the moment; try again in a few seconds", 503)
