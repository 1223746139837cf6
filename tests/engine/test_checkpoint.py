import json
import logging
import pickle

import pytest
import torch
from detectron2.utils.file_io import PathManager
from network_data import GROUPED, tiny_config, tiny_model

from cosal_d2.engine import CoSaliencyCheckpointer, checkpoint, released_weights
from cosal_d2.engine.checkpoint import save_atomically, trainable_state_dict

OFF = ("MODEL.RFM.SAMPLER", "")


@pytest.fixture(scope="module")
def model():
    return tiny_model(*OFF)


@pytest.fixture(scope="module")
def other():
    return tiny_model(*OFF, seed=1)


@pytest.fixture
def saved(model, tmp_path):
    CoSaliencyCheckpointer(model, str(tmp_path)).save("model", note="plain", iteration=7)
    return tmp_path / "model.pth"


def test_a_checkpoint_holds_no_encoder_and_only_plain_types(model, saved):
    content = torch.load(saved, weights_only=True)
    assert (content["note"], content["iteration"]) == ("plain", 7)
    assert content["model"].keys() == trainable_state_dict(model).keys()
    assert content["model"] and not any(k.startswith("backbone") for k in content["model"])
    frozen = {k for k in model.state_dict() if k.startswith("backbone.")}
    assert content["model"].keys() | frozen == model.state_dict().keys()
    assert (saved.parent / "last_checkpoint").read_text() == "model.pth"
    assert sorted(p.name for p in saved.parent.iterdir()) == ["last_checkpoint", "model.pth"]


def test_it_loads_without_a_warning_and_leaves_the_encoder_alone(model, other, saved, caplog):
    encoder = {k: v.clone() for k, v in other.backbone.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        extra = CoSaliencyCheckpointer(other).load(str(saved))
    assert not caplog.records
    assert extra["note"] == "plain"
    for key, value in trainable_state_dict(model).items():
        assert torch.equal(other.state_dict()[key], value), key
    for key, value in other.backbone.state_dict().items():
        assert torch.equal(value, encoder[key])


def test_weights_of_another_shape_are_refused_and_the_next_load_works(other, saved):
    content = torch.load(saved, weights_only=True)
    content["model"]["decoder.predictor.weight"] = torch.zeros(1, 3, 1, 1)
    bad = saved.with_name("bad.pth")
    torch.save(content, bad)
    checkpointer = CoSaliencyCheckpointer(other)
    with pytest.raises(ValueError, match=r"predictor.weight is \(1, 3, 1, 1\) in the file"):
        checkpointer.load(str(bad))
    assert checkpointer.load(str(saved))["note"] == "plain"


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("code from a file was run",))


@pytest.mark.parametrize("name", ["evil.pth", "evil.pkl", "evil.pyth"])
def test_code_in_a_file_is_not_run(other, tmp_path, name):
    path = tmp_path / name
    if name == "evil.pth":
        torch.save({"model": Trap()}, path)
    else:
        path.write_bytes(pickle.dumps({"model": Trap(), "__author__": "x"}))
    with pytest.raises(ValueError, match=name):
        CoSaliencyCheckpointer(other).load(str(path))


def test_what_is_no_checkpoint_or_not_there_is_named(other, tmp_path):
    path = tmp_path / "notes.pth"
    path.write_text("nothing")
    with pytest.raises(ValueError, match="notes.pth is not a checkpoint of plain types"):
        CoSaliencyCheckpointer(other).load(str(path))
    with pytest.raises(FileNotFoundError, match="no weights at .*gone.pth: set MODEL.WEIGHTS"):
        CoSaliencyCheckpointer(other).load(str(tmp_path / "gone.pth"))
    assert CoSaliencyCheckpointer(other).load("") == {}


def test_a_failing_save_leaves_the_old_file_as_it_was(saved, monkeypatch):
    before = saved.read_bytes()

    def fail(data, f):
        f.write(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_atomically({"model": {}}, str(saved))
    assert saved.read_bytes() == before
    assert sorted(p.name for p in saved.parent.iterdir()) == ["last_checkpoint", "model.pth"]


def test_a_process_that_must_not_write_does_not(model, tmp_path):
    CoSaliencyCheckpointer(model, str(tmp_path), save_to_disk=False).save("model")
    assert not list(tmp_path.iterdir())


def test_released_weights_are_those_of_the_config():
    assert released_weights(tiny_config("MODEL.WEIGHTS", "a.pth")) == "a.pth"
    assert released_weights(tiny_config("MODEL.RELEASED", "b.pth")) == "cosal://b.pth"
    with pytest.raises(ValueError, match="MODEL.WEIGHTS is empty.*MODEL.RELEASED"):
        released_weights(tiny_config("MODEL.RELEASED", ""))


@pytest.fixture
def released(saved, monkeypatch):
    """A folder of released files with one in it."""
    digest = checkpoint.hashlib.sha256(saved.read_bytes()).hexdigest()
    known = {"model.pth": {"sha256": digest}, "gone.pth": {"sha256": digest}}
    (saved.parent / "released.json").write_text(json.dumps(known))
    monkeypatch.setattr(checkpoint, "RELEASED_FOLDER", str(saved.parent))
    return saved


def test_a_released_file_is_found_by_name(other, released):
    assert PathManager.get_local_path("cosal://model.pth") == str(released)
    assert PathManager.isfile("cosal://model.pth") and PathManager.exists("cosal://model.pth")
    with PathManager.open("cosal://model.pth", "rb") as f:
        assert f.read() == released.read_bytes()
    assert CoSaliencyCheckpointer(other).load("cosal://model.pth")["note"] == "plain"


@pytest.mark.parametrize("name", ["unknown.pth", "gone.pth"])
def test_an_unknown_released_name_lists_the_known_ones(other, released, name):
    assert not PathManager.isfile(f"cosal://{name}")
    with pytest.raises(FileNotFoundError, match=f"'{name}'; there are: gone.pth, model.pth"):
        PathManager.get_local_path(f"cosal://{name}")
    with pytest.raises(FileNotFoundError, match=f"cosal://{name}"):
        CoSaliencyCheckpointer(other).load(f"cosal://{name}")


def test_a_damaged_released_file_is_refused(other, released):
    content = bytearray(released.read_bytes())
    content[len(content) // 2] ^= 1
    released.write_bytes(content)
    with pytest.raises(ValueError, match="model.pth is damaged: its sha256 is .*reinstall"):
        CoSaliencyCheckpointer(other).load("cosal://model.pth")


def test_foreign_weights_are_refused(other, tmp_path):
    path = tmp_path / "foreign.pth"
    torch.save({"model": {"foo.weight": torch.ones(1)}}, path)
    with pytest.raises(ValueError, match="do not fit the config: .* others are not in the file"):
        CoSaliencyCheckpointer(other).load(str(path))


@pytest.fixture(scope="module")
def grouped():
    return tiny_model(*GROUPED, seed=2)


@pytest.fixture(scope="module")
def online():
    return tiny_model(seed=3)


@pytest.mark.parametrize(
    ("name", "new"),
    [("model", ("grouping.", "proposal_generator.", "rfm.")), ("online", ("grouping.",))],
)
def test_weights_without_grouping_start_a_grouped_training_only(
    request, grouped, tmp_path, name, new
):
    plain = request.getfixturevalue(name)
    CoSaliencyCheckpointer(plain, str(tmp_path)).save("model")
    state, wanted = trainable_state_dict(plain), set(trainable_state_dict(grouped))
    assert wanted - set(state) == {k for k in wanted if k.startswith(new)}
    assert set(state) < wanted
    checkpointer = CoSaliencyCheckpointer(grouped)
    with pytest.raises(ValueError, match="do not fit the config: .* others are not in the file"):
        checkpointer.load(str(tmp_path / "model.pth"))
    checkpointer.partial = True
    checkpointer.load(str(tmp_path / "model.pth"))
    assert all(torch.equal(grouped.state_dict()[k], v) for k, v in state.items())


def test_weights_of_another_grouping_start_a_training_only(model, grouped, tmp_path):
    state = trainable_state_dict(grouped)
    path = str(tmp_path / "earlier.pth")
    torch.save({"model": state | {"grouping.embedding.project.weight": torch.ones(2)}}, path)
    checkpointer = CoSaliencyCheckpointer(grouped)
    with pytest.raises(ValueError, match="project.weight and 0 others.* earlier form"):
        checkpointer.load(path)
    checkpointer.partial = True
    checkpointer.load(path)
    # A network without the grouping has no use for any of it.
    CoSaliencyCheckpointer(model).load(path)
    assert torch.equal(model.decoder.predictor.weight, grouped.decoder.predictor.weight)


def test_foreign_weights_are_refused_even_as_a_start(model, tmp_path):
    path = str(tmp_path / "foreign.pth")
    torch.save({"model": {"classifier.weight": torch.zeros(3)}}, path)
    checkpointer = CoSaliencyCheckpointer(model)
    checkpointer.partial = True
    with pytest.raises(ValueError, match="nothing of this network: set MODEL.WEIGHTS"):
        checkpointer.load(path)


def test_what_stays_frozen_beside_the_grouping_has_to_be_in_the_weights(online, model, tmp_path):
    alone = tiny_model(*GROUPED, "MODEL.GROUPING.TRAIN_ALONE", "True")
    checkpointer = CoSaliencyCheckpointer(alone)
    checkpointer.partial = True
    for name, network in (("online", online), ("plain", model)):
        CoSaliencyCheckpointer(network, str(tmp_path)).save(name)
    checkpointer.load(str(tmp_path / "online.pth"))
    assert torch.equal(alone.decoder.predictor.weight, online.decoder.predictor.weight)
    with pytest.raises(ValueError, match="do not fit the config: proposal_generator"):
        checkpointer.load(str(tmp_path / "plain.pth"))


def test_only_the_grouping_needs_the_branch_at_test_time(grouped, online, tmp_path):
    path = str(tmp_path / "lacking.pth")

    def load(network, *parts):
        state = trainable_state_dict(network)
        torch.save({"model": {k: v for k, v in state.items() if not k.startswith(parts)}}, path)
        CoSaliencyCheckpointer(network).load(path)

    for part in ("proposal_generator.", "grouping."):
        with pytest.raises(ValueError, match=f"do not fit the config: {part}"):
            load(grouped, part)
    load(grouped, "rfm.")
    load(online, "rfm.", "proposal_generator.")
