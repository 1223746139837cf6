import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone
from network_data import tiny_config
from torchvision.models.vgg import cfgs, make_layers

from cosal_d2.engine import Trainer
from cosal_d2.modeling.backbone import vgg
from cosal_d2.modeling.backbone.vgg import VGG16, build_cosal_vgg16_backbone

STRIDES = {"conv1_2": 1, "conv2_2": 2, "conv3_3": 4, "conv4_3": 8, "conv5_3": 16}
CHANNELS = {"conv1_2": 64, "conv2_2": 128, "conv3_3": 256, "conv4_3": 512, "conv5_3": 512}


@pytest.fixture(scope="module")
def encoder():
    return build_backbone(tiny_config())


def test_outputs_have_the_stated_names_strides_and_channels(encoder):
    shapes = encoder.output_shape()
    assert {k: v.stride for k, v in shapes.items()} == STRIDES
    assert {k: v.channels for k, v in shapes.items()} == CHANNELS
    assert encoder.size_divisibility == 16
    out = encoder(torch.rand(2, 3, 32, 48))
    assert {k: tuple(v.shape) for k, v in out.items()} == {
        k: (2, CHANNELS[k], 32 // s, 48 // s) for k, s in STRIDES.items()
    }


def test_it_is_torchvisions_vgg16_layer_by_layer(encoder):
    reference = make_layers(cfgs["D"])
    state = {k.removeprefix("features."): v for k, v in encoder.state_dict().items()}
    reference.load_state_dict(state)
    x = torch.randn(1, 3, 32, 32) * 50
    out = encoder(x)
    with torch.no_grad():
        for index, layer in enumerate(reference):
            x = layer(x)
            name = {3: "conv1_2", 8: "conv2_2", 15: "conv3_3", 22: "conv4_3", 29: "conv5_3"}.get(
                index
            )
            if name:
                torch.testing.assert_close(out[name], x, rtol=1e-4, atol=1e-3)


def test_state_dict_has_torchvisions_names(encoder):
    indices = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    names = [f"features.{i}.{kind}" for i in indices for kind in ("weight", "bias")]
    assert list(encoder.state_dict()) == names


def test_it_is_frozen_and_stays_in_eval_mode(encoder):
    encoder.train()
    assert not any(m.training for m in encoder.modules())
    assert not any(p.requires_grad for p in encoder.parameters())
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    assert not any(v.requires_grad for v in encoder(x).values())
    torch.nn.Sequential(encoder).train()
    assert not encoder.training


@pytest.mark.parametrize("optimizer", ["SGD", "ADAMW"])
def test_the_optimizer_does_not_see_it(encoder, optimizer):
    model = torch.nn.Module()
    model.backbone = encoder
    model.decoder = torch.nn.Conv2d(4, 4, 3)
    built = Trainer.build_optimizer(tiny_config("SOLVER.OPTIMIZER", optimizer), model)
    seen = {id(p) for group in built.param_groups for p in group["params"]}
    assert seen == {id(p) for p in model.decoder.parameters()}
    assert type(built).__name__.startswith("SGD" if optimizer == "SGD" else "AdamW")


def test_random_weights_are_refused_unless_allowed():
    cfg = tiny_config("MODEL.VGG.ALLOW_RANDOM", "False", "MODEL.VGG.WEIGHTS", "")
    with pytest.raises(ValueError, match="vgg16://imagenet.*MODEL.VGG.ALLOW_RANDOM True"):
        build_backbone(cfg)


def test_other_than_three_channels_are_refused():
    with pytest.raises(ValueError, match="3 channels, but MODEL.PIXEL_MEAN has 4"):
        build_cosal_vgg16_backbone(tiny_config(), ShapeSpec(channels=4))


def test_it_loads_the_weights_that_the_config_names(encoder, monkeypatch):
    asked = []

    def load(uri):
        asked.append(uri)
        return {k: v + 1 for k, v in encoder.state_dict().items()}

    monkeypatch.setattr(vgg, "load_vgg16_state_dict", load)
    cfg = tiny_config("MODEL.VGG.ALLOW_RANDOM", "False", "MODEL.VGG.WEIGHTS", "some/file.pt")
    built = build_backbone(cfg)
    assert asked == ["some/file.pt"] and isinstance(built, VGG16)
    for key, value in built.state_dict().items():
        assert torch.equal(value, encoder.state_dict()[key] + 1)
