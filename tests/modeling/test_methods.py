"""The shipped configs of the compared methods."""

import pytest
import torch
from test_decoder import SHAPES, R, features

from cosal_d2.config import get_cosal_config
from cosal_d2.modeling import build_decoder

# The decoder's class, its outputs in training, and its stride.
DECODERS = {
    "methods/cpfe": ("CPFEDecoder", 1, 1),
    "methods/dcl": ("DCLDecoder", 3, 1),
    "methods/picanet": ("PiCANetDecoder", 5, 1),
    "methods/rfcn": ("RFCNDecoder", 3, 4),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_config_makes_its_decoder_on_vgg16_alone(name):
    cfg = get_cosal_config(name)
    model = cfg.MODEL
    assert model.BACKBONE.NAME == "build_cosal_vgg16_backbone" and model.BACKBONE.FREEZE_AT == 5
    assert not (model.GROUPING.ENABLED or model.FEATURE_SENSITIVE.ENABLED)
    assert (model.RFM.SAMPLER, model.RELEASED, model.DECODER.IOU_LOSS_WEIGHT) == ("", "", 0)
    assert cfg.SOLVER == get_cosal_config("cosal_vgg16_unet").SOLVER
    assert f"output/{name.removeprefix('methods/')}" == cfg.OUTPUT_DIR
    with torch.random.fork_rng([]), torch.no_grad():
        decoder = build_decoder(cfg, R, SHAPES)
        seen = {**features(32, 48), "image": torch.rand(2, 3, 32, 48)}
        outputs = decoder(seen["conv5_3"], seen)
        found = decoder.eval()(seen["conv5_3"], seen)
    kind, count, stride = DECODERS[name]
    assert (type(decoder).__name__, decoder.stride) == (kind, stride)
    assert outputs.shape == (2, count, 32 // stride, 48 // stride)
    torch.testing.assert_close(found, outputs[:, -1:])
