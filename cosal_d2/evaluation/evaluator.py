"""Detectron2 evaluator that scores co-saliency maps, and what answers without a network score."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.logger import create_small_table
from scipy.stats import mannwhitneyu

from cosal_d2.evaluation.field import summarize_field
from cosal_d2.evaluation.instances import ImageInstances, score_instances, summarize_instances
from cosal_d2.evaluation.measures import summarize
from cosal_d2.evaluation.objects import ObjectScore
from cosal_d2.evaluation.scorer import PAPER, ImageResult, Scorer
from cosal_d2.evaluation.tables import group_rows, number_text, object_rows
from cosal_d2.evaluation.truth import Truth, decode_truth
from cosal_d2.utils.files import csv_text, table_text, write_json, write_text

METRICS_FILE = "cosal_metrics.json"
FIELD_FILE = "field_metrics.json"
INSTANCES_FILE = "instance_metrics.json"
PER_IMAGE_FILE = "per_image.csv"
OBJECTS_FILE = "objects.csv"
GROUPS_FILE = "groups.csv"
OBJECT_COLUMNS = ["file_name", "image_id", *(field.name for field in fields(ObjectScore))]


class CoSaliencyEvaluator(DatasetEvaluator):
    """Score ``cosal_map`` outputs on a registered dataset, and the instances of networks that find
    any.

    The truth comes from ``DatasetCatalog.get(dataset_name)``, found by ``image_id``. Each process
    keeps a few numbers an image; the main process gathers them, drops images that a padded sampler
    gave out twice, and puts them into the dataset's order, so the result does not depend on the
    number of processes.

    Args:
        dataset_name: name under which the dataset is registered.
        output_dir: folder for the files that ``docs/measures.md`` lists; None writes no file.
        distributed: gather from all processes; False scores what this process has seen.
        title: what is scored, for the log table.
        measures: "paper", "fast" or "all", see :class:`.scorer.Scorer`.
        workers: processes for the slow measures; 0 works in this one, None takes the usable cores.

    Raises:
        ValueError: the dataset has an image without ``image_id``, or an ``image_id`` twice;
            ``measures`` is unknown.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str | os.PathLike[str] | None = None,
        *,
        distributed: bool = True,
        title: str = "co-saliency",
        measures: str = PAPER,
        workers: int | None = None,
    ) -> None:
        self._logger = logging.getLogger("cosal_d2.evaluation")
        self._dataset_name = dataset_name
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._distributed = distributed
        self._title = title
        self._records = _records_by_id(dataset_name)
        processes = comm.get_world_size() if distributed else 1
        self._scorer = Scorer(measures, workers, processes)
        self._instances: dict[Any, ImageInstances] = {}

    def reset(self) -> None:
        """Forget all images seen so far."""
        self._scorer.close()
        self._instances = {}

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Score a batch.

        Args:
            inputs: dicts with ``image_id``; all else is taken from the dataset.
            outputs: dicts with ``cosal_map``, ``(H, W)`` in [0, 1] at the image's original size.
                Values that rounding pushed out of the range by at most 1e-6 are clipped. With
                ``regions``, a :class:`JudgedRegions`, their instances are scored too.

        Raises:
            ValueError: unknown image; or a map that is missing, of another size, not finite
                (:class:`.scorer.NotFiniteError`), or outside [0, 1].
        """
        for input_, output in zip(inputs, outputs, strict=True):
            record = self._record(input_)
            if "cosal_map" not in output:
                raise ValueError(
                    f"{record['file_name']}: the model's output has no 'cosal_map', only "
                    f"{sorted(output)}"
                )
            self._scorer.add(
                record["image_id"],
                output["cosal_map"],
                decode_truth(record),
                name=str(record["file_name"]),
                image_id=record["image_id"],
                repeats=output.get("repeats"),
            )
            if output.get("regions") is not None:
                cosal_map = output["cosal_map"]
                self._instances[record["image_id"]] = score_instances(
                    output["regions"].instances(cosal_map), cosal_map.cpu().numpy(), record
                )

    def evaluate(self) -> OrderedDict[str, OrderedDict[str, float]] | dict[str, Any]:
        """Gather, log, write the files.

        Returns:
            ``{"cosal": {"MAE": ..., ...}}`` in fractions on the main process (keys as in
            :func:`.measures.summarize`), with "fast" or "all" also ``"field"`` (keys as in
            :func:`.field.summarize_field`), where the network finds instances also ``"instances"``
            and ``"components"`` (:func:`.instances.summarize_instances`); ``{}`` on the others and
            where no image was seen.
        """
        gathered = self._gather()
        if gathered is None:
            return {}
        results, instances = gathered
        if not results:
            self._logger.warning(
                "%s: no image was scored; is the data loader empty?", self._dataset_name
            )
            return {}
        summary = OrderedDict(cosal=summarize(result.score for result in results))
        auc = repeats_auc(results)
        if auc is not None:
            summary["cosal"]["repeats_AUC"] = auc
        if all(result.field is not None for result in results):
            summary["field"] = summarize_field([result.field for result in results])
        if len(instances) == len(results):
            summary.update(summarize_instances(list(instances.values())))
        self._log(results, summary)
        if self._output_dir is not None:
            self._write(results, instances, summary)
        return summary

    def _record(self, input_: Mapping[str, Any]) -> Mapping[str, Any]:
        image_id = input_.get("image_id")
        if image_id not in self._records:
            raise ValueError(
                f"{input_.get('file_name', 'input')}: image_id {image_id!r} is not in dataset "
                f"'{self._dataset_name}'; evaluate with the loader of this dataset"
            )
        return self._records[image_id]

    def _gather(self) -> tuple[list[ImageResult], dict[Any, ImageInstances]] | None:
        """All images' results and, by image, their instances, in the dataset's order; None but on
        the main process."""
        parts = [(self._scorer.collect(), self._instances)]
        if self._distributed:
            comm.synchronize()
            parts = comm.gather(parts[0], dst=0)
            if not comm.is_main_process():
                return None
        results: dict[Any, ImageResult] = {}
        instances: dict[Any, ImageInstances] = {}
        for part_results, part_instances in reversed(parts):
            results.update(part_results)
            instances.update(part_instances)
        return (
            [results[i] for i in self._records if i in results],
            {i: instances[i] for i in self._records if i in instances},
        )

    def _write(
        self,
        results: Sequence[ImageResult],
        instances: Mapping[Any, ImageInstances],
        summary: Mapping[str, Mapping[str, float]],
    ) -> None:
        folder = self._output_dir
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / METRICS_FILE, summary["cosal"])
        if "field" in summary:
            write_json(folder / FIELD_FILE, summary["field"])
        if "instances" in summary:
            measures = {name: summary[name] for name in ("instances", "components")}
            write_json(folder / INSTANCES_FILE, measures)
        rows = [_image_row(result, instances.get(result.image_id)) for result in results]
        write_text(folder / PER_IMAGE_FILE, csv_text(rows))
        write_text(folder / OBJECTS_FILE, csv_text(object_rows(results), OBJECT_COLUMNS))
        write_text(folder / GROUPS_FILE, csv_text(group_rows(results)))
        self._logger.info("wrote %s, %s and more to %s", METRICS_FILE, PER_IMAGE_FILE, folder)

    def _log(
        self, results: Sequence[ImageResult], summary: Mapping[str, Mapping[str, float]]
    ) -> None:
        scores = [result.score for result in results]
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
            create_small_table(dict(summary["cosal"])),
        )
        if "field" in summary:
            self._logger.info(
                "the field's measures on %s, maps stretched, %d images\n%s",
                self._dataset_name,
                len(scores),
                create_small_table(dict(summary["field"])),
            )
        if "instances" in summary:
            found, components = summary["instances"], summary["components"]
            self._logger.info(
                "instances on %s, %d images; %d with a crowd are not counted\n%s",
                self._dataset_name,
                len(scores),
                len(scores) - found["counted"],
                table_text(
                    ["", "instances", "components"],
                    [[k, number_text(v), number_text(components.get(k))] for k, v in found.items()],
                ),
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


def repeats_auc(results: Sequence[ImageResult]) -> float | None:
    """How well the network's score tells images in which something repeats from the others: the
    area under its ROC curve, by the Mann-Whitney statistic; None without scores of both kinds."""
    scores = [[], []]
    for result in results:
        if result.repeats is not None:
            scores[result.score.empty].append(result.repeats)
    if not all(scores):
        return None
    return float(mannwhitneyu(*scores).statistic / (len(scores[0]) * len(scores[1])))


def _image_row(result: ImageResult, instances: ImageInstances | None) -> dict[str, Any]:
    row = {"file_name": result.file_name, "image_id": result.image_id, **asdict(result.score)}
    if result.repeats is not None:
        row["repeats"] = result.repeats
    if result.field is not None:
        measures = summarize_field([result.field])
        row.update((f"field_{name}", value) for name, value in measures.items())
    if instances is not None:
        row.update(instances.row)
    return row


def reference_rows(dataset_name: str) -> dict[str, dict[str, float]]:
    """Score two answers that need no network with :class:`CoSaliencyEvaluator`.

    "all objects" is the truth of ALL objects, as a perfect saliency detector would answer: what it
    loses against 1 is what telling co-salient objects from distractors is worth. The adaptive
    threshold of "constant 0.5" lies above it, so it finds no object and rejects every distractor.

    Works on the calling process alone, also in a multi-process run.

    Args:
        dataset_name: name under which the dataset is registered.

    Returns:
        ``{"all objects": {...}, "constant 0.5": {...}}``, each with the evaluator's keys; without
        any in a dataset without images.
    """
    answers: dict[str, Callable[[Truth], np.ndarray]] = {
        "all objects": lambda truth: truth.salient.astype(np.float64),
        "constant 0.5": lambda truth: np.full(truth.mask.shape, 0.5),
    }
    rows: dict[str, dict[str, float]] = {}
    for title, answer in answers.items():
        evaluator = CoSaliencyEvaluator(dataset_name, distributed=False, title=f"'{title}'")
        for record in DatasetCatalog.get(dataset_name):
            evaluator.process([record], [{"cosal_map": answer(decode_truth(record))}])
        rows[title] = dict(evaluator.evaluate().get("cosal", {}))
    return rows
