"""Detectron2 evaluator that scores co-saliency maps."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.logger import create_small_table

from .metrics import ImageScore, as_float64, score_image, summarize
from .truth import decode_truth

RANGE_TOLERANCE = 1e-6
METRICS_FILE = "cosal_metrics.json"
PER_IMAGE_FILE = "per_image.csv"


class NotFiniteError(ValueError, FloatingPointError):
    """A co-saliency map has nan or inf: the training has diverged."""


class CoSaliencyEvaluator(DatasetEvaluator):
    """Score ``cosal_map`` outputs on a registered dataset.

    The truth comes from ``DatasetCatalog.get(dataset_name)``, found by ``image_id``. Each process
    keeps a few numbers an image; the main process gathers them, drops images that a padded sampler
    gave out twice, and puts them into the dataset's order, so the result does not depend on the
    number of processes.

    Args:
        dataset_name: name under which the dataset is registered.
        output_dir: folder for ``cosal_metrics.json`` and ``per_image.csv``; None writes no file.
        distributed: gather from all processes; False scores what this process has seen.
        title: what is scored, for the log table.

    Raises:
        ValueError: the dataset has an image without ``image_id``, or an ``image_id`` twice.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str | os.PathLike[str] | None = None,
        *,
        distributed: bool = True,
        title: str = "co-saliency",
    ) -> None:
        self._logger = logging.getLogger("cosal_d2.evaluation")
        self._dataset_name = dataset_name
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._distributed = distributed
        self._title = title
        self._records = _records_by_id(dataset_name)
        self._scores: dict[Any, ImageScore] = {}

    def reset(self) -> None:
        """Forget all images seen so far."""
        self._scores = {}

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Score a batch.

        Args:
            inputs: dicts with ``image_id``; all else is taken from the dataset.
            outputs: dicts with ``cosal_map``, ``(H, W)`` in [0, 1] at the image's original size.
                Values that rounding pushed out of the range by at most 1e-6 are clipped.

        Raises:
            ValueError: unknown image; or a map that is missing, of another size, not finite
                (:class:`NotFiniteError`), or outside [0, 1].
        """
        for input_, output in zip(inputs, outputs, strict=True):
            record = self._record(input_)
            truth = decode_truth(record)
            pred = _checked_map(output, record["file_name"], truth.mask.shape)
            self._scores[record["image_id"]] = score_image(
                pred,
                truth.mask,
                truth.objects,
                truth.distractors,
                file_name=str(record["file_name"]),
                image_id=record["image_id"],
            )

    def evaluate(self) -> OrderedDict[str, OrderedDict[str, float]] | dict[str, Any]:
        """Gather, log, write the files.

        Returns:
            ``{"cosal": {"MAE": ..., ...}}`` in fractions on the main process (keys as in
            :func:`.metrics.summarize`), ``{}`` on the others and where no image was seen.
        """
        scores = self._gather()
        if scores is None:
            return {}
        if not scores:
            self._logger.warning(
                "%s: no image was scored; is the data loader empty?", self._dataset_name
            )
            return {}
        result = summarize(scores)
        self._log(scores, result)
        if self._output_dir is not None:
            self._output_dir.mkdir(parents=True, exist_ok=True)
            _write(
                self._output_dir / METRICS_FILE,
                json.dumps(result, indent=2, allow_nan=False) + "\n",
            )
            _write(self._output_dir / PER_IMAGE_FILE, _csv_text(scores))
            self._logger.info(
                "wrote %s and %s to %s", METRICS_FILE, PER_IMAGE_FILE, self._output_dir
            )
        return OrderedDict(cosal=result)

    def _record(self, input_: Mapping[str, Any]) -> Mapping[str, Any]:
        image_id = input_.get("image_id")
        if image_id not in self._records:
            raise ValueError(
                f"{input_.get('file_name', 'input')}: image_id {image_id!r} is not in dataset "
                f"'{self._dataset_name}'; evaluate with the loader of this dataset"
            )
        return self._records[image_id]

    def _gather(self) -> list[ImageScore] | None:
        scores = self._scores
        if self._distributed:
            comm.synchronize()
            parts = comm.gather(scores, dst=0)
            if not comm.is_main_process():
                return None
            scores = {}
            for part in reversed(parts):
                scores.update(part)
        return [scores[image_id] for image_id in self._records if image_id in scores]

    def _log(self, scores: Sequence[ImageScore], result: Mapping[str, float]) -> None:
        full = [row for row in scores if not row.empty]
        if len(scores) < len(self._records):
            self._logger.warning(
                "%s: %d of %d images were scored",
                self._dataset_name,
                len(scores),
                len(self._records),
            )
        n_zero = sum(row.threshold == 0 for row in full)
        if n_zero:
            self._logger.warning(
                "%s: %d maps are 0 everywhere, so their threshold is 0 and all is predicted",
                self._dataset_name,
                n_zero,
            )
        self._logger.info(
            "%s on %s: %d images (%d objects, %d distractors), %d with an empty truth\n%s",
            self._title,
            self._dataset_name,
            len(full),
            sum(row.objects for row in full),
            sum(row.distractors for row in full),
            len(scores) - len(full),
            create_small_table(dict(result)),
        )


def _records_by_id(dataset_name: str) -> dict[Any, Mapping[str, Any]]:
    records: dict[Any, Mapping[str, Any]] = {}
    for record in DatasetCatalog.get(dataset_name):
        image_id = record.get("image_id")
        name = record.get("file_name", "an image")
        if image_id is None:
            raise ValueError(f"{name}: dataset '{dataset_name}' gives it no 'image_id'; add one")
        if image_id in records:
            raise ValueError(
                f"{name}: image_id {image_id!r} is in dataset '{dataset_name}' twice (also for "
                f"{records[image_id].get('file_name')}); give each image its own"
            )
        records[image_id] = record
    return records


def _checked_map(output: Mapping[str, Any], name: str, size: tuple[int, int]) -> np.ndarray:
    if "cosal_map" not in output:
        raise ValueError(f"{name}: the model's output has no 'cosal_map', only {sorted(output)}")
    try:
        pred = as_float64(output["cosal_map"])
    except ValueError as error:
        raise ValueError(f"{name}: 'cosal_map': {error}") from error
    if pred.shape != size:
        raise ValueError(
            f"{name}: 'cosal_map' is {pred.shape[0]}x{pred.shape[1]} but the image is "
            f"{size[0]}x{size[1]} (height x width); resize the map to the image's original size"
        )
    low, high = float(pred.min()), float(pred.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        n_bad = int(np.count_nonzero(~np.isfinite(pred)))
        raise NotFiniteError(
            f"{name}: 'cosal_map' has {n_bad} values that are not finite (nan or inf)"
        )
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise ValueError(
            f"{name}: 'cosal_map' goes from {low:.6g} to {high:.6g}; it must lie in [0, 1] "
            "(apply the sigmoid to logits)"
        )
    return np.clip(pred, 0.0, 1.0) if low < 0 or high > 1 else pred


def _csv_text(scores: Iterable[ImageScore]) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(
        buffer, [field.name for field in fields(ImageScore)], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(asdict(row) for row in scores)
    return buffer.getvalue()


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
