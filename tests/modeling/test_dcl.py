"""DCL: its network, its superpixels and what is pooled over them."""

import pytest
import torch
import torch.nn.functional as F
from base import MethodTests
from detectron2.layers import ShapeSpec
from network_data import TINY

from cosal_d2.config import get_cosal_config
from cosal_d2.modeling import build_decoder
from cosal_d2.modeling.methods import dcl
from cosal_d2.modeling.methods.superpixels import superpixels
from cosal_d2.utils import requirements

SHAPES = {"a": ShapeSpec(channels=8, stride=4), "b": ShapeSpec(channels=8, stride=8)}


class TestDCL(MethodTests):
    options = ("MODEL.DECODER.NAME", "DCLDecoder")


def decoder():
    torch.manual_seed(0)
    cfg = get_cosal_config("methods/dcl.yaml", TINY)
    return build_decoder(cfg, ShapeSpec(channels=16, stride=16), SHAPES)


def features(height=32, width=48):
    generator = torch.Generator().manual_seed(3)
    strides = {"image": (3, 1), "a": (8, 4), "b": (8, 8), "r": (16, 16)}
    found = {
        name: torch.randn((1, channels, height // stride, width // stride), generator=generator)
        for name, (channels, stride) in strides.items()
    }
    return found.pop("r"), found


def test_it_gives_both_streams_and_their_fusion_in_training_and_the_fusion_else():
    model, (r, skips) = decoder(), features()
    outputs = model.train()(r, skips)
    assert outputs.shape == (1, 3, 32, 48) and outputs.dtype == torch.float32
    # At first the fusion is the mean of the streams.
    torch.testing.assert_close(outputs[:, 2], outputs[:, :2].mean(1), rtol=1e-4, atol=1e-5)
    assert torch.equal(model.eval()(r, skips), outputs[:, 2:])
    targets = torch.zeros((1, 32, 48), dtype=torch.uint8)
    each = [F.softplus(x).mean().item() for x in outputs[0]]
    assert model.losses(outputs, targets)["loss_cosal"].item() == pytest.approx(sum(each))


def test_the_segment_stream_has_one_value_a_superpixel():
    model, (r, skips) = decoder().train(), features()
    segments = model(r, skips)[0, 1]
    labels = superpixels(skips["image"][0], dcl.SEGMENTS)
    values = [segments[labels == label].unique() for label in labels.unique()]
    assert all(v.numel() == 1 for v in values)
    assert len({v.item() for v in values}) > 0.9 * len(values) > 5


def test_superpixels_are_pooled_with_their_neighbours_and_the_picture():
    labels = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 1, 1], [2, 2, 3, 3]])
    cells = torch.arange(8.0).reshape(2, 2, 2)  # two features, at half the resolution
    found = dcl.pool_segments(labels, cells).reshape(4, 3, 2)
    pixels = cells.repeat_interleave(2, 1).repeat_interleave(2, 2)
    near = {0: (1, 2), 1: (0, 2, 3), 2: (0, 1, 3), 3: (1, 2)}
    for label, around in near.items():
        inside = torch.isin(labels, torch.tensor(around))
        expected = [pixels[:, labels == label].mean(1), pixels[:, inside].mean(1)]
        expected.append(pixels.mean((1, 2)))
        torch.testing.assert_close(found[label], torch.stack(expected))
    (alone,) = dcl.pool_segments(torch.zeros((4, 4), dtype=torch.int64), cells)
    assert alone.tolist() == [1.5, 5.5, 0.0, 0.0, 1.5, 5.5]


def test_levels_of_every_stride_are_brought_to_one_grid():
    for stride in (1, 2, 4, 8):
        branch = dcl._branch(ShapeSpec(channels=4, stride=stride), "GN")
        assert branch(torch.randn(1, 4, 64 // stride, 32 // stride)).shape == (1, 1, 8, 4)


def test_a_missing_package_is_named_when_the_network_is_built(monkeypatch):
    found = requirements.location
    monkeypatch.setattr(requirements, "location", lambda x: None if x == "skimage" else found(x))
    with pytest.raises(ImportError, match="DCLDecoder needs skimage.*pip install scikit-image"):
        decoder()


def test_an_export_is_refused():
    with pytest.raises(ValueError, match="is not exported"):
        torch.export.export(decoder().eval(), features())
