"""Checkpoints and released files; ``modeling/test_networks.py`` saves and loads each network."""

import hashlib
import json
import pickle
import resource

import pytest
import torch
from detectron2.utils.file_io import PathManager
from network_data import GROUPED, RESNET, tiny_config, tiny_model
from safetensors.torch import save_file

from cosal_d2.engine import CoSaliencyCheckpointer, released_weights
from cosal_d2.engine.checkpoint import load_network, own_state_dict, weight_names

OFF = ("MODEL.RFM.SAMPLER", "")
DOES_NOT_FIT = "do not fit the config: .* others are not in the file"


@pytest.fixture(scope="module")
def model():
    return tiny_model(*OFF)


@pytest.fixture(scope="module")
def other():
    return tiny_model(*OFF, seed=1)


@pytest.fixture(scope="module")
def online():
    return tiny_model(seed=3)


@pytest.fixture(scope="module")
def grouped():
    return tiny_model(*GROUPED, seed=2)


@pytest.fixture
def saved(model, tmp_path):
    CoSaliencyCheckpointer(model, str(tmp_path)).save("model", note="plain", iteration=7)
    return tmp_path / "model.pth"


def load(network, path, partial=False):
    checkpointer = CoSaliencyCheckpointer(network)
    checkpointer.partial = partial
    return checkpointer.load(str(path))


def test_a_checkpoint_holds_weights_and_plain_types(model, saved):
    content = torch.load(saved, weights_only=True)
    assert (content["note"], content["iteration"]) == ("plain", 7)
    assert content["model"].keys() == own_state_dict(model).keys()
    assert (saved.parent / "last_checkpoint").read_text() == "model.pth"
    assert sorted(p.name for p in saved.parent.iterdir()) == ["last_checkpoint", "model.pth"]


def test_safetensors_are_weights_too(model, other, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({k: v.contiguous() for k, v in own_state_dict(model).items()}, path)
    load(other, path)
    state = model.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in other.state_dict().items())
    assert weight_names(str(path)) == set(state)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="model.safetensors is not a checkpoint of plain types"):
        load(other, path)


def test_a_full_disk_leaves_the_old_file_and_names_path_and_bytes(model, saved):
    before = saved.read_bytes()
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, former[1]))
    try:
        with pytest.raises(
            OSError, match=r"File too large; [\d,]+ bytes are needed: '.*model.pth'"
        ):
            CoSaliencyCheckpointer(model, str(saved.parent)).save("model", note="more")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert saved.read_bytes() == before
    assert sorted(p.name for p in saved.parent.iterdir()) == ["last_checkpoint", "model.pth"]


def test_a_process_that_must_not_write_does_not(model, tmp_path):
    CoSaliencyCheckpointer(model, str(tmp_path), save_to_disk=False).save("model")
    assert not list(tmp_path.iterdir())


def test_weights_of_another_shape_are_refused_and_the_next_load_works(other, saved):
    content = torch.load(saved, weights_only=True)
    content["model"]["decoder.predictor.weight"] = torch.zeros(1, 3, 1, 1)
    torch.save(content, saved.with_name("bad.pth"))
    checkpointer = CoSaliencyCheckpointer(other)
    with pytest.raises(ValueError, match=r"predictor.weight is \(1, 3, 1, 1\) in the file"):
        checkpointer.load(str(saved.with_name("bad.pth")))
    assert checkpointer.load(str(saved))["note"] == "plain"


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("code from a file was run",))


@pytest.mark.parametrize(
    "name", ["evil.pth", "evil.pkl", "evil.PKL", "evil.pyth", "notes.pth", "notes.safetensors"]
)
def test_what_is_no_checkpoint_of_plain_types_is_refused(other, tmp_path, name):
    path = tmp_path / name
    if name == "evil.pth":
        torch.save({"model": Trap()}, path)
    elif path.stem == "notes":
        path.write_text("nothing")
    else:
        path.write_bytes(pickle.dumps({"model": Trap(), "__author__": "x"}))
    with pytest.raises(ValueError, match=name):
        load(other, path)


@pytest.mark.parametrize(("partial", "message"), [(False, DOES_NOT_FIT), (True, "MODEL.WEIGHTS")])
def test_missing_and_foreign_weights_are_refused(other, tmp_path, partial, message):
    torch.save({"model": {"foo.weight": torch.ones(1)}}, tmp_path / "foreign.pth")
    with pytest.raises(ValueError, match=message):
        load(other, tmp_path / "foreign.pth", partial)
    with pytest.raises(FileNotFoundError, match="no weights at .*gone.pth: set MODEL.WEIGHTS"):
        load(other, tmp_path / "gone.pth", partial)
    assert load(other, "", partial) == {}


def test_weights_of_another_grouping_start_a_training_only(model, grouped, tmp_path):
    state = own_state_dict(grouped) | {"grouping.embedding.project.weight": torch.ones(2)}
    torch.save({"model": state}, tmp_path / "earlier.pth")
    with pytest.raises(ValueError, match="project.weight and 0 others.* earlier form"):
        load(grouped, tmp_path / "earlier.pth")
    load(grouped, tmp_path / "earlier.pth", partial=True)
    # A network without the grouping has no use for any of it.
    load(model, tmp_path / "earlier.pth")
    assert torch.equal(model.decoder.predictor.weight, grouped.decoder.predictor.weight)


def test_only_the_grouping_needs_the_branch_at_test_time(grouped, online, tmp_path):
    def load_without(network, *parts):
        state = own_state_dict(network)
        state = {k: v for k, v in state.items() if not k.startswith(parts)}
        torch.save({"model": state}, tmp_path / "lacking.pth")
        load(network, tmp_path / "lacking.pth")

    for part in ("proposal_generator.", "grouping."):
        with pytest.raises(ValueError, match=f"do not fit the config: {part}"):
            load_without(grouped, part)
    load_without(grouped, "rfm.")
    load_without(online, "rfm.", "proposal_generator.")


def test_a_file_with_the_encoder_needs_no_other(model, saved, tmp_path):
    found = load_network(
        tiny_config(*OFF, "MODEL.WEIGHTS", str(saved), "MODEL.BACKBONE.WEIGHTS", "gone.pth")
    )
    assert not found.training
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in found.state_dict().items())
    decoder = {k: v for k, v in model.state_dict().items() if not k.startswith("backbone.")}
    torch.save({"model": decoder}, tmp_path / "decoder.pth")
    with pytest.raises(ValueError, match="do not fit .*or set MODEL.BACKBONE.WEIGHTS"):
        load_network(tiny_config(*OFF, "MODEL.WEIGHTS", str(tmp_path / "decoder.pth")))


def test_a_file_with_what_an_encoder_learned_needs_the_rest(tmp_path):
    torch.save(tiny_model(*RESNET, seed=1).backbone.state_dict(), tmp_path / "encoder.pth")
    opts = [*OFF, *RESNET, "MODEL.BACKBONE.FREEZE_AT", "2"]
    given = [*opts, "MODEL.BACKBONE.WEIGHTS", str(tmp_path / "encoder.pth")]
    model = tiny_model(*given)
    model.backbone.res4[0].conv1.weight.data += 1
    CoSaliencyCheckpointer(model, str(tmp_path)).save("model")
    weights = ["MODEL.WEIGHTS", str(tmp_path / "model.pth")]
    found = load_network(tiny_config(*given, *weights))
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in found.state_dict().items())
    assert found.given_weights == model.given_weights
    with pytest.raises(ValueError, match="backbone.stem.* or set MODEL.BACKBONE.WEIGHTS"):
        load_network(tiny_config(*opts, *weights))


def test_released_weights_are_those_of_the_config():
    assert released_weights(tiny_config("MODEL.WEIGHTS", "a.pth")) == "a.pth"
    assert released_weights(tiny_config("MODEL.RELEASED", "b.pth")) == "cosal://b.pth"
    with pytest.raises(ValueError, match="MODEL.WEIGHTS is empty.*MODEL.RELEASED"):
        released_weights(tiny_config("MODEL.RELEASED", ""))


@pytest.fixture
def released(saved, monkeypatch):
    """A folder of released files with one in it."""
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    known = {"model.pth": {"sha256": digest}, "gone.pth": {"sha256": digest}}
    (saved.parent / "released.json").write_text(json.dumps(known))
    folder = "cosal_d2.modeling.backbone.released.RELEASED_FOLDER"
    monkeypatch.setattr(folder, str(saved.parent))
    return saved


def test_a_released_file_is_found_by_name(other, released):
    assert PathManager.get_local_path("cosal://model.pth") == str(released)
    assert PathManager.isfile("cosal://model.pth") and PathManager.exists("cosal://model.pth")
    with PathManager.open("cosal://model.pth", "rb") as f:
        assert f.read() == released.read_bytes()
    assert load(other, "cosal://model.pth")["note"] == "plain"


@pytest.mark.parametrize("name", ["unknown.pth", "gone.pth"])
def test_an_unknown_released_name_lists_the_known_ones(other, released, name):
    assert not PathManager.isfile(f"cosal://{name}")
    with pytest.raises(FileNotFoundError, match=f"'{name}'; there are: gone.pth, model.pth"):
        PathManager.get_local_path(f"cosal://{name}")
    with pytest.raises(FileNotFoundError, match=f"cosal://{name}"):
        load(other, f"cosal://{name}")


def test_a_damaged_released_file_is_refused(other, released):
    content = bytearray(released.read_bytes())
    content[len(content) // 2] ^= 1
    released.write_bytes(content)
    with pytest.raises(ValueError, match="model.pth is damaged: its sha256 is .*reinstall"):
        load(other, "cosal://model.pth")
