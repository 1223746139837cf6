import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone
from network_data import tiny_config, tiny_model
from torchvision.models.vgg import cfgs, make_layers

from cosal_d2.modeling import build_cosal_vgg16_backbone
from cosal_d2.modeling.backbone import vgg_weights

STRIDES = {"conv1_2": 1, "conv2_2": 2, "conv3_3": 4, "conv4_3": 8, "conv5_3": 16}
CHANNELS = {"conv1_2": 64, "conv2_2": 128, "conv3_3": 256, "conv4_3": 512, "conv5_3": 512}
# The layers of torchvision's VGG-16 whose outputs are features.
INDICES = {3: "conv1_2", 8: "conv2_2", 15: "conv3_3", 22: "conv4_3", 29: "conv5_3"}


def encoder(*opts):
    return build_backbone(tiny_config(*opts))


def test_it_is_torchvisions_vgg16_layer_by_layer():
    reference, own = make_layers(cfgs["D"]), encoder()
    state = {k.removeprefix("features."): v for k, v in own.state_dict().items()}
    reference.load_state_dict(state)
    shapes = own.output_shape()
    assert {k: v.stride for k, v in shapes.items()} == STRIDES
    assert {k: v.channels for k, v in shapes.items()} == CHANNELS
    assert own.size_divisibility == 16
    x = torch.randn(1, 3, 32, 48) * 50
    with torch.no_grad():
        out = own(x)
        for index, layer in enumerate(reference):
            x = layer(x)
            if name := INDICES.get(index):
                torch.testing.assert_close(out.pop(name), x, rtol=1e-4, atol=1e-3)
    assert not out


@pytest.mark.parametrize("freeze_at", [0, 2, 5])
def test_the_first_blocks_do_not_learn(freeze_at):
    own = encoder("MODEL.BACKBONE.FREEZE_AT", str(freeze_at))
    frozen = [k for k, p in own.named_parameters() if not p.requires_grad]
    assert frozen == list(own.state_dict())[: {0: 0, 2: 8, 5: 26}[freeze_at]]


def test_other_than_three_channels_are_refused():
    with pytest.raises(ValueError, match="3 channels, but MODEL.PIXEL_MEAN has 4"):
        build_cosal_vgg16_backbone(tiny_config(), ShapeSpec(channels=4))


def test_the_network_starts_from_imagenets_weights(monkeypatch):
    state = encoder().state_dict()
    monkeypatch.setattr(vgg_weights, "load_imagenet", lambda uri: state)
    model = tiny_model("MODEL.BACKBONE.WEIGHTS", "vgg16://imagenet", seed=1)
    assert all(torch.equal(v, state[k]) for k, v in model.backbone.state_dict().items())
    assert model.given_weights == {f"backbone.{k}" for k in state}
