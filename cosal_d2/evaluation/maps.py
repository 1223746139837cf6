"""Scoring anybody's maps: folders of PNG files against the truth of a dataset."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from cosal_d2.evaluation.map_files import CORRUPT, MISSING, OK, MapFile, find_maps, read_map
from cosal_d2.evaluation.results import ImageResult, summarize_results
from cosal_d2.evaluation.scorer import ALL, Scorer
from cosal_d2.evaluation.truth import decode_truth
from cosal_d2.evaluation.truth_sets import TruthSet, load_truth


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
        name: of the method.
        folder: where its maps are.
        results: of the images that were scored, by place in the dataset's ``records``.
        maps: their map files, by the same places.
        files: what became of every image and of every other file in the folder.
    """

    name: str
    folder: Path
    results: dict[int, ImageResult]
    maps: dict[int, Path]
    files: tuple[MapFile, ...]

    @property
    def metrics(self) -> OrderedDict[str, float]:
        """All measures, see :func:`.results.summarize_results`."""
        return summarize_results(self.results.values())


@dataclass(frozen=True)
class MapsEvaluation:
    """Methods scored on one dataset."""

    truth: TruthSet
    methods: dict[str, MethodResult]

    @property
    def metrics(self) -> dict[str, OrderedDict[str, float]]:
        """``{method: {"MAE": ..., "adpF": ..., ...}}`` in the methods' order."""
        return {name: method.metrics for name, method in self.methods.items()}

    @property
    def common(self) -> list[int]:
        """Places of the images that every method has a map for, in order."""
        places = [set(method.results) for method in self.methods.values()]
        return sorted(set.intersection(*places)) if places else []

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

    A map is an 8-bit grey ``STEM.png`` or ``STEM_map.png``; one of another size is resized
    bilinearly to the truth's. All folders are checked before anything is scored.

    Args:
        dataset: what :func:`.truth_sets.load_truth` takes, or its result.
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
    found = {name: find_maps(truth, name, folder) for name, folder in methods.items()}
    problems = [f for _, files in found.values() for f in files if f.status != OK]
    if not allow_missing and any(f.status in (MISSING, CORRUPT) for f in problems):
        raise MapFilesError(problems)
    for name, (maps, _) in found.items():
        if not maps:
            raise ValueError(
                f"--maps {name}={methods[name]}: none of its files is a map of one of the "
                f"{len(truth.records)} images; maps are STEM.png or STEM_map.png"
            )
    scored = _score(truth, {n: maps for n, (maps, _) in found.items()}, measures, workers, progress)
    return MapsEvaluation(
        truth,
        {
            name: MethodResult(name, Path(methods[name]), scored[name], maps, tuple(files))
            for name, (maps, files) in found.items()
        },
    )


def _score(
    truth: TruthSet,
    maps: Mapping[str, Mapping[int, Path]],
    measures: str,
    workers: int | None,
    progress: bool,
) -> dict[str, dict[int, ImageResult]]:
    scorer = Scorer(measures, workers)
    try:
        records = tqdm(truth.records, unit="image", disable=None if progress else True)
        for place, record in enumerate(records):
            drawn = decode_truth(record)
            for method, paths in maps.items():
                if place in paths:
                    levels = read_map(paths[place], *drawn.mask.shape)
                    scorer.add(
                        (method, place),
                        levels / 255,
                        drawn,
                        name=str(record["file_name"]),
                        image_id=record["image_id"],
                    )
        results = scorer.collect()
    finally:
        scorer.close()
    return {
        method: {place: results[method, place] for place in sorted(paths)}
        for method, paths in maps.items()
    }
