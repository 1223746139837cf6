"""What a check found, and its two reports."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from cosal_d2.utils.files import check_output, write_bytes

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Finding:
    """A fault.

    Attributes:
        kind: a short name, the same for all faults of a kind.
        severity: `error` or `warning`.
        file: the picture, or the json where no picture is concerned.
        image_id, annotation_id: ids in the json; None where there is none.
        message: what is wrong.
        fix: what to do.
        image, annotation: positions in the json's lists; None where there is none.
    """

    kind: str
    severity: str
    file: str
    message: str
    fix: str
    image_id: object = None
    annotation_id: object = None
    image: int | None = None
    annotation: int | None = None

    def __str__(self) -> str:
        ids = [
            f"{what} {value}"
            for what, value in (("image", self.image_id), ("annotation", self.annotation_id))
            if value is not None
        ]
        place = f"{self.file} ({', '.join(ids)})" if ids else self.file
        return f"{self.severity}: {self.kind}: {place}: {self.message}; {self.fix}"


def count_errors(findings: list[Finding]) -> int:
    """Number of errors among them."""
    return sum(f.severity == ERROR for f in findings)


def summary(findings: list[Finding]) -> str:
    """Numbers of errors and warnings, by kind."""
    errors = count_errors(findings)
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(f.kind for f in findings).most_common())
    text = f"{errors} errors, {len(findings) - errors} warnings"
    return f"{text}: {kinds}" if findings else text


def check_report_place(folder: Path, name: str) -> None:
    """Refuse to write reports over files that are none, such as the dataset itself, or where they
    cannot be written.

    Raises:
        OSError: naming such a file, or the folder.
    """
    check_output(folder)
    text, report = folder / f"{name}.txt", folder / f"{name}.json"
    try:
        content = json.loads(report.read_bytes())
    except (OSError, ValueError, RecursionError):
        content = None
    if isinstance(content, dict) and {"dataset", "errors", "kinds", "findings"} <= content.keys():
        return
    for path in (text, report):
        if os.path.lexists(path):
            raise FileExistsError(
                f"{path} is there and is of no earlier check: give another folder to --report"
            )


def write_reports(
    folder: Path, name: str, json_file: Path, findings: list[Finding], extra: dict
) -> tuple[Path, Path]:
    """Write `NAME.txt`, one line a fault, and `NAME.json` with the same and `extra`.

    Returns:
        The two files.
    """
    errors = count_errors(findings)
    report = {
        "dataset": str(json_file),
        "errors": errors,
        "warnings": len(findings) - errors,
        "kinds": dict(sorted(Counter(f.kind for f in findings).items())),
        **extra,
        "findings": [asdict(f) for f in findings],
    }
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{name}.txt", folder / f"{name}.json"
    lines = "".join(f"{f}\n" for f in findings) + summary(findings) + "\n"
    # File names need not be UTF-8, nor ids anything that json knows.
    write_bytes(files[0], lines.encode("utf-8", "backslashreplace"))
    write_bytes(files[1], (json.dumps(report, indent=1, default=str) + "\n").encode("utf-8"))
    return files
