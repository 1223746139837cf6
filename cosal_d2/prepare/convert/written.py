"""What a conversion wrote and left out, and its summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SHOWN_FAULTS = 20


@dataclass
class Written:
    """What was written.

    Attributes:
        json_file: the annotations.
        images: number of pictures.
        instances, distractors: numbers of co-salient objects and of others.
        skipped: number of pictures left out, by reason.
        faults: messages on faulty pictures that were left out.
        shapes: number of the source's shapes left out, by reason.
        clipped: number of objects that reached beyond their picture.
        remarks: what is to be looked at, by remark.
    """

    json_file: Path
    images: int = 0
    instances: int = 0
    distractors: int = 0
    skipped: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    shapes: Counter = field(default_factory=Counter)
    clipped: int = 0
    remarks: dict[str, list[str]] = field(default_factory=dict)

    def summary(self) -> str:
        """What was written, how to use it, and what was left out; a few lines."""
        root = self.json_file.parents[1]
        lines = [
            f"{self.json_file}: {self.images} pictures, {self.instances} co-salient objects, "
            f"{self.distractors} distractors; registered as cosal_{self.json_file.stem} where "
            f"DETECTRON2_DATASETS={root}"
        ]
        shapes = f"shapes left out: {counts(self.shapes)}"
        shapes += f"; shapes clipped: {self.clipped}" if self.clipped else ""
        left_out = f"left out: {counts(self.skipped)}"
        lines.append(f"pictures kept: {self.images}; {left_out}; {shapes}")
        for remark, subjects in self.remarks.items():
            lines += _listed(remark, subjects)
        lines += _listed("faulty", self.faults)
        return "\n".join(lines)


def counts(reasons: Counter) -> str:
    """Numbers by reason, the largest first."""
    return ", ".join(f"{n} {reason}" for reason, n in reasons.most_common()) or "none"


def _listed(remark: str, subjects: list[str]) -> list[str]:
    """A line for each subject, of many the first."""
    lines = [f"{remark}: {subject}" for subject in subjects[:SHOWN_FAULTS]]
    more = len(subjects) - SHOWN_FAULTS
    return [*lines, f"and {more} more {remark}"] if more > 0 else lines
