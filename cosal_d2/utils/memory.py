"""The memory that a process takes."""

from __future__ import annotations

import re
from pathlib import Path

MB = 1e6  # bytes


def peak_mb() -> float | None:
    """The most memory that was ever resident in this process; None where the system has no
    ``/proc``."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 / MB if found else None
