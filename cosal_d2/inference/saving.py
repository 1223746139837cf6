"""What is written of a prediction: pictures of its own for each input, and tables of the run."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cosal_d2.config import RESULTS
from cosal_d2.inference.result_files import (
    COCO_FILE,
    COUNTS_FILE,
    RECORDS_FILE,
    is_result,
    write_result,
)
from cosal_d2.utils.drawing import map_to_uint8
from cosal_d2.utils.files import check_output, replacing
from cosal_d2.utils.journal import Journal

if TYPE_CHECKING:
    from cosal_d2.inference.results import CoSaliencyResult
    from cosal_d2.inference.sources import Source

LEAST_ROOM = 2**16  # bytes without which there is no use in going on
CATEGORY = {"id": 1, "name": "co-salient object"}


def _read_record(line: str) -> tuple[str, int]:
    record = json.loads(line)
    return record["image"]["file_name"], len(record["annotations"])


def _read_row(line: str) -> tuple[str, int]:
    name, _, count, _ = next(csv.reader([line]))
    return name, int(count)


class Saved(NamedTuple):
    """What became of one picture: lines of journals that are still to be appended, and errors."""

    lines: list[tuple[Journal, str, int]]
    errors: list[str]


class ResultWriter:
    """Writes results into a folder; as a context manager it completes ``objects.json`` at the end.

    Of a picture: ``STEM_map.png`` (8-bit grey at the picture's upright size, round(255 p)),
    ``STEM_mask.png`` (0 and 255), ``STEM_overlay.png``, ``STEM_cutout.png`` and
    ``STEM_object_01.png`` and so on. Of the run: ``objects.json`` (COCO) and ``counts.csv``.
    ``objects.jsonl`` grows by a line a picture, as ``counts.csv`` does, and ``objects.json`` is
    made of it at the end, so a kill loses nothing of either.
    """

    def __init__(
        self,
        output: str | os.PathLike,
        save: Collection[str],
        *,
        threshold: float | None = None,
        keep: bool = False,
    ) -> None:
        """
        Args:
            output: folder, made where it is missing.
            save: of :data:`cosal_d2.config.RESULTS`.
            threshold: of the mask, see :meth:`.CoSaliencyResult.mask`.
            keep: keep the lines of earlier runs in the files of the run.

        Raises:
            OSError: the folder cannot be made, or not be written to.
            ValueError: there is no such result, or the folder has a file of the run's name that is
                not of an earlier run.
        """
        self.output = Path(output)
        self.save = frozenset(save)
        self.threshold = threshold
        if unknown := self.save.difference(RESULTS):
            raise ValueError(f"save {', '.join(unknown)}: give any of {', '.join(RESULTS)}")
        check_output(output)
        self.output.mkdir(parents=True, exist_ok=True)
        self.require_room()
        for file in self.tables:
            if os.path.lexists(file) and not file.is_file():
                raise ValueError(f"{file} is no file; move it away, or give another folder")
        records = self.output / RECORDS_FILE
        if "json" in self.save and (self.output / COCO_FILE).exists() and not records.exists():
            raise ValueError(
                f"{self.output / COCO_FILE} is there without {RECORDS_FILE}, so it is not of an "
                "earlier run; move it away, or give another folder"
            )
        self.records = self.counts = None
        if self.save & {"objects", "json"}:
            header = json.dumps({"categories": [CATEGORY]})
            self.records = Journal(records, header, _read_record, keep)
        if "csv" in self.save:
            header = "name,repeats,count,counts"
            self.counts = Journal(self.output / COUNTS_FILE, header, _read_row, keep)

    def done(self, source: Source) -> bool:
        """Whether all that is asked for is there."""
        if any(source.name not in journal.values for journal in self._journals):
            return False
        return all(map(is_result, self.pictures(source)))

    def pictures(self, source: Source) -> list[Path]:
        """The pictures of one picture, whose line is appended."""
        stem = source.stem
        paths = [self._path(stem, kind) for kind in _PICTURES if kind in self.save]
        if "objects" in self.save:
            count = self.records.values[source.name]
            paths += [_object_path(self.output, stem, i) for i in range(count)]
        return paths

    @property
    def tables(self) -> list[Path]:
        """The files of the run, as they are after its end."""
        names = [COCO_FILE] if "json" in self.save else []
        names += [RECORDS_FILE] if self.save & {"objects", "json"} else []
        names += [COUNTS_FILE] if "csv" in self.save else []
        return [self.output / name for name in names]

    @property
    def _journals(self) -> list[Journal]:
        return [journal for journal in (self.records, self.counts) if journal]

    def require_room(self) -> None:
        """Make sure that the folder takes files.

        Raises:
            OSError: not even a small one.
        """
        try:
            with tempfile.TemporaryFile(dir=self.output) as file:
                file.write(bytes(LEAST_ROOM))
                file.flush()
        except OSError as error:
            if error.errno == errno.EFBIG:  # a limit of each file, not of the folder
                return
            raise OSError(
                f"{self.output} cannot be written to ({error.strerror}); make room or give another "
                "folder, and go on with --skip-existing"
            ) from error

    def write(self, source: Source, result: CoSaliencyResult) -> Saved:
        """Write the files of one picture; one that cannot be written is no reason to leave out the
        others. It may run in several threads."""
        lines: list[tuple[Journal, str, int]] = []
        errors: list[str] = []

        def attempt(task: Callable, *args: Any) -> Any:
            try:
                return task(*args)
            except Exception as error:  # whatever it is, it is of this one result
                errors.append(one_line(error))

        attempt(os.makedirs, (self.output / source.stem).parent, 0o777, True)
        for kind in sorted(self.save & _PICTURES.keys()):
            attempt(self._write_picture, source.stem, kind, result)
        if "objects" in self.save:
            attempt(_write_objects, self.output, source.stem, result)
        if self.records and (line := attempt(self._record, source.name, result)):
            lines.append(line)
        if self.counts and (line := attempt(self._row, source.name, result)):
            lines.append(line)
        return Saved(lines, errors)

    def append(self, source: Source, saved: Saved) -> list[str]:
        """Append the lines that :meth:`write` gave, and give all errors of the picture."""
        errors = list(saved.errors)
        for journal, line, value in saved.lines:
            try:
                journal.append(source.name, line, value)
            except OSError as error:
                errors.append(one_line(error))
        return list(dict.fromkeys(errors))

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        # An error before, such as that of a full disk, is the one to tell.
        with contextlib.suppress(OSError) if kind else contextlib.nullcontext():
            for journal in self._journals:
                journal.close()
            if "json" in self.save:
                self._write_coco()

    def _path(self, stem: str, kind: str) -> Path:
        return self.output / f"{stem}_{kind}.png"

    def _write_picture(self, stem: str, kind: str, result: CoSaliencyResult) -> None:
        write_result(self._path(stem, kind), _PICTURES[kind](result, self.threshold))

    def _record(self, name: str, result: CoSaliencyResult) -> tuple[Journal, str, int]:
        coco = result.to_coco(name)
        annotations = coco["annotations"]
        record = {"image": coco["images"][0], "annotations": annotations}
        return self.records, json.dumps(record, allow_nan=False), len(annotations)

    def _row(self, name: str, result: CoSaliencyResult) -> tuple[Journal, str, int]:
        if len(name.splitlines()) > 1:
            raise ValueError(f"{name!r} has a line break, so no line in {COUNTS_FILE}; rename it")
        repeats = "" if result.repeats is None else f"{result.repeats:.6g}"
        line = io.StringIO()
        row = [name, repeats, result.count, " ".join(map(str, result.counts))]
        csv.writer(line, lineterminator="").writerow(row)
        return self.counts, line.getvalue(), result.count

    def _write_coco(self) -> None:
        """``objects.json`` from ``objects.jsonl``, which need not fit into memory."""
        with (
            replacing(self.output / COCO_FILE) as temporary,
            open(temporary, "w", encoding="ascii") as file,
        ):
            file.write(f'{{"categories": {json.dumps([CATEGORY])},\n"images": [')
            for number, record in enumerate(map(json.loads, self.records.records()), 1):
                _write_entry(file, number, record["image"])
            file.write('],\n"annotations": [')
            numbers = itertools.count(1)
            for image, record in enumerate(map(json.loads, self.records.records()), 1):
                for annotation in record["annotations"]:
                    _write_entry(file, next(numbers), annotation | {"image_id": image})
            file.write("]}\n")


def _write_entry(file: io.TextIOBase, number: int, entry: dict) -> None:
    file.write(",\n" if number > 1 else "\n")
    file.write(json.dumps(entry | {"id": number}))


_PICTURES: dict[str, Callable[[CoSaliencyResult, float | None], np.ndarray]] = {
    "map": lambda result, _: map_to_uint8(result.map),
    "mask": lambda result, threshold: result.mask(threshold).view(np.uint8) * np.uint8(255),
    "overlay": lambda result, _: result.overlay(),
    "cutout": lambda result, _: result.cutout(),
}


def _object_path(output: Path, stem: str, index: int) -> Path:
    return output / f"{stem}_object_{index + 1:02d}.png"


def _write_objects(output: Path, stem: str, result: CoSaliencyResult) -> None:
    """One file an object; those of an earlier run beyond them are removed."""
    count = len(result.found)
    for i in range(count):
        write_result(_object_path(output, stem, i), result.object(i))
    beyond = (_object_path(output, stem, i) for i in itertools.count(count))
    for path in itertools.takewhile(is_result, beyond):
        path.unlink()


def one_line(error: Exception) -> str:
    """What an error says, in one line, with its type where it was not foreseen."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return "the name of a result would be longer than its folder takes; rename the picture"
    text = " ".join(str(error).split())
    return text if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {text}"
