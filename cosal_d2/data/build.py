"""The training loader: what is drawn when is a pure function of (SEED, epoch, sample index)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, build_detection_train_loader
from detectron2.data.samplers import RepeatFactorTrainingSampler
from detectron2.utils import comm
from torch.utils.data import Dataset, Sampler

from cosal_d2.data.datasets import check_registered
from cosal_d2.data.mapper import CoSaliencyMapper
from cosal_d2.data.seeding import derive_seed

logger = logging.getLogger(__name__)


def load_training_records(cfg: CfgNode) -> list[dict]:
    """The dataset dicts of ``DATASETS.TRAIN``, without unclean ones under ``DATASETS.CLEAN_ONLY``.

    Raises:
        ValueError: nothing is left to train on.
    """
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty: name a registered dataset, such as cosal_train")
    check_registered(cfg.DATASETS.TRAIN)
    records = [r for name in cfg.DATASETS.TRAIN for r in DatasetCatalog.get(name)]
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        records = [r for r in records if any(not a.get("iscrowd", 0) for a in r["annotations"])]
    if cfg.DATASETS.CLEAN_ONLY:
        records = [r for r in records if r.get("clean", True)]
    if not records:
        raise ValueError(f"no training image is left in {', '.join(cfg.DATASETS.TRAIN)}")
    logger.info("%d training images from %s", len(records), ", ".join(cfg.DATASETS.TRAIN))
    return records


class EpochPlan(Dataset):
    """Sample ``n`` of a run, whatever came before it.

    Samples are numbered through all epochs. An epoch is a shuffle of the records, arranged so that
    each batch holds pictures of one orientation; with repeat factors a record occurs on average
    that many times an epoch.
    """

    def __init__(
        self,
        records: list[dict],
        batch_size: int,
        seed: int,
        repeat_factors: np.ndarray | None = None,
    ) -> None:
        """
        Args:
            records: dataset dicts with ``height`` and ``width``.
            batch_size: images an iteration over all processes.
            seed: SEED; a negative one counts as 0.
            repeat_factors: (len(records),), None for one of each.
        """
        self.records = records
        self.batch_size = batch_size
        self.seed = max(seed, 0)
        factors = np.ones(len(records)) if repeat_factors is None else np.asarray(repeat_factors)
        self._cumulated = np.cumsum(factors)
        batches = max(round(self._cumulated[-1] / batch_size), 1)
        self.epoch_length = batches * batch_size
        self._portrait = np.array([r["height"] > r["width"] for r in records])
        self._epoch, self._order = -1, np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.epoch_length

    def order(self, epoch: int) -> np.ndarray:
        """The record of each sample of an epoch, (epoch_length,) int64."""
        rng = np.random.default_rng([self.seed, epoch])
        total = self._cumulated[-1]
        points = (np.arange(self.epoch_length) + rng.random()) * total / self.epoch_length
        picks = np.searchsorted(self._cumulated, points, side="right")
        picks = rng.permutation(np.minimum(picks, len(self.records) - 1))
        # A stable sort by orientation keeps the shuffle within each; one batch at most is mixed.
        picks = picks[np.argsort(self._portrait[picks], kind="stable")]
        batches = picks.reshape(-1, self.batch_size)
        return batches[rng.permutation(len(batches))].reshape(-1)

    def __getitem__(self, n: int) -> dict:
        """Sample ``n``: a record with ``seed``, its own, and ``batch_seed``, its batch's."""
        epoch, index = divmod(n, self.epoch_length)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.order(epoch)
        record = copy.copy(self.records[self._order[index]])
        batch = index // self.batch_size
        record["seed"] = derive_seed(self.seed, epoch, index)
        record["batch_seed"] = derive_seed(self.seed, epoch, batch, 1)
        return record


class ResumableSampler(Sampler):
    """Numbers this process's samples, from iteration ``start_iter`` on, for ever."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.start_iter = 0

    def __iter__(self) -> Iterator[int]:
        share = self.batch_size // comm.get_world_size()
        first = self.start_iter * self.batch_size + comm.get_rank() * share
        while True:
            yield from range(first, first + share)
            first += self.batch_size


def build_cosal_train_loader(
    cfg: CfgNode, mapper=None
) -> tuple[torch.utils.data.DataLoader, Sampler]:
    """The loader, and its sampler, whose ``start_iter`` a resumed run sets before the first batch.

    ``DATALOADER.SAMPLER_TRAIN`` is TrainingSampler, or RepeatFactorTrainingSampler with
    Detectron2's ``REPEAT_THRESHOLD`` and ``REPEAT_SQRT``.

    Raises:
        ValueError: another sampler, or a batch that the processes cannot share evenly.
    """
    batch = cfg.SOLVER.IMS_PER_BATCH
    if batch % comm.get_world_size():
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH is {batch}: make it a multiple of the {comm.get_world_size()} "
            "processes"
        )
    records = load_training_records(cfg)
    plan = EpochPlan(records, batch, cfg.SEED, _repeat_factors(cfg, records))
    sampler = ResumableSampler(batch)
    loader = build_detection_train_loader(
        plan,
        mapper=mapper or CoSaliencyMapper(cfg, True),
        sampler=sampler,
        total_batch_size=batch,
        aspect_ratio_grouping=False,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    return loader, sampler


def _repeat_factors(cfg: CfgNode, records: list[dict]) -> np.ndarray | None:
    name = cfg.DATALOADER.SAMPLER_TRAIN
    if name == "TrainingSampler":
        return None
    if name != "RepeatFactorTrainingSampler":
        raise ValueError(
            f"DATALOADER.SAMPLER_TRAIN is {name!r}; use TrainingSampler or "
            "RepeatFactorTrainingSampler"
        )
    return RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
        records, cfg.DATALOADER.REPEAT_THRESHOLD, sqrt=cfg.DATALOADER.REPEAT_SQRT
    ).numpy()
