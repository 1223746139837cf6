"""Pictures of training samples, and the tool that draws them."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks
from network_data import TINY, instances, rectangle_mask, tiny_config
from tool_loading import load_tool

from cosal_d2.inference import data_view
from cosal_d2.inference.data_view import draw_training_samples
from cosal_d2.utils.drawing import draw_instances, draw_regions


@pytest.fixture
def tool(untouched_loggers):
    return load_tool("tools/visualize_data.py")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def config(dataset, *opts):
    return tiny_config("DATASETS.TRAIN", f"('{dataset}',)", *opts)


def test_instances_are_tinted_by_kind_and_boxed():
    boxes, size = [(10, 10, 40, 40), (60, 20, 90, 50)], (60, 100)
    targets = instances(size, boxes, [True, False])
    masks = np.stack([rectangle_mask(size, box) for box in boxes]).astype(bool)
    targets.gt_masks = BitMasks(torch.from_numpy(masks))
    image = np.full((*size, 3), 100, np.uint8)
    out = draw_instances(image, targets).astype(int)
    assert out.shape == image.shape and (image == 100).all()
    green, orange = out[20:30, 20:30], out[30:40, 70:80]
    assert (green[..., 1] > green[..., 2] + 40).all()
    assert (orange[..., 2] > orange[..., 1] + 20).all()
    assert (orange[..., 1] > orange[..., 0] + 20).all()
    assert (out[:5] == 100).all() and (out[55:] == 100).all()


def test_a_triplet_has_one_colour_and_no_triplet_draws_nothing():
    image = np.full((120, 160, 3), 90, np.uint8)
    boxes = torch.tensor([[10.0, 30, 50, 70], [60, 30, 100, 70], [110, 60, 150, 100]])
    none = torch.zeros((0, 3), dtype=torch.int64)
    assert (draw_regions(image, boxes, none) == image).all()
    out = draw_regions(image, boxes, torch.tensor([[0, 1, 2]])).astype(int)
    yellow = (out[..., 2] > 150) & (out[..., 1] > 150) & (out[..., 0] < 120)
    for _, y0, x1, y1 in boxes.int().tolist():
        # A solid line has more of the colour than a dashed one, a dotted one the least.
        assert yellow[y0 + 15 : y1 - 5, x1 - 3 : x1 + 3].any()
    sides = [yellow[:, x - 3 : x + 3].any(axis=1).sum() for x in (50, 100, 150)]
    assert sides[0] > sides[1] and sides[0] > sides[2]


def test_each_sample_is_drawn_and_other_files_stay(dataset, folder, caplog):
    caplog.set_level(logging.INFO, "cosal_d2")
    (folder / "mine.png").write_bytes(b"mine")
    cfg = config(dataset)
    first = list(draw_training_samples(cfg, 3, str(folder)))
    assert "regions are those of the OfflineSampler" in caplog.text
    names = sorted(path.name for path in folder.iterdir())
    assert names == [*sorted(Path(p).name for p in first), "mine.png"]
    assert [Path(p).name[:5] for p in first] == ["0000_", "0001_", "0002_"]
    before = [Path(p).read_bytes() for p in first]
    assert all(cv2.imread(p) is not None for p in first)
    assert list(draw_training_samples(cfg, 3, str(folder))) == first
    assert [Path(p).read_bytes() for p in first] == before
    assert (folder / "mine.png").read_bytes() == b"mine"


def test_the_configs_own_sampler_is_used_where_it_needs_no_network(dataset, folder, caplog):
    caplog.set_level(logging.INFO, "cosal_d2")
    cfg = config(dataset, "MODEL.RFM.SAMPLER", "OfflineSampler")
    assert len(list(draw_training_samples(cfg, 1, str(folder)))) == 1
    assert "regions are those" not in caplog.text


def test_a_picture_that_fails_leaves_the_old_file(dataset, folder, monkeypatch):
    cfg = config(dataset)
    (path,) = draw_training_samples(cfg, 1, str(folder))
    before = Path(path).read_bytes()

    def fail(name, *args, **kwargs):
        Path(name).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(data_view, "save_gallery", fail)
    with pytest.raises(OSError, match="disk full"):
        list(draw_training_samples(cfg, 1, str(folder)))
    assert Path(path).read_bytes() == before and len(list(folder.iterdir())) == 1


def test_the_command_draws_and_says_so(tool, dataset, tmp_path, capsys):
    start = ["--config-file", "cosal_vgg16_cpu.yaml", "--out", str(tmp_path / "out")]
    assert tool.main([*start, "--data", dataset, "--count", "2", "--opts", *TINY]) == 0
    assert "2 samples drawn into" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data", "cosal_nowhere"], "no dataset 'cosal_nowhere'"),
        (["--count", "0"], "--count is 0; give 1 or more"),
        (["--opts", "INPUT.OCCLUSION.PROB", "7.0"], "INPUT.OCCLUSION.PROB is 7.0"),
    ],
)
def test_the_command_refuses_what_is_unusable(tool, tmp_path, capsys, more, message):
    start = ["--config-file", "cosal_vgg16_cpu.yaml", "--out", str(tmp_path / "out")]
    assert tool.main([*start, *more]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
