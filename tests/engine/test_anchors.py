import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator, build_anchor_generator
from network_data import tiny_config

from cosal_d2.config import get_cosal_config
from cosal_d2.data.datasets import load_cosal_json
from cosal_d2.engine import anchors
from cosal_d2.engine.anchors import WANTED_RECALL, anchor_recall
from cosal_d2.prepare.synthetic import DatasetSpec, SceneOptions, write_dataset

PHOTOGRAPHS = Path(__file__).resolve().parents[3] / "shared" / "data" / "cosal"
# One anchor a cell: 32x32 around (0, 0), (16, 0), ..., so (16, 16, 48, 48) is one of them.
SQUARE = DefaultAnchorGenerator(sizes=[[32]], aspect_ratios=[[1.0]], strides=[16], offset=0.0)


def record(boxes, height=128, width=128, mode=0, **extra):
    return {
        "height": height,
        "width": width,
        "annotations": [{"bbox": list(b), "bbox_mode": mode} | extra for b in boxes],
    }


def recall(*records, short_side=128, **options):
    return anchor_recall(list(records), SQUARE, 16, short_side, 400, **options)


def test_a_box_is_reached_at_iou_one_half():
    assert recall(record([(16, 16, 48, 48)])) == 1.0
    assert recall(record([(16, 16, 32, 48)])) == 1.0  # half of an anchor: IoU 0.5
    assert recall(record([(17, 16, 32, 48)])) == 0.0  # 15 / 32
    assert recall(record([(16, 16, 20, 20)])) == 0.0
    assert recall(record([(16, 16, 48, 48), (16, 16, 20, 20)])) == 0.5
    assert recall(record([(16, 16, 48, 48)]), record([(1, 1, 3, 3)] * 3)) == 0.25
    assert recall(record([(16, 16, 32, 48)]), threshold=0.6) == 0.0


def test_boxes_may_be_given_as_corner_and_size():
    assert recall(record([(16, 16, 32, 32)], mode=1)) == 1.0


def test_boxes_are_scaled_as_the_picture_is():
    small = record([(8, 8, 24, 24)], 64, 64)
    assert recall(small, short_side=64) == 0.0
    assert recall(small, short_side=128) == 1.0


def test_crowds_and_distractors_are_left_out():
    hit, missed = record([(16, 16, 48, 48)]), record([(1, 1, 3, 3)], cosalient=False)
    assert recall(hit, missed) == 1.0
    assert recall(hit, missed, with_distractors=True) == 0.5
    assert recall(hit, record([(1, 1, 3, 3)], iscrowd=1)) == 1.0
    assert recall(record([])) == 1.0


def generator(name):
    cfg = get_cosal_config(name)
    return cfg, build_anchor_generator(cfg, [ShapeSpec(channels=512, stride=16)])


def test_the_papers_anchors_miss_small_objects_that_the_cpu_configs_reach():
    boxes = [(40 + s, 30, 40 + s + s, 30 + 0.8 * s) for s in (40, 60, 80, 110, 150, 200)]
    scene = record(boxes, 400, 500)
    cfg, paper = generator("cosal_vgg16_online.yaml")
    assert paper.num_anchors == [9]
    cfg, ours = generator("cosal_vgg16_cpu.yaml")
    for side in cfg.INPUT.MIN_SIZE_TRAIN:
        limits = (16, side, cfg.INPUT.MAX_SIZE_TRAIN)
        assert anchor_recall([scene], ours, *limits) > 0.8
        assert anchor_recall([scene], paper, *limits) < 0.4


# The released recipe's RPN has to find distractors and small cut-outs too.
@pytest.mark.parametrize(
    ("config", "wanted"), [("cosal_vgg16_cpu_paper", WANTED_RECALL), ("cosal_vgg16_cpu", 0.9)]
)
def test_the_cpu_configs_anchors_reach_the_photographs_objects(config, wanted):
    checked, sides = [], 0
    for json_file in [p for p in (PHOTOGRAPHS / "train.json",) if p.exists()]:
        name = "cosal_test_photographs"
        records = load_cosal_json(str(json_file), str(json_file.with_suffix("")), name)
        MetadataCatalog.remove(name)
        cfg, ours = generator(f"{config}.yaml")
        everything = cfg.MODEL.RPN.DISTRACTORS_AS_OBJECTS
        sides = len(cfg.INPUT.MIN_SIZE_TRAIN)
        for side in cfg.INPUT.MIN_SIZE_TRAIN:
            limits = (16, side, cfg.INPUT.MAX_SIZE_TRAIN)
            checked.append(anchor_recall(records, ours, *limits, with_distractors=everything))
    assert all(share >= wanted for share in checked), checked
    assert len(checked) == sides and (sides > 0) == (PHOTOGRAPHS / "train.json").exists()


@pytest.mark.parametrize(("box", "warned"), [((16, 16, 48, 48), False), ((1, 1, 3, 3), True)])
def test_the_training_log_names_the_share_and_warns_below_95_percent(
    monkeypatch, caplog, box, warned
):
    monkeypatch.setattr(anchors.logger, "propagate", True)
    plan = SimpleNamespace(records=[record([box])])
    dataset = SimpleNamespace(dataset=SimpleNamespace(_dataset=plan))
    model = torch.nn.Module()
    model.proposal_generator = torch.nn.Module()
    model.proposal_generator.anchor_generator = SQUARE
    cfg = tiny_config("INPUT.MIN_SIZE_TRAIN", "(128,)", "INPUT.MAX_SIZE_TRAIN", "400")
    with caplog.at_level(logging.INFO, anchors.logger.name):
        anchors.log_anchor_recall(cfg, model, SimpleNamespace(dataset=dataset))
    assert f"{0.0 if warned else 100.0:.1f} % of training boxes" in caplog.text
    assert ("MODEL.ANCHOR_GENERATOR.SIZES" in caplog.text) == warned
    model.proposal_generator = None
    caplog.clear()
    anchors.log_anchor_recall(cfg, model, None)
    assert not caplog.records


def test_the_quickstarts_anchors_reach_its_scenes_objects(tmp_path):
    options = SceneOptions(distractors=(0, 4), repeat=True, size=(240, 320))
    json_file = write_dataset(DatasetSpec(tmp_path, "scenes", 80, 1, options), 2)
    records = load_cosal_json(str(json_file), str(json_file.with_suffix("")), "anchors_quick")
    cfg = get_cosal_config("quickstart.yaml")
    generator = build_anchor_generator(cfg, [ShapeSpec(channels=1, stride=16)])
    for side in cfg.INPUT.MIN_SIZE_TRAIN:
        recall = anchor_recall(records, generator, 16, side, cfg.INPUT.MAX_SIZE_TRAIN)
        assert WANTED_RECALL <= recall <= 1
