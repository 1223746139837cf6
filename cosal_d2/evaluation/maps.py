"""Scoring anybody's maps: folders of ``STEM.png`` or ``STEM_map.png`` against a dataset's truth.

Other formats than PNG are taken too, and ``STEM.jpg.png``."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from cosal_d2.evaluation.field import field_curves
from cosal_d2.evaluation.scorer import ALL, ImageResult, Scorer
from cosal_d2.evaluation.tables import summarize_results
from cosal_d2.evaluation.truth import TruthSet, decode_truth, load_truth
from cosal_d2.utils.files import visible_files
from cosal_d2.utils.given_files import check_map_folders
from cosal_d2.utils.mask_pictures import deepest, read_grey
from cosal_d2.utils.pictures import PICTURE_SUFFIXES
from cosal_d2.utils.pixel_values import say_once

OK, RESIZED, MISSING, EXTRA, CORRUPT = "ok", "resized", "missing", "extra", "corrupt"
MAP_SUFFIX = "_map"


@dataclass(frozen=True)
class MapFile:
    """What became of one image, or of one file that belongs to none.

    Attributes:
        method: whose folder it is.
        status: "ok", "resized" (its size was not the image's), "missing", "extra" (no image of the
            dataset has this name), or "corrupt".
        file: name in the method's folder; of a missing map, the name that was looked for.
        image: file name of the dataset's image; "" of an extra file.
        detail: sizes, or what is wrong.
    """

    method: str
    status: str
    file: str
    image: str = ""
    detail: str = ""

    def __str__(self) -> str:
        about = f" ({self.detail})" if self.detail else ""
        return f"{self.method}: {self.status}: {self.file}{about}"


class MapFilesError(ValueError):
    """Maps are missing or corrupt; ``files`` names every file that is not as it should be."""

    def __init__(self, files: list[MapFile]) -> None:
        self.files = files
        lines = "\n".join(str(file) for file in files)
        super().__init__(
            f"{lines}\nmaps are missing or corrupt: mend the folders, or score the rest with "
            "--allow-missing"
        )


@dataclass(frozen=True)
class MethodResult:
    """A method on a dataset.

    Attributes:
        results: of the images that were scored, by place in the dataset's ``records``.
        maps: their map files, by the same places.
        files: what became of every image and of every other file in the folder.
    """

    results: dict[int, ImageResult]
    maps: dict[int, Path]
    files: tuple[MapFile, ...]


@dataclass(frozen=True)
class MapsEvaluation:
    """Methods scored on one dataset."""

    truth: TruthSet
    methods: dict[str, MethodResult]

    @property
    def metrics(self) -> dict[str, OrderedDict[str, float]]:
        """``{method: {"MAE": ..., "adpF": ..., ...}}`` in the methods' order, all measures; see
        :func:`.tables.summarize_results`."""
        return {name: summarize_results(m.results.values()) for name, m in self.methods.items()}

    @property
    def curves(self) -> dict[str, dict[str, np.ndarray]]:
        """Mean curves (:func:`.field.field_curves`) of the methods that have the field's
        measures."""
        scores = {name: [r.field for r in m.results.values()] for name, m in self.methods.items()}
        return {name: field_curves(own) for name, own in scores.items() if all(own)}

    @property
    def problems(self) -> list[MapFile]:
        """Every file that is not as it should be: missing, extra, resized or corrupt."""
        return [f for m in self.methods.values() for f in m.files if f.status != OK]


def evaluate_methods(
    dataset: str | os.PathLike[str] | TruthSet,
    methods: Mapping[str, str | os.PathLike[str]],
    *,
    allow_missing: bool = False,
    measures: str = ALL,
    workers: int | None = None,
    progress: bool = False,
) -> MapsEvaluation:
    """Score folders of maps.

    A map is a grey ``STEM.png`` or ``STEM_map.png``, or of another format of pictures; one of
    another size is resized bilinearly to the truth's. Where all maps of a method are files of 16
    bits that hold fewer, 12 for example, these are the range. All folders are checked before
    anything is scored.

    Args:
        dataset: what :func:`.truth.load_truth` takes, or its result.
        methods: folder of maps by name of the method.
        allow_missing: score what is there although maps are missing or corrupt.
        measures: "paper", "fast" or "all", see :class:`.scorer.Scorer`.
        workers: processes for the slow measures; 0 works in this one (no guard by
            ``if __name__ == "__main__"`` needed), None takes the usable cores.
        progress: show a bar where standard error is a terminal.

    Raises:
        MapFilesError: a map is missing or corrupt and ``allow_missing`` is off; it names all files
            that are missing, extra, resized or corrupt.
        FileNotFoundError: there is no such dataset or folder.
        ValueError: no method was given, a method has no map at all, or the truth cannot be read.
    """
    if not methods:
        raise ValueError("no method to score; give at least one METHOD=FOLDER")
    truth = dataset if isinstance(dataset, TruthSet) else load_truth(dataset)
    found = check_maps(truth, methods, allow_missing)
    depths = {name: deepest(maps.values()) for name, (maps, _) in found.items()}
    for name, bits in depths.items():
        if bits < 16:
            say_once(f"{name}: its files of 16 bits hold {bits}, which are taken as their range")
    scorer = Scorer(measures, workers)
    try:
        records = tqdm(truth.records, unit="image", disable=None if progress else True)
        for place, record in enumerate(records):
            drawn = decode_truth(record)
            for name, (maps, _) in found.items():
                if place in maps:
                    scorer.add(
                        (name, place),
                        read_map(maps[place], *drawn.mask.shape, depths[name]) / 255,
                        drawn,
                        name=str(record["file_name"]),
                        image_id=record["image_id"],
                    )
        scored = scorer.collect()
    finally:
        scorer.close()
    return MapsEvaluation(
        truth,
        {
            name: MethodResult({i: scored[name, i] for i in maps}, maps, tuple(files))
            for name, (maps, files) in found.items()
        },
    )


def check_maps(
    truth: TruthSet, methods: Mapping[str, str | os.PathLike[str]], allow_missing: bool = False
) -> dict[str, tuple[dict[int, Path], list[MapFile]]]:
    """Find and check the maps of all methods; what :func:`find_maps` gives, by method.

    Raises:
        MapFilesError, FileNotFoundError, ValueError: see :func:`evaluate_methods`.
    """
    found = {name: find_maps(truth, name, folder) for name, folder in methods.items()}
    problems = [f for _, files in found.values() for f in files if f.status != OK]
    if not allow_missing and any(f.status in (MISSING, CORRUPT) for f in problems):
        raise MapFilesError(problems)
    for name, (maps, _) in found.items():
        if not maps:
            raise ValueError(
                f"--maps {name}={methods[name]}: none of its files is a map of one of the "
                f"{len(truth.records)} images; maps are STEM.png or STEM_map.png, or of another "
                "format of pictures"
            )
    return found


def read_map(path: str | os.PathLike[str], height: int, width: int, bits: int = 16) -> np.ndarray:
    """Read a map as 8-bit grey and resize it bilinearly to the truth's size, as the field does.

    Args:
        path: of the map.
        height, width: of the truth.
        bits: of a file of 16 bits, see :func:`.mask_pictures.read_grey`.

    Returns:
        ``(height, width)`` uint8.

    Raises:
        ValueError: the file is not a picture, is truncated, or no map.
    """
    grey = read_grey(path, bits)
    if grey.shape != (height, width):
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR)
    return grey


def find_maps(
    truth: TruthSet, method: str, folder: str | os.PathLike[str]
) -> tuple[dict[int, Path], list[MapFile]]:
    """Find and check the maps of a method.

    A map is named after its image, in the same subfolder or, where only one image has that name,
    directly in the folder. ``STEM.png`` comes before ``STEM_map.png``, ``STEM.jpg.png`` of
    ``STEM.jpg`` after both, and a PNG before other formats.

    Args:
        truth: the images.
        method: its name.
        folder: where its maps lie.

    Returns:
        paths by place in ``truth.records``, of the maps that can be read; and what became of every
        image and every other file.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: two images would have one map.
    """
    root = Path(folder)
    check_map_folders({method: folder})
    files = [file for file in visible_files(root) if file.name != "Thumbs.db"]
    index: dict[str, Path] = {}
    for path in sorted(files, key=lambda p: p.suffix.lower() != ".png"):
        if path.suffix.lower() in PICTURE_SUFFIXES:
            index.setdefault(_normal(path.relative_to(root)), path)
    maps: dict[int, Path] = {}
    notes: list[MapFile] = []
    taken: set[Path] = set()
    for i, (record, names) in enumerate(
        zip(truth.records, _possible_names(truth.records), strict=True)
    ):
        path = next((index[name] for name in names if name in index), None)
        if path is None:
            image = str(record["file_name"])
            wanted = Path(image).with_suffix(".png").as_posix()
            notes.append(MapFile(method, MISSING, wanted, image, "no such map"))
            continue
        taken.add(path)
        notes.append(_check(method, path, root, record))
        if notes[-1].status != CORRUPT:
            maps[i] = path
    for path in files:
        if path not in taken:
            name = path.relative_to(root).as_posix()
            why = "no image of the dataset has this name"
            if index.get(_normal(path.relative_to(root))) in taken:
                why = "a map of the same image in another format is taken"
            notes.append(MapFile(method, EXTRA, name, "", why))
    return maps, notes


def _possible_names(records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Names that the map of each image may have, best first."""
    stems = [_normal(Path(str(record["file_name"]))) for record in records]
    for stem, count in Counter(stems).items():
        if count > 1:
            same = [str(r["file_name"]) for r, s in zip(records, stems, strict=True) if s == stem]
            raise ValueError(
                f"{' and '.join(same)} would have the same map, {stem}.png; rename one of them"
            )
    flat = Counter(stem.rsplit("/", 1)[-1] for stem in stems)
    known = {*stems, *flat}
    names = []
    for stem, record in zip(stems, records, strict=True):
        ending = Path(str(record["file_name"])).suffix
        base = stem.rsplit("/", 1)[-1]
        own = [stem, base] if flat[base] == 1 else [stem]
        suffixed = [f"{name}{MAP_SUFFIX}" for name in own]
        suffixed += [f"{name}{ending}" for name in own]
        names.append([*own, *(name for name in suffixed if name not in known)])
    return names


def _normal(path: Path) -> str:
    """A file's name without its ending, the same however its accents are encoded."""
    return unicodedata.normalize("NFC", path.with_suffix("").as_posix())


def _check(method: str, path: Path, root: Path, record: Mapping[str, Any]) -> MapFile:
    name, image = path.relative_to(root).as_posix(), str(record["file_name"])
    try:
        height, width = read_grey(path).shape
    except (OSError, ValueError) as error:
        return MapFile(method, CORRUPT, name, image, str(error))
    if (height, width) == (record["height"], record["width"]):
        return MapFile(method, OK, name, image)
    size = f"{width}x{height}, resized to the image's {record['width']}x{record['height']}"
    return MapFile(method, RESIZED, name, image, size)
