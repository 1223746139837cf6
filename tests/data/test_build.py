"""The training loader: which samples a run sees, in which process, with which seeds."""

import itertools

import detectron2.data.build
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.utils import comm
from network_data import tiny_config

from cosal_d2.data import build_cosal_train_loader
from cosal_d2.data.build import EpochPlan, ResumableSampler, load_training_records


def records(landscape=13, portrait=9):
    return [
        {"image_id": i, "height": 30 + 20 * (i >= landscape), "width": 40}
        for i in range(landscape + portrait)
    ]


def ids(plan, numbers):
    return [plan[n]["image_id"] for n in numbers]


def test_an_epoch_is_a_shuffle_and_epochs_differ():
    plan = EpochPlan(records(), 2, seed=0)
    assert len(plan) == plan.epoch_length == 22
    first, second = ids(plan, range(22)), ids(plan, range(22, 44))
    assert sorted(first) == sorted(second) == list(range(22))
    assert first != second
    assert ids(EpochPlan(records(), 2, seed=1), range(22)) != first
    # A resumed training asks for the second epoch alone.
    assert ids(EpochPlan(records(), 2, seed=0), range(22, 44)) == second
    small = EpochPlan(records(2, 0), 4, 0)  # less than a batch
    assert small.epoch_length == 4 and sorted(ids(small, range(4))) == [0, 0, 1, 1]


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_a_batch_holds_one_orientation_but_for_one_at_most(batch):
    plan = EpochPlan(records(), batch, seed=1)
    for epoch in range(5):
        start = epoch * plan.epoch_length
        picked = [plan[start + i] for i in range(plan.epoch_length)]
        batches = [picked[i : i + batch] for i in range(0, len(picked), batch)]
        mixed = [b for b in batches if len({r["height"] > r["width"] for r in b}) > 1]
        assert len(mixed) <= 1
        assert all(len({r["batch_seed"] for r in b}) == 1 for b in batches)
        assert len({b[0]["batch_seed"] for b in batches}) == len(batches)
        assert len({r["seed"] for r in picked}) == len(picked)


def test_repeat_factors_are_met_on_average():
    factors = np.ones(22)
    factors[:3] = (2.5, 1.25, 4.0)
    plan = EpochPlan(records(), 2, 0, factors)
    assert plan.epoch_length == round(factors.sum() / 2) * 2
    epochs = 400
    counts = np.zeros(22)
    for epoch in range(epochs):
        counts += np.bincount(plan.order(epoch), minlength=22)
    share = counts / epochs * factors.sum() / plan.epoch_length
    np.testing.assert_allclose(share, factors, atol=0.1)


@pytest.fixture
def world(monkeypatch):
    """Turns this process into one of several."""

    def become(rank, size):
        for module in (comm, detectron2.data.build):
            monkeypatch.setattr(module, "get_world_size", lambda: size)
        monkeypatch.setattr(comm, "get_rank", lambda: rank)

    return become


def test_two_processes_share_each_batch(world):
    plan = EpochPlan(records(), 4, 0)
    shares = []
    for rank in (0, 1):
        world(rank, 2)
        sampler = ResumableSampler(plan)
        sampler.start_iter = 1
        shares.append(list(itertools.islice(sampler, 6)))
    assert shares == [[4, 5, 8, 9, 12, 13], [6, 7, 10, 11, 14, 15]]
    with pytest.raises(ValueError, match="IMS_PER_BATCH is 3: make it a multiple of the 2"):
        ResumableSampler(EpochPlan(records(), 3, 0))


def loader_of(dataset, start_iter=0, **changes):
    cfg = tiny_config("DATASETS.TRAIN", f"('{dataset}',)")
    cfg.DATALOADER.update(changes)
    loader, sampler = build_cosal_train_loader(cfg)
    sampler.start_iter = start_iter
    return loader


def batches(loader, count):
    return list(itertools.islice(loader, count))


def test_workers_that_are_spawned_load_their_own_processs_share(dataset, world):
    wanted = [[sample["seed"] for sample in b] for b in batches(loader_of(dataset), 3)]
    world(1, 2)
    loader = loader_of(dataset, NUM_WORKERS=1)
    loader.multiprocessing_context = "spawn"
    assert [[sample["seed"] for sample in b] for b in batches(loader, 3)] == [b[1:] for b in wanted]


def same(a, b):
    return (
        a["file_name"] == b["file_name"]
        and a["seed"] == b["seed"]
        and torch.equal(a["image"], b["image"])
        and torch.equal(a["sem_seg"], b["sem_seg"])
        and torch.equal(a["instances"].gt_boxes.tensor, b["instances"].gt_boxes.tensor)
    )


def test_workers_and_resuming_change_nothing(dataset):
    straight = batches(loader_of(dataset), 6)
    assert [len(b) for b in straight] == [2] * 6
    with_workers = batches(loader_of(dataset, NUM_WORKERS=2), 6)
    resumed = straight[:3] + batches(loader_of(dataset, 3), 3)
    for other in (with_workers, resumed):
        for a, b in zip(sum(straight, []), sum(other, []), strict=True):
            assert same(a, b)


@pytest.fixture
def loaded(dataset, monkeypatch):
    """The records of ``dataset``, in which a test may change what the catalog gives; a list of the
    names that were read."""
    names, content = [], DatasetCatalog.get(dataset)
    monkeypatch.setattr(DatasetCatalog, "get", lambda name: (names.append(name), content)[1])
    return content, names


def test_records_can_be_the_clean_ones_only(dataset, loaded):
    content, _ = loaded
    content[0]["clean"] = False
    content[1]["annotations"] = []
    cfg = tiny_config("DATASETS.TRAIN", f"('{dataset}',)")

    def left(clean, filled):
        cfg.DATASETS.CLEAN_ONLY = clean
        cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = filled
        return [r["image_id"] for r in load_training_records(cfg)]

    assert left(False, False) == [1, 2, 3]
    assert left(True, False) == [2, 3]
    assert left(True, True) == [3]
    content[2]["clean"] = False
    with pytest.raises(ValueError, match=f"no training image is left in {dataset}"):
        left(True, True)


def test_a_dataset_named_four_times_is_read_once_and_seen_four_times(dataset, loaded):
    cfg = tiny_config("DATASETS.TRAIN", str((dataset,) * 4))
    assert [r["image_id"] for r in load_training_records(cfg)] == [1, 2, 3] * 4
    assert loaded[1] == [dataset]


def test_missing_dataset_and_unknown_sampler_are_named(dataset):
    with pytest.raises(ValueError, match="DATASETS.TRAIN is empty"):
        load_training_records(tiny_config())
    with pytest.raises(ValueError, match="SAMPLER_TRAIN is 'Other'; use TrainingSampler or"):
        loader_of(dataset, SAMPLER_TRAIN="Other")


def test_records_repeat_by_the_names_of_their_groups(dataset, loaded):
    content, _ = loaded
    for entry in content[2]["annotations"][:2]:  # of another dataset, whose numbers start anew
        entry["class_name"] = "pear"
    content[:] = content * 20
    cfg = tiny_config("DATASETS.TRAIN", f"('{dataset}',)", "DATALOADER.REPEAT_THRESHOLD", "1.0")
    lengths = {}
    for name in ("TrainingSampler", "RepeatFactorTrainingSampler"):
        cfg.DATALOADER.SAMPLER_TRAIN = name
        lengths[name] = build_cosal_train_loader(cfg)[1].plan.epoch_length
    # "apple" is in two of three pictures, "pear" in one; the distractors in all count nothing.
    expected = round((40 * 1.5**0.5 + 20 * 3**0.5) / 2) * 2
    assert lengths == {"TrainingSampler": 60, "RepeatFactorTrainingSampler": expected}


def test_a_negative_seed_is_drawn_and_a_given_one_is_used(dataset):
    cfg = tiny_config("DATASETS.TRAIN", f"('{dataset}',)", "SEED", "-1")
    drawn = {build_cosal_train_loader(cfg)[1].plan.seed for _ in range(4)}
    assert len(drawn) == 4 and min(drawn) >= 0
    cfg.SEED = 5
    assert build_cosal_train_loader(cfg)[1].plan.seed == 5
