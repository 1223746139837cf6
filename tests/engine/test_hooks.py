"""What a training logs about its triplets and its anchors."""

import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator, build_anchor_generator
from detectron2.utils import comm
from network_data import tiny_config, tiny_model

from cosal_d2.config import get_cosal_config
from cosal_d2.engine.hooks import (
    TripletProbe,
    anchor_recall,
    build_triplet_probe,
    log_anchor_recall,
)

# One anchor a cell: 32x32 around (0, 0), (16, 0), ..., so (16, 16, 48, 48) is one of them.
SQUARE = DefaultAnchorGenerator(sizes=[[32]], aspect_ratios=[[1.0]], strides=[16], offset=0.0)
HIT, MISSED = (16, 16, 48, 48), (1, 1, 3, 3)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def config(dataset, images=2):
    return tiny_config("DATASETS.TEST", f"('{dataset}',)", "TEST.TRIPLET_PROBE_IMAGES", str(images))


def test_the_probe_is_fixed_and_leaves_the_catalogs_records_alone(dataset, model, monkeypatch):
    records = DatasetCatalog.get(dataset)
    monkeypatch.setattr(DatasetCatalog, "get", lambda name: records)
    before = copy.deepcopy(records)
    first, second = (build_triplet_probe(config(dataset), model) for _ in range(2))
    assert records == before
    assert len(first.samples) == len(second.samples) == 2
    for (image, regions), (other, others) in zip(first.samples, second.samples, strict=True):
        assert image.shape in ((3, 64, 85), (3, 85, 64)) and torch.equal(image, other)
        assert torch.equal(regions.boxes, others.boxes) and len(regions.triplets)
        assert torch.equal(regions.triplets, others.triplets)


def test_its_shares_are_those_of_a_slow_count_and_the_mode_is_put_back(dataset, model):
    probe = build_triplet_probe(config(dataset), model)
    model.train()
    shares = probe.measure()
    assert model.training and probe.measure() == shares
    model.eval()
    probe.measure()
    assert not model.training
    satisfied, ordered = [], []
    with torch.no_grad():
        for image, regions in probe.samples:
            _, r = model.features(model.preprocess([image]))
            (e,) = model.rfm.embed(r, [regions.boxes])
            for a, p, n in regions.triplets.tolist():
                near, far = ((e[a] - e[i]).pow(2).sum().item() for i in (p, n))
                satisfied.append(near + model.rfm.margin <= far)
                ordered.append(near < far)
    assert len(satisfied) == 2 * 128
    assert shares["probe/satisfied"] == pytest.approx(sum(satisfied) / 256, abs=0.01)
    assert shares["probe/ordered"] == pytest.approx(sum(ordered) / 256, abs=0.01)


def test_there_is_no_probe_without_branch_pictures_or_dataset(dataset, model, monkeypatch):
    assert build_triplet_probe(config(dataset, 0), model) is None
    assert build_triplet_probe(tiny_config("TEST.TRIPLET_PROBE_IMAGES", "2"), model) is None
    assert build_triplet_probe(config(dataset), SimpleNamespace(rfm=None)) is None
    empty = [r | {"annotations": []} for r in DatasetCatalog.get(dataset)]
    with monkeypatch.context() as patch:
        patch.setattr(DatasetCatalog, "get", lambda name: empty)
        assert build_triplet_probe(config(dataset), model) is None
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert build_triplet_probe(config(dataset), model) is None


@pytest.mark.parametrize(
    ("start", "period", "expected"), [(0, 2, [0, 2, 4, 5]), (2, 2, [4, 5]), (0, 0, [0, 5])]
)
def test_the_probe_is_logged_before_training_and_every_period(storage, start, period, expected):
    class Counting(TripletProbe):
        def measure(self):
            logged.append(done)
            return {"probe/satisfied": 0.5}

    logged, done = [], start
    hook = Counting(None, [], period)
    hook.trainer = SimpleNamespace(start_iter=start, max_iter=5, storage=storage, iter=start)
    hook.before_train()
    for iteration in range(start, 5):
        hook.trainer.iter, done = iteration, iteration + 1
        hook.after_step()
    assert logged == expected
    assert storage.latest()["probe/satisfied"][0] == 0.5


def record(boxes, height=128, width=128, mode=0, **extra):
    return {
        "height": height,
        "width": width,
        "annotations": [{"bbox": list(b), "bbox_mode": mode} | extra for b in boxes],
    }


@pytest.mark.parametrize(
    ("records", "options", "expected"),
    [
        ([record([HIT])], {}, 1.0),
        ([record([(16, 16, 32, 48)])], {}, 1.0),  # half of an anchor: IoU 0.5
        ([record([(17, 16, 32, 48)])], {}, 0.0),  # 15 / 32
        ([record([HIT, MISSED])], {}, 0.5),
        ([record([HIT]), record([MISSED] * 3)], {}, 0.25),
        ([record([(16, 16, 32, 32)], mode=1)], {}, 1.0),  # corner and size
        ([record([(8, 8, 24, 24)], 64, 64)], {"short_side": 64}, 0.0),
        ([record([(8, 8, 24, 24)], 64, 64)], {}, 1.0),  # scaled as the picture is
        ([record([HIT]), record([MISSED], cosalient=False)], {}, 1.0),
        ([record([HIT]), record([MISSED], cosalient=False)], {"with_distractors": True}, 0.5),
        ([record([HIT]), record([MISSED], iscrowd=1)], {}, 1.0),
        ([record([])], {}, 1.0),
    ],
)
def test_boxes_are_reached_from_iou_one_half_on(records, options, expected):
    limits = {"short_side": 128, "max_size": 400}
    assert anchor_recall(records, SQUARE, **(limits | options)) == expected


def test_the_papers_anchors_miss_small_objects_that_the_released_ones_reach():
    boxes = [(40 + s, 30, 40 + s + s, 30 + 0.8 * s) for s in (40, 60, 80, 110, 150, 200)]
    scales, recalls = get_cosal_config("cosal_vgg16.yaml").INPUT, {}
    for name in ("cosal_vgg16", "cosal_r50", "cosal_vgg16_online"):
        cfg = get_cosal_config(name)
        anchors = build_anchor_generator(cfg, [ShapeSpec(channels=512, stride=16)])
        recalls[name] = [
            anchor_recall([record(boxes, 400, 500)], anchors, side, scales.MAX_SIZE_TRAIN)
            for side in scales.MIN_SIZE_TRAIN
        ]
    assert min(recalls["cosal_vgg16"] + recalls["cosal_r50"]) > 0.8
    assert max(recalls["cosal_vgg16_online"]) < 0.4


@pytest.mark.parametrize(("box", "warned"), [(HIT, False), (MISSED, True)])
def test_a_training_logs_the_share_of_some_hundred_images_and_warns_below_95_percent(
    monkeypatch, caplog, box, warned
):
    monkeypatch.setattr(logging.getLogger("cosal_d2"), "propagate", True)
    model = torch.nn.Module()
    model.proposal_generator = torch.nn.Module()
    model.proposal_generator.anchor_generator = SQUARE
    cfg = tiny_config("INPUT.MIN_SIZE_TRAIN", "(128,)", "INPUT.MAX_SIZE_TRAIN", "400")
    read = []

    class Counted(list):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    with caplog.at_level(logging.INFO, "cosal_d2"):
        log_anchor_recall(cfg, model, Counted([record([box])] * 1000))
    assert f"{0.0 if warned else 100.0:.1f} % of training boxes" in caplog.text
    assert "looked at 300 of 1000 images" in caplog.text
    assert ("MODEL.ANCHOR_GENERATOR.SIZES" in caplog.text) == warned
    assert len(set(read)) == 300 and {b - a for a, b in zip(read, read[1:], strict=False)} == {3, 4}
    model.proposal_generator = None
    caplog.clear()
    log_anchor_recall(cfg, model, [])
    assert not caplog.records
