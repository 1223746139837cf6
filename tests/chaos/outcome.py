"""What came of one kind of trouble."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Attempts of one kind.

    Attributes:
        kind: its name.
        tried: number of attempts.
        lost: a sentence for each that was not survived.
        notes: further figures.
        missing: what was planned and not tried, with the reason.
    """

    kind: str
    tried: int = 0
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        survived = self.tried - len(self.lost)
        counts = f"{self.tried:,} tried, {survived:,} survived, {len(self.lost):,} lost"
        notes = f" ({'; '.join(self.notes)})" if self.notes else ""
        left = "".join(f"; not tried: {what}" for what in self.missing)
        return f"{self.kind}: {counts}{notes}{left}"


@dataclass(frozen=True)
class Budget:
    """How much of a kind may be tried.

    Attributes:
        seed: of all that is drawn at random.
        amount: attempts, or seconds of a long run.
        seconds: no attempt is begun after that.
        started: when they began to count.
    """

    seed: int
    amount: int
    seconds: float
    started: float = field(default_factory=time.monotonic)

    def is_over(self) -> bool:
        """Whether the seconds have passed."""
        return time.monotonic() - self.started > self.seconds

    def missing(self, tried: int, planned: int | None = None) -> list[str]:
        """What :class:`Outcome` says of attempts that the time did not suffice for."""
        left = (self.amount if planned is None else planned) - tried
        return [f"{left:,}, as the time was over"] if left > 0 else []
