import re

import pytest
import torch
from detectron2.modeling import build_model
from network_data import GROUPED, instances, sample, tiny_config, tiny_model

from cosal_d2.config import get_cosal_config

ALL = ["loss_cosal", "loss_rpn_cls", "loss_rpn_loc", "loss_triplet"]
EXTENSION = {"loss_foreground", "loss_mask", "loss_group", "loss_pair"}
LOSSES = [
    (("MODEL.RFM.SAMPLER", "OnlineSampler"), ALL),
    (("MODEL.RFM.SAMPLER", "OfflineSampler"), ["loss_cosal", "loss_triplet"]),
    (("MODEL.RFM.SAMPLER", ""), ["loss_cosal"]),
    (GROUPED, sorted({*ALL, *EXTENSION})),
]


@pytest.fixture(scope="module")
def online():
    return tiny_model()


def refuse(*args, **kwargs):
    raise AssertionError("not a part of prediction")


@pytest.mark.parametrize(("opts", "names"), LOSSES)
def test_losses_are_those_of_the_parts_and_train_every_parameter(storage, opts, names):
    model = tiny_model(*opts)
    losses = model([sample()])
    assert sorted(losses) == names
    assert all(v.dtype == torch.float32 and v.item() > 0 for v in losses.values())
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("backbone."), name
    assert (model.proposal_generator is None) == ("loss_rpn_cls" not in names)
    # Without grouping it is the paper's network, which has no such parameter.
    extension = any(n.startswith("grouping.") for n in model.state_dict())
    assert (model.grouping is not None) == extension == (opts is GROUPED)


def test_without_block_and_branch_the_decoder_takes_the_encoders_last_feature(storage):
    off = ["MODEL.FEATURE_SENSITIVE.ENABLED", "False", "MODEL.RFM.SAMPLER", ""]
    model = tiny_model(*off)
    assert model.feature_sensitive is None
    assert list(model([sample()])) == ["loss_cosal"]
    model.eval()
    images = model.preprocess([sample()["image"]])
    _, r = model.features(images)
    assert torch.equal(r, model.backbone(images.tensor)["conv5_3"])
    with pytest.raises(ValueError, match="MODEL.RFM.SAMPLER needs the feature-sensitive block"):
        get_cosal_config("cosal_vgg16_cpu.yaml", off[:2])


@pytest.mark.parametrize("size", [(64, 64), (37, 23), (16, 50)])
def test_prediction_runs_only_encoder_block_and_decoder(online, monkeypatch, size):
    online.eval()
    monkeypatch.setattr(online.proposal_generator, "forward", refuse)
    monkeypatch.setattr(online.rfm, "forward", refuse)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    with torch.no_grad():
        plain = online([{"image": image}])
        (scaled,) = online([{"image": image, "height": 75, "width": 41}])
    assert [list(x) for x in plain] == [["cosal_map"]]
    assert plain[0]["cosal_map"].shape == size and scaled["cosal_map"].shape == (75, 41)
    for cosal_map in (plain[0]["cosal_map"], scaled["cosal_map"]):
        assert cosal_map.dtype == torch.float32
        assert 0 <= cosal_map.min() <= cosal_map.max() <= 1


def test_map_is_the_sigmoid_of_the_unpadded_logits(online):
    online.eval()
    image = torch.randint(0, 256, (3, 37, 23), dtype=torch.uint8)
    images = online.preprocess([image])
    assert images.tensor.shape == (1, 3, 48, 32) and bool((images.tensor[:, :, 37:] == 0).all())
    mean = torch.tensor([103.939, 116.779, 123.68])[:, None, None]
    torch.testing.assert_close(images.tensor[0, :, :37, :23], image - mean)
    with torch.no_grad():
        logits = online.predict(images)
        (out,) = online([{"image": image, "height": 37, "width": 23}])
    assert torch.equal(out["cosal_map"], logits[0, 0, :37, :23].sigmoid())


def test_a_step_is_a_function_of_its_seeds_and_leaves_torchs_generator_alone(storage, online):
    online.train()
    results = []
    for global_seed, seed in ((1, 5), (2, 5), (3, 6)):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        losses = online([sample(seed=4) | {"seed": seed}])
        assert torch.equal(torch.get_rng_state(), before)
        results.append({k: v.item() for k, v in losses.items()})
    assert results[0] == results[1]
    assert results[0]["loss_triplet"] != results[2]["loss_triplet"]
    assert results[0]["loss_cosal"] != results[2]["loss_cosal"]


def test_losses_without_gradients_stay_without(storage, online):
    online.train()
    with torch.no_grad():
        losses = online([sample()])
    assert sorted(losses) == ALL and not any(v.requires_grad for v in losses.values())


def test_a_picture_in_which_nothing_repeats_trains(storage, online):
    online.train().zero_grad()
    empty = sample(boxes=())
    losses = online([empty])
    assert sorted(losses) == ALL
    assert losses["loss_triplet"].item() == 0 and losses["loss_rpn_loc"].item() == 0
    sum(losses.values()).backward()
    for name, parameter in online.named_parameters():
        if not name.startswith("backbone."):
            assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name
    only_distractors = sample(cosalient=[False, False])
    assert only_distractors["sem_seg"].sum() == 0
    assert online([only_distractors])["loss_triplet"].item() == 0


def test_padding_of_a_mixed_batch_is_left_out_of_the_map_loss(storage, online, monkeypatch):
    online.train()
    seen = {}
    original = type(online.decoder).losses

    def spy(logits, targets):
        seen.update(targets=targets, logits=logits)
        return original(online.decoder, logits, targets)

    monkeypatch.setattr(online.decoder, "losses", spy)
    small, large = sample((40, 30), [(2, 2, 20, 20)]), sample((64, 48), [(8, 8, 40, 40)])
    online([small, large])
    assert seen["logits"].shape == (2, 1, 64, 48) and seen["targets"].shape == (2, 64, 48)
    assert torch.equal(seen["targets"][0, :40, :30], small["sem_seg"])
    assert bool((seen["targets"][0, 40:] == 255).all())
    assert bool((seen["targets"][0, :, 30:] == 255).all())
    assert torch.equal(seen["targets"][1], large["sem_seg"])


@pytest.mark.parametrize("as_objects", [False, True])
def test_distractors_are_background_or_objects_for_the_rpn(online, monkeypatch, as_objects):
    monkeypatch.setattr(online, "distractors_as_objects", as_objects)
    targets = instances((64, 64), [(0, 0, 9, 9), (20, 20, 40, 40)], [False, True])
    boxes = online._rpn_targets(targets).gt_boxes.tensor.tolist()
    assert boxes == ([[0, 0, 9, 9]] if as_objects else []) + [[20, 20, 40, 40]]


def test_three_weights_scale_the_three_losses(storage):
    opts = ["MODEL.DECODER.LOSS_WEIGHT", "MODEL.RPN.LOSS_WEIGHT", "MODEL.RFM.LOSS_WEIGHT"]
    once = tiny_model()([sample()])
    pairs = [x for pair in zip(opts, ("2.0", "3.0", "4.0"), strict=True) for x in pair]
    weighed = tiny_model(*pairs)([sample()])
    factors = {k: (weighed[k] / once[k]).item() for k in once}
    assert factors == pytest.approx(
        {"loss_cosal": 2, "loss_rpn_cls": 3, "loss_rpn_loc": 3, "loss_triplet": 4}, rel=1e-4
    )


def test_bfloat16_autocast_on_a_cpu_trains_and_predicts(storage, online, monkeypatch):
    monkeypatch.setattr(online, "dtype", torch.bfloat16)
    online.train().zero_grad()
    item = sample((32, 32), [(2, 2, 14, 14), (16, 16, 30, 30)])
    losses = online([item])
    assert sorted(losses) == ALL
    assert all(v.dtype == torch.float32 and bool(v.isfinite()) for v in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in online.parameters() if p.requires_grad)
    online.eval()
    (out,) = online([{"image": item["image"], "height": 21, "width": 45}])
    assert out["cosal_map"].dtype == torch.float32 and out["cosal_map"].shape == (21, 45)
    assert 0 <= out["cosal_map"].min() <= out["cosal_map"].max() <= 1


def test_an_unknown_sampler_names_the_known_ones():
    with pytest.raises(KeyError, match=re.escape("OtherSampler")):
        build_model(tiny_config("MODEL.RFM.SAMPLER", "OtherSampler"))


def test_a_config_made_by_hand_is_checked_too():
    cfg = tiny_config()
    cfg.MODEL.FEATURE_SENSITIVE.ENABLED = False
    with pytest.raises(ValueError, match="SAMPLER needs the feature-sensitive block"):
        build_model(cfg)
