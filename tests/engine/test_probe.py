import copy
from types import SimpleNamespace

import pytest
import torch
from detectron2.data import DatasetCatalog
from network_data import tiny_config, tiny_model

from cosal_d2.engine import probe
from cosal_d2.engine.probe import TripletProbe, build_probe


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def config(dataset, images=2):
    wanted = ["DATASETS.TEST", f"('{dataset}',)", "TEST.TRIPLET_PROBE_IMAGES", str(images)]
    return tiny_config(*wanted)


def test_it_is_fixed_and_leaves_the_catalogs_records_alone(dataset, model, monkeypatch):
    records = DatasetCatalog.get(dataset)
    monkeypatch.setattr(DatasetCatalog, "get", lambda name: records)
    before = copy.deepcopy(records)
    first, second = build_probe(config(dataset), model), build_probe(config(dataset), model)
    assert records == before
    assert len(first.images) == len(second.images) == 2
    for a, b in zip(first.images, second.images, strict=True):
        assert a.image.shape in ((3, 64, 85), (3, 85, 64))
        assert torch.equal(a.image, b.image) and torch.equal(a.regions.boxes, b.regions.boxes)
        assert torch.equal(a.regions.triplets, b.regions.triplets) and len(a.regions.triplets)


def test_shares_are_those_of_a_slow_count_and_the_mode_is_put_back(dataset, model):
    built = build_probe(config(dataset), model)
    model.train()
    shares = built.measure()
    assert model.training and built.measure() == shares
    model.eval()
    built.measure()
    assert not model.training
    satisfied, ordered = [], []
    with torch.no_grad():
        for image in built.images:
            _, r = model.features(model.preprocess([image.image]))
            (e,) = model.rfm.embed(r, [image.regions.boxes])
            for a, p, n in image.regions.triplets.tolist():
                near, far = ((e[a] - e[i]).pow(2).sum().item() for i in (p, n))
                satisfied.append(near + model.rfm.margin <= far)
                ordered.append(near < far)
    assert len(satisfied) == 2 * 128
    assert shares["probe/satisfied"] == pytest.approx(sum(satisfied) / 256, abs=0.01)
    assert shares["probe/ordered"] == pytest.approx(sum(ordered) / 256, abs=0.01)


def test_there_is_none_without_branch_pictures_or_dataset(dataset, model, monkeypatch):
    assert build_probe(config(dataset, 0), model) is None
    assert build_probe(tiny_config("TEST.TRIPLET_PROBE_IMAGES", "2"), model) is None
    assert build_probe(config(dataset), SimpleNamespace(rfm=None)) is None
    empty = [r | {"annotations": []} for r in DatasetCatalog.get(dataset)]
    with monkeypatch.context() as patch:
        patch.setattr(DatasetCatalog, "get", lambda name: empty)
        assert build_probe(config(dataset), model) is None
    monkeypatch.setattr(probe.comm, "is_main_process", lambda: False)
    assert build_probe(config(dataset), model) is None


@pytest.mark.parametrize(
    ("start", "period", "expected"), [(0, 2, [0, 2, 4, 5]), (2, 2, [4, 5]), (0, 0, [0, 5])]
)
def test_it_is_logged_before_training_and_every_period(storage, start, period, expected):
    class Counting:
        def measure(self):
            logged.append(done)
            return {"probe/satisfied": 0.5}

    logged, done = [], start
    hook = TripletProbe(Counting(), period)
    hook.trainer = SimpleNamespace(start_iter=start, max_iter=5, storage=storage, iter=start)
    hook.before_train()
    for iteration in range(start, 5):
        hook.trainer.iter, done = iteration, iteration + 1
        hook.after_step()
    assert logged == expected
    assert storage.latest()["probe/satisfied"][0] == 0.5
