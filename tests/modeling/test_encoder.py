import hashlib
import json
import os
import pickle
import re

import numpy as np
import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone
from network_data import tiny_config, tiny_model
from safetensors.torch import save_file

from cosal_d2.modeling.backbone.encoder import (
    EncoderWeightsError,
    finer_features,
    load_encoder,
    region_features,
    top_feature,
)


def shapes(**strides):
    return {name: ShapeSpec(channels=4, stride=stride) for name, stride in strides.items()}


def test_features_are_chosen_by_their_strides():
    fpn = shapes(p6=64, p2=4, p4=16, p3=8, p5=32)
    assert top_feature(fpn) == "p4"
    assert finer_features(fpn) == ("p3", "p2") and region_features(fpn) == ("p2", "p3", "p4")
    vgg = shapes(a=1, b=2, c=4, d=8, e=16)
    assert top_feature(vgg) == "e"
    assert finer_features(vgg) == tuple("dcba") and region_features(vgg) == tuple("cde")
    with pytest.raises(ValueError, match=r"gives \['res5'\], none at a stride of 16"):
        top_feature(shapes(res5=32))


def encoder(name="build_resnet_backbone", freeze_at=5, seed=0):
    """Stem and first stage of a ResNet-50; its batch norms have seen something."""
    opts = ["MODEL.BACKBONE.NAME", name, "MODEL.BACKBONE.FREEZE_AT", str(freeze_at)]
    opts += ["MODEL.RESNETS.OUT_FEATURES", "['res2']", "MODEL.FPN.IN_FEATURES", "['res2']"]
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        built = build_backbone(tiny_config(*opts))
        for key, value in built.state_dict().items():
            if ".norm." in key:
                value.add_(torch.rand(value.shape))
    return built


STATE = {k: v.numpy() for k, v in encoder(seed=1).state_dict().items()}


def caffe_names(state):
    """As Detectron2's own R-50.pkl: no running statistics, and names of 2017."""
    renamed = {}
    for key, value in state.items():
        if "running" not in key:
            key = key.replace("stem.conv1.norm", "res_conv1_bn").replace("stem.", "")
            key = key.replace("shortcut", "branch1").replace("norm", "bn").replace(".", "_")
            key = re.sub(r"(?<=_)conv(\d)", lambda m: "branch2" + "abc"[int(m[1]) - 1], key)
            key = key.replace("res_branch2a", "res_conv1")
            renamed[key.replace("weight", "w").replace("bn_w", "bn_s").replace("bias", "b")] = value
    return renamed | {"fc1000_w": np.zeros((2, 2), np.float32)}


def write(path, content):
    if path.suffix == ".npz":
        np.savez(path, **content)
    elif path.suffix == ".safetensors":
        save_file({k: torch.from_numpy(v) for k, v in content.items()}, path)
    elif path.suffix == ".pth":
        torch.save({k: torch.from_numpy(v) for k, v in content.items()}, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=5 if path.stem == "zoo" else 2))
    return str(path)


@pytest.mark.parametrize("name", ["own.npz", "own.pth", "own.safetensors", "zoo.pkl", "caffe.pkl"])
def test_weights_are_loaded_from_each_kind_of_file(tmp_path, name):
    content = STATE
    if name == "zoo.pkl":
        content = {"model": content, "__author__": "someone", "matching_heuristics": True}
    elif name == "caffe.pkl":
        content = caffe_names(content)
    built = encoder()
    before = {k: v.clone() for k, v in built.state_dict().items()}
    given = load_encoder(built, write(tmp_path / name, content), name.endswith(".pkl"))
    for key, value in built.state_dict().items():
        old = name == "caffe.pkl" and "running" in key
        assert torch.equal(value, before[key] if old else torch.from_numpy(STATE[key])), key
    assert given == set(before)


@pytest.mark.parametrize("freeze_at", [0, 1, 2])
def test_given_is_what_does_not_learn(tmp_path, freeze_at):
    built = encoder(freeze_at=freeze_at)
    given = load_encoder(built, write(tmp_path / "own.npz", STATE))
    stages = ("stem.", "res2.")[:freeze_at]
    assert given == {k for k in built.state_dict() if k.startswith(stages) or ".norm." in k}
    assert load_encoder(built, "") == set()


def test_a_feature_pyramid_takes_a_plain_encoders_file(tmp_path):
    built = encoder("build_resnet_fpn_backbone")
    given = load_encoder(built, write(tmp_path / "own.npz", STATE))
    assert given == {f"bottom_up.{k}" for k in STATE}
    assert torch.equal(
        built.bottom_up.stem.conv1.weight, torch.from_numpy(STATE["stem.conv1.weight"])
    )


def test_a_released_network_gives_its_encoder(tmp_path, monkeypatch):
    network = {f"backbone.{k}": torch.from_numpy(v).half() for k, v in STATE.items()}
    network["decoder.stem.conv1.weight"] = torch.zeros_like(network["backbone.stem.conv1.weight"])
    torch.save({"model": network}, tmp_path / "whole.pth")
    digest = hashlib.sha256((tmp_path / "whole.pth").read_bytes()).hexdigest()
    (tmp_path / "released.json").write_text(json.dumps({"whole.pth": {"sha256": digest}}))
    monkeypatch.setattr("cosal_d2.modeling.backbone.released.RELEASED_FOLDER", str(tmp_path))
    built = encoder()
    assert load_encoder(built, "cosal://whole.pth") == set(STATE)
    for key, value in built.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, torch.from_numpy(STATE[key]).half().float()), key


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harmful.was.run",)


def lacking(*prefixes):
    return {k: v for k, v in STATE.items() if not k.startswith(prefixes)}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("evil.pkl", {"stem.conv1.weight": Harmful()}, "names posix.mkdir; only numpy arrays"),
        ("less.npz", lacking("stem.conv1.w"), "lacks stem.conv1.weight and 0 others .*FREEZE_AT"),
        ("other.npz", {"classifier": np.zeros(2)}, "nothing of this encoder"),
        ("shape.npz", STATE | {"stem.conv1.weight": np.zeros(3)}, "size mismatch for stem.conv1"),
    ],
)
def test_a_file_that_does_not_serve_is_refused(tmp_path, monkeypatch, name, content, reason):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        EncoderWeightsError, match=f"(?s)MODEL.BACKBONE.WEIGHTS: .*{name}.*{reason}"
    ):
        load_encoder(encoder(), write(tmp_path / name, content), allow_pickle=True)
    assert not (tmp_path / "harmful.was.run").exists()
    with pytest.raises(EncoderWeightsError, match="gone.pth"):
        load_encoder(encoder(), str(tmp_path / "gone.pth"))


@pytest.mark.parametrize("name", ["arrays.pkl", "arrays.PKL", "arrays.pickle"])
def test_a_pickle_is_loaded_only_where_the_config_allows_it(tmp_path, name):
    path = write(tmp_path / name, {"model": STATE, "__author__": "someone"})
    opts = ["MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.BACKBONE.FREEZE_AT", "5"]
    opts += ["MODEL.RESNETS.OUT_FEATURES", "['res2']", "MODEL.RFM.SAMPLER", ""]
    opts += ["MODEL.DECODER.CHANNELS", "(8,)", "MODEL.DECODER.NUM_CONVS", "(1,)"]
    opts += ["MODEL.DECODER.SKIP_CHANNELS", "(0,)", "MODEL.DECODER.SKIPS", "('',)"]
    opts += ["MODEL.BACKBONE.WEIGHTS", path]
    with pytest.raises(EncoderWeightsError, match="set MODEL.BACKBONE.ALLOW_PICKLE True"):
        tiny_model(*opts)
    allowed = tiny_model(*opts, "MODEL.BACKBONE.ALLOW_PICKLE", "True").backbone
    assert all(torch.equal(v, torch.from_numpy(STATE[k])) for k, v in allowed.state_dict().items())
