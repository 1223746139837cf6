"""What the wiring of the network adds to the checks of ``base``."""

import copy
from operator import attrgetter

import pytest
import torch
from detectron2.modeling import build_model
from network_data import GROUPED, sample, tiny_config, tiny_model

from cosal_d2.modeling.decoder import COSAL_DECODER_REGISTRY, MapDecoder

NO_BRANCH = ["MODEL.FEATURE_SENSITIVE.ENABLED", "False", "MODEL.RFM.SAMPLER", ""]


@pytest.fixture(scope="module")
def online():
    return tiny_model()


def test_a_network_has_the_parts_that_its_config_names(online):
    names = {name for name, _ in online.named_children()}
    assert names == {"backbone", "feature_sensitive", "decoder", "proposal_generator", "rfm"}
    plain = tiny_model(*NO_BRANCH)
    assert {name for name, _ in plain.named_children()} == {"backbone", "decoder"}
    images = plain.preprocess([sample()["image"]])
    features, r = plain.features(images)
    assert r is features["conv5_3"]


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("MODEL.BACKBONE.NAME", "build_resnet_backbone"),
        ("MODEL.DECODER.NAME", "UNetDecoder"),
        ("MODEL.RFM.SAMPLER", "OnlineSampler"),
    ],
)
def test_a_part_that_nothing_registers_is_refused_by_key(key, known):
    with pytest.raises(ValueError, match=f"{key} is 'Nope'; use one of .*{known}.* or import"):
        tiny_model(key, "Nope")


def test_prediction_runs_neither_rpn_nor_rfm(online):
    model = copy.deepcopy(online).eval()
    model.proposal_generator = model.rfm = None
    with torch.no_grad():
        assert list(model([sample()])[0]) == ["cosal_map"]


def test_the_map_is_the_sigmoid_of_the_logits_without_the_padding():
    model = tiny_model("MODEL.PIXEL_STD", "[2.0, 4.0, 5.0]").eval()
    image = sample((37, 23), ())["image"]
    images = model.preprocess([image])
    assert images.tensor.shape == (1, 3, 48, 32) and not images.tensor[:, :, 37:].any()
    mean, std = torch.tensor([[103.939, 116.779, 123.68], [2, 4, 5]])[..., None, None]
    torch.testing.assert_close(images.tensor[0, :, :37, :23], (image - mean) / std)
    with torch.no_grad():
        logits, judged = model.predict(images)
        (out,) = model([{"image": image}])
    assert torch.equal(out["cosal_map"], logits[0, 0, :37, :23].sigmoid())
    assert judged == [] and list(out) == ["cosal_map"]


@pytest.mark.parametrize("as_objects", [False, True])
def test_distractors_are_background_or_objects_for_the_rpn(
    storage, online, monkeypatch, as_objects
):
    monkeypatch.setattr(online, "distractors_as_objects", as_objects)
    both, first = sample(cosalient=[True, False]), sample(cosalient=[True, False])
    first["instances"] = first["instances"][:1]
    with torch.no_grad():
        found, expected = online.train()([both]), online([first])
    for name in ("loss_rpn_cls", "loss_rpn_loc"):
        assert (found[name] == expected[name]) == (not as_objects)


def test_weights_scale_the_losses(storage):
    parts = {"DECODER": 2, "RPN": 3, "RFM": 4, "GROUPING": 5}
    opts = [x for k, v in parts.items() for x in (f"MODEL.{k}.LOSS_WEIGHT", f"{v}.0")]
    with torch.no_grad():
        once = tiny_model(*GROUPED)([sample()])
        weighed = tiny_model(*GROUPED, *opts)([sample()])
    factors = {k: (weighed[k] / once[k]).item() for k in once}
    expected = {"loss_cosal": 2, "loss_foreground": 2, "loss_rpn_cls": 3, "loss_rpn_loc": 3}
    expected |= {"loss_triplet": 4, "loss_group": 5, "loss_pair": 5, "loss_mask": 1}
    expected |= {"loss_repeats": 5}
    assert factors == pytest.approx(expected, rel=1e-4)


def test_weak_masks_weigh_less_in_the_maps_losses_alone(storage):
    model = tiny_model(*GROUPED, "MODEL.DECODER.WEAK_MASK_WEIGHT", "0.25")
    with torch.no_grad():
        exact, weak = model([sample()]), model([sample() | {"weak_masks": True}])
    for name, loss in exact.items():
        factor = 0.25 if name in ("loss_cosal", "loss_foreground") else 1
        assert weak[name].item() == pytest.approx(factor * loss.item(), rel=1e-5), name


def test_the_levels_that_are_compared_may_differ_from_those_of_the_masks():
    key = "MODEL.GROUPING.COMPARED_LEVELS"
    grouping = tiny_model(*GROUPED, key, "('conv5_3',)").grouping
    assert grouping.embedding.levels == ("conv5_3",)
    assert grouping.masks.levels == ("conv3_3", "conv4_3", "conv5_3")
    with pytest.raises(ValueError, match=f"{key} names 'res4'; the encoder has .*conv5_3"):
        tiny_model(*GROUPED, key, "('res4',)")


def test_the_keys_reach_the_network():
    keys = {
        "DECODER.DROPOUT": ("decoder.dropout.p", 0.25),
        "DECODER.IOU_LOSS_WEIGHT": ("decoder.iou_loss_weight", 0.5),
        "DECODER.WEAK_MASK_WEIGHT": ("decoder.weak_mask_weight", 0.5),
        "RFM.EMBEDDING_DIM": ("rfm.head.embed.out_features", 9),
        "RFM.MARGIN": ("rfm.margin", 0.3),
        "RFM.NORMALIZE": ("rfm.head.normalize", False),
        "RFM.NUM_TRIPLETS": ("rfm.sampler.num_triplets", 7),
        "RFM.REDUCED_CHANNELS": ("rfm.head.reduce.out_channels", 3),
        "GROUPING.NUM_REGIONS": ("grouping.num_regions", 7),
        "GROUPING.NMS_THRESH": ("grouping.nms_thresh", 0.55),
        "GROUPING.SAME_OBJECT_SHARE": ("grouping.same_object_share", 0.45),
        "GROUPING.SHARPNESS": ("grouping.sharpness", 3.5),
        "GROUPING.THRESHOLD": ("grouping.threshold", 0.25),
        "GROUPING.FOREGROUND_SHARPNESS": ("grouping.foreground_sharpness", 2.5),
        "GROUPING.REPEATS_THRESHOLD": ("grouping.repeats_threshold", 0.4),
    }
    opts = [x for key, (_, value) in keys.items() for x in (f"MODEL.{key}", str(value))]
    model = tiny_model(*GROUPED, *opts)
    for key, (name, value) in keys.items():
        assert attrgetter(name)(model) == value, key


class ThreeOutputs(MapDecoder):
    """Shifted means of the network's input, at stride 4."""

    def __init__(self, cfg, r_shape, skip_shapes):
        super().__init__(output_weights=(1.0, 2.0, 4.0))
        self.stride, self.skips = 4, ()
        self.shifts = torch.nn.Parameter(torch.tensor([-1.0, 0.5, 2.0]).view(1, 3, 1, 1))

    def forward(self, r, skips):
        self.image = skips["image"]
        logits = torch.nn.functional.avg_pool2d(self.image, 4).mean(1, keepdim=True) + self.shifts
        return logits if self.training else logits[:, -1:]


@pytest.mark.parametrize("grouping", [[], GROUPED])
def test_a_decoder_sees_the_input_and_trains_several_outputs(storage, monkeypatch, grouping):
    monkeypatch.setitem(COSAL_DECODER_REGISTRY._obj_map, "ThreeOutputs", ThreeOutputs)
    opts = ["MODEL.DECODER.NAME", "ThreeOutputs", "MODEL.PIXEL_STD", "[99.0, 99.0, 99.0]"]
    model, item = tiny_model(*opts, *grouping), sample()
    losses = model([item])
    images = model.preprocess([item["image"]]).tensor
    assert torch.equal(model.decoder.image, images)
    mean = torch.nn.functional.avg_pool2d(images, 4).mean(1, keepdim=True)
    mean = torch.nn.functional.interpolate(mean, scale_factor=4, mode="bilinear")[0]
    truth = item["sem_seg"].float()[None]
    each = [
        torch.nn.functional.binary_cross_entropy_with_logits(mean + shift, truth).item()
        for shift in (-1.0, 0.5, 2.0)
    ]
    name = "loss_foreground" if grouping else "loss_cosal"
    assert losses[name].item() == pytest.approx(each[0] + 2 * each[1] + 4 * each[2], rel=1e-5)
    assert all(bool(loss.isfinite()) for loss in losses.values())
    with torch.no_grad():
        (out,) = model.eval()([item])
    assert out["cosal_map"].shape == (64, 64)
    if not grouping:
        torch.testing.assert_close(out["cosal_map"], (mean[0] + 2.0).sigmoid())


def test_a_config_that_was_changed_is_checked_again():
    cfg = tiny_config()
    cfg.MODEL.FEATURE_SENSITIVE.ENABLED = False
    with pytest.raises(ValueError, match="SAMPLER needs the feature-sensitive block"):
        build_model(cfg)
