"""The training loader: what is drawn when is a pure function of (SEED, epoch, sample index)."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, DatasetFromList, build_detection_train_loader
from detectron2.data.samplers import RepeatFactorTrainingSampler
from detectron2.utils import comm
from torch.utils.data import Dataset, Sampler

from cosal_d2.data.composites import TrainingComposites
from cosal_d2.data.datasets import check_registered
from cosal_d2.data.mapper import CoSaliencyMapper
from cosal_d2.data.seeding import derive_seed

logger = logging.getLogger(__name__)


def load_training_records(cfg: CfgNode) -> list[dict]:
    """The dataset dicts of ``DATASETS.TRAIN``, without unclean ones under ``DATASETS.CLEAN_ONLY``.

    A dataset that is named several times is read once and occurs as many times.

    Raises:
        ValueError: nothing is left to train on.
    """
    names = cfg.DATASETS.TRAIN
    if not names:
        raise ValueError("DATASETS.TRAIN is empty: name a registered dataset, such as cosal_train")
    check_registered(names)
    loaded = {name: DatasetCatalog.get(name) for name in dict.fromkeys(names)}
    records = [r for name in names for r in loaded[name]]
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        records = [r for r in records if any(not a.get("iscrowd", 0) for a in r["annotations"])]
    if cfg.DATASETS.CLEAN_ONLY:
        records = [r for r in records if r.get("clean", True)]
    if not records:
        raise ValueError(f"no training image is left in {', '.join(names)}")
    logger.info("%d training images from %s", len(records), ", ".join(names))
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
            records: dataset dicts with ``height`` and ``width``; worker processes share one
                serialised copy.
            batch_size: images an iteration over all processes.
            seed: 0 or more.
            repeat_factors: (len(records),), None for one of each.
        """
        self.batch_size = batch_size
        self.seed = seed
        factors = np.ones(len(records)) if repeat_factors is None else np.asarray(repeat_factors)
        self._cumulated = np.cumsum(factors)
        batches = max(round(self._cumulated[-1] / batch_size), 1)
        self.epoch_length = batches * batch_size
        self._portrait = np.array([r["height"] > r["width"] for r in records])
        self._records = DatasetFromList(records)
        self._epoch, self._order = -1, np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.epoch_length

    def order(self, epoch: int) -> np.ndarray:
        """The record of each sample of an epoch, (epoch_length,) int64."""
        rng = np.random.default_rng([self.seed, epoch])
        total = self._cumulated[-1]
        points = (np.arange(self.epoch_length) + rng.random()) * total / self.epoch_length
        picks = np.searchsorted(self._cumulated, points, side="right")
        picks = rng.permutation(np.minimum(picks, len(self._records) - 1))
        # A stable sort by orientation keeps the shuffle within each; one batch at most is mixed.
        picks = picks[np.argsort(self._portrait[picks], kind="stable")]
        batches = picks.reshape(-1, self.batch_size)
        return batches[rng.permutation(len(batches))].reshape(-1)

    def __getitem__(self, n: int) -> dict:
        """Sample ``n``: a record with ``seed``, its own, and ``batch_seed``, its batch's."""
        epoch, index = divmod(n, self.epoch_length)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.order(epoch)
        record = self._records[int(self._order[index])]
        batch = index // self.batch_size
        record["seed"] = derive_seed(self.seed, epoch, index)
        record["batch_seed"] = derive_seed(self.seed, epoch, batch, 1)
        return record


class ResumableSampler(Sampler):
    """Numbers this process's samples, from iteration ``start_iter`` on, for ever.

    It is made in the training process: the loader's workers, which iterate over it, do not know
    that process's rank.
    """

    def __init__(self, plan: EpochPlan) -> None:
        """
        Raises:
            ValueError: the processes cannot share a batch of the plan evenly.
        """
        super().__init__()
        processes = comm.get_world_size()
        if plan.batch_size % processes:
            raise ValueError(
                f"SOLVER.IMS_PER_BATCH is {plan.batch_size}: make it a multiple of the {processes} "
                "processes"
            )
        self.plan = plan
        self.share = plan.batch_size // processes
        self.offset = comm.get_rank() * self.share
        self.start_iter = 0

    def __iter__(self) -> Iterator[int]:
        first = self.start_iter * self.plan.batch_size + self.offset
        while True:
            yield from range(first, first + self.share)
            first += self.plan.batch_size


def build_cosal_train_loader(
    cfg: CfgNode, records: list[dict] | None = None
) -> tuple[torch.utils.data.DataLoader, ResumableSampler]:
    """The loader, and its sampler, whose ``start_iter`` a resumed run sets before the first batch.

    ``DATALOADER.SAMPLER_TRAIN`` is TrainingSampler, or RepeatFactorTrainingSampler with
    Detectron2's ``REPEAT_THRESHOLD`` and ``REPEAT_SQRT``. A negative ``SEED`` is replaced by one
    that is drawn here, the same in all processes; it is ``sampler.plan.seed``.

    Args:
        cfg: the config.
        records: dataset dicts; those of :func:`load_training_records` when not given.

    Raises:
        ValueError: another sampler, or a batch that the processes cannot share evenly.
    """
    if records is None:
        records = load_training_records(cfg)
    seed = cfg.SEED
    if seed < 0:
        seed = comm.shared_random_seed()
        logger.info("SEED is %d: samples are drawn from the random seed %d", cfg.SEED, seed)
    plan = EpochPlan(records, cfg.SOLVER.IMS_PER_BATCH, seed, _repeat_factors(cfg, records))
    sampler = ResumableSampler(plan)
    loader = build_detection_train_loader(
        plan,
        mapper=CoSaliencyMapper(cfg, True, composites=_composites(cfg, records)),
        sampler=sampler,
        total_batch_size=plan.batch_size,
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
    # Datasets number their categories each in its own way: what counts is the name.
    ids: dict[str, int] = {}
    named = [
        {
            "annotations": [
                {"category_id": ids.setdefault(a["class_name"], len(ids))}
                for a in record["annotations"]
                if a["cosalient"]
            ]
        }
        for record in records
    ]
    return RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
        named, cfg.DATALOADER.REPEAT_THRESHOLD, sqrt=cfg.DATALOADER.REPEAT_SQRT
    ).numpy()


def _composites(cfg: CfgNode, records: list[dict]) -> TrainingComposites | None:
    keys = cfg.INPUT.COMPOSITES
    if keys.PROB == 0 and keys.PASTE_PROB == 0:
        return None
    check_registered(keys.SINGLES)
    return TrainingComposites(
        records,
        [r for name in keys.SINGLES for r in DatasetCatalog.get(name)],
        prob=keys.PROB,
        objects=tuple(keys.OBJECTS),
        distractors=tuple(keys.DISTRACTORS),
        no_group=keys.NO_GROUP,
        two_groups=keys.TWO_GROUPS,
        paste_prob=keys.PASTE_PROB,
        sprites=keys.SPRITES,
    )
