"""`tools/visualize_data.py`, and how it draws instances and triplets."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks
from network_data import TINY, instances, rectangle_mask
from tool_loading import load_tool

from cosal_d2.utils.drawing import draw_instances, draw_regions


@pytest.fixture
def draw(tmp_path):
    """The command, drawing into ``tmp_path/out``."""
    main = load_tool("tools/visualize_data.py").main
    start = ["--config-file", "cosal_vgg16.yaml", "--out", str(tmp_path / "out")]
    return lambda *more: main([*start, *more])


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


@pytest.mark.parametrize(("sampler", "noted"), [("OnlineSampler", True), ("OfflineSampler", False)])
def test_each_sample_is_drawn_and_other_files_stay(draw, dataset, tmp_path, capsys, sampler, noted):
    more = ["--data", dataset, "--count", "3", "--opts", *TINY, "MODEL.RFM.SAMPLER", sampler]
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.png").write_bytes(b"mine")
    assert draw(*more) == 0
    text = capsys.readouterr().out
    assert "3 samples drawn into" in text
    assert ("regions are those of the OfflineSampler" in text) == noted
    made = {path.name: path.read_bytes() for path in sorted(out.iterdir())}
    assert [name[:5] for name in made] == ["0000_", "0001_", "0002_", "mine."]
    assert made["mine.png"] == b"mine"
    assert all(cv2.imread(str(out / name)) is not None for name in made if name != "mine.png")
    assert draw(*more) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == made


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data", "cosal_nowhere"], "no dataset 'cosal_nowhere'"),
        (["--count", "0"], "--count is 0; give 1 or more"),
        (["--opts", "INPUT.OCCLUSION.PROB", "7.0"], "INPUT.OCCLUSION.PROB is 7.0"),
    ],
)
def test_what_is_unusable_is_refused(draw, tmp_path, capsys, more, message):
    assert draw(*more) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
