"""A released file holds the weights in half precision, and its sha256 is written down."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from network_data import RESNET, tiny_config, tiny_model
from safetensors.torch import load_file

from cosal_d2.engine import CoSaliencyCheckpointer
from cosal_d2.engine import release as module
from cosal_d2.engine.checkpoint import load_network, own_state_dict
from cosal_d2.engine.release import mean_weights, release

OPTIONS = [*RESNET, "MODEL.RFM.SAMPLER", "", "MODEL.RELEASED", "x.safetensors"]


@pytest.fixture
def cfg(tmp_path):
    """Config of a checkpoint beside its encoder's file, with variances as large as ImageNet's."""
    encoder = tmp_path / "encoder.pth"
    state = tiny_model(*OPTIONS, seed=1).backbone.state_dict()
    torch.save({k: 8e4 * v if "running_var" in k else v for k, v in state.items()}, encoder)
    options = [*OPTIONS, "MODEL.BACKBONE.WEIGHTS", str(encoder)]
    CoSaliencyCheckpointer(tiny_model(*options), str(tmp_path)).save("c", iteration=1)
    return tiny_config(*options, "MODEL.WEIGHTS", str(tmp_path / "c.pth"))


@pytest.mark.parametrize("encoder", [False, True])
def test_kernels_in_float16_with_their_digest(cfg, tmp_path, encoder):
    (tmp_path / "released.json").write_text('{"other.pth": {"sha256": "0"}}')
    path = release(cfg, encoder=encoder, folder=str(tmp_path))
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    known = json.loads((tmp_path / "released.json").read_text())
    assert known == {"other.pth": {"sha256": "0"}, "x.safetensors": {"sha256": digest}}
    content = load_file(path)
    model = load_network(cfg)
    expected = model.state_dict() if encoder else own_state_dict(model)
    assert len(own_state_dict(model)) < len(model.state_dict())
    assert content.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(content[key], value.half() if value.dim() > 1 else value)
    cfg.MODEL.WEIGHTS = path
    if encoder:
        cfg.MODEL.BACKBONE.WEIGHTS = str(tmp_path / "gone.pth")
    for key, value in load_network(cfg).state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-3, atol=1e-5)


def test_what_cannot_be_released_is_refused(cfg, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="MODEL.WEIGHTS names the checkpoint.* set both"):
        release(tiny_config(*OPTIONS), folder=str(tmp_path))
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="over 40"):
        release(cfg, folder=str(tmp_path))
    for name in ("x.pth", "../x.safetensors"):
        cfg.MODEL.RELEASED = name
        with pytest.raises(ValueError, match="released files are safetensors: name it x.safeten"):
            release(cfg, folder=str(tmp_path))
    assert not list(tmp_path.glob("x.*")) and not list(tmp_path.parent.glob("x.*"))


def test_the_released_files_are_those_of_the_index():
    folder = Path(module.RELEASED_FOLDER)
    known = json.loads((folder / "released.json").read_text())
    assert set(known) == {p.name for p in folder.iterdir()} - {"released.json"}
    for name, entry in known.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"]
        assert (folder / name).stat().st_size <= module.MAX_BYTES


def test_of_several_checkpoints_the_mean_is_released(tmp_path):
    models = [tiny_model(*OPTIONS, seed=seed).state_dict() for seed in (1, 2, 3)]
    paths = [str(tmp_path / f"{i}.pth") for i in range(3)]
    for model, path in zip(models, paths, strict=True):
        torch.save({"model": model, "iteration": 1}, path)
    mean_weights(paths, tmp_path / "mean.pth")
    mean = torch.load(tmp_path / "mean.pth", weights_only=True)["model"]
    assert mean.keys() == models[0].keys()
    for name, value in mean.items():
        torch.testing.assert_close(value, torch.stack([m[name] for m in models]).mean(0))
    torch.save({"model": {"other": torch.ones(1)}}, paths[1])
    with pytest.raises(ValueError, match=r"1\.pth.* are of different networks"):
        mean_weights(paths, tmp_path / "mean.pth")
