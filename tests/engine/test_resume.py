"""Which checkpoint a training goes on from, and which folders it leaves alone."""

import pytest
import torch
from network_data import tiny_config
from training_data import small_config, train

from cosal_d2.engine import Trainer
from cosal_d2.engine.resume import differences, newest_checkpoint


@pytest.fixture
def trained(dataset, tmp_path):
    """A folder with three checkpoints and a config of it."""
    opts = ["SOLVER.MAX_ITER", "2", "SOLVER.CHECKPOINT_PERIOD", "1", "MODEL.RFM.SAMPLER", ""]
    folder = tmp_path / "output"
    cfg = small_config(dataset, folder, *opts)
    train(cfg)
    return folder, cfg


def damage(path):
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_the_newest_intact_checkpoint_is_taken(trained):
    folder, cfg = trained
    final, second, first = (folder / f"model_{n}.pth" for n in ("final", "0000001", "0000000"))
    assert newest_checkpoint(str(folder)) == str(final)
    tag = folder / "last_checkpoint"
    tag.write_text(first.name)  # the user's choice
    assert newest_checkpoint(str(folder)) == str(first)
    for broken in ("", "gone.pth", "../output/model_final.pth", "model_0000001.pth\0"):
        tag.write_text(broken)
        assert newest_checkpoint(str(folder)) == str(final)
    tag.write_bytes(b"\xff\xfe")
    assert newest_checkpoint(str(folder)) == str(final)
    tag.unlink()
    cut(final)
    assert newest_checkpoint(str(folder)) == str(second)
    final.unlink()
    damage(second)
    assert newest_checkpoint(str(folder)) == str(first)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=True)
    assert trainer.start_iter == 1


def test_where_none_is_intact_nothing_starts_anew(trained):
    folder, cfg = trained
    for path in folder.glob("model_*.pth"):
        cut(path)
    before = {p: p.read_bytes() for p in folder.iterdir()}
    message = "no intact checkpoint to go on from .*model_final.pth is damaged.*move these files"
    with pytest.raises(ValueError, match=message):
        train(cfg)
    assert {p: p.read_bytes() for p in folder.iterdir()} == before
    for path in folder.glob("model_*.pth"):
        path.unlink()
    with pytest.raises(ValueError, match="last_checkpoint: model_final.pth is missing"):
        train(cfg)
    (folder / "last_checkpoint").unlink()
    assert newest_checkpoint(str(folder)) == ""


def test_weights_alone_are_nothing_to_resume(trained):
    folder, cfg = trained
    weights = torch.load(folder / "model_final.pth", weights_only=True)["model"]
    torch.save({"model": weights}, folder / "model_final.pth")
    with pytest.raises(ValueError, match="holds weights alone: to start from them"):
        train(cfg)


def test_another_configs_folder_is_refused_by_the_keys_that_differ(trained, dataset):
    folder, cfg = trained
    before = {p: p.read_bytes() for p in folder.iterdir()}
    opts = ["SOLVER.MAX_ITER", "2", "MODEL.RFM.SAMPLER", "", "SOLVER.OPTIMIZER", "SGD"]
    opts += ["MODEL.DECODER.CHANNELS", "(16, 8)", "MODEL.DECODER.DROPOUT", "0.5"]
    with pytest.raises(ValueError) as refused:
        train(small_config(dataset, folder, *opts))
    words = str(refused.value)
    assert "this folder belongs to another config; keys that differ: " in words
    assert "MODEL.DECODER.CHANNELS is [8, 8] there and [16, 8] here" in words
    assert "SOLVER.OPTIMIZER is 'ADAMW' there and 'SGD' here" in words
    assert "MAX_ITER" not in words and "PERIOD" not in words
    assert {p: p.read_bytes() for p in folder.iterdir()} == before
    assert differences(cfg.dump(), tiny_config("TEST.EVAL_PERIOD", "7"))


def test_a_new_training_leaves_a_used_folder_alone(trained):
    folder, cfg = trained
    before = {p: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(ValueError, match="holds an earlier training .*--resume, or give another"):
        train(cfg, resume=False)
    assert {p: p.read_bytes() for p in folder.iterdir()} == before
    for path in folder.glob("*.pth"):
        path.unlink()
    with pytest.raises(ValueError, match="holds an earlier training"):
        train(cfg, resume=False)


def test_cut_off_copies_go_and_other_files_stay(trained):
    folder, cfg = trained
    scores = folder / "inference" / "cosal_x"
    scores.mkdir(parents=True)
    cut_off = [
        *(folder / ".123.model_final.part.pth", folder / ".9.0a1b2c3d.part"),
        *(folder / "model_final.pth.tmp123", scores / ".7.0a1b2c3d.part.json"),
    ]
    kept = [folder / ".hidden", folder / "notes.tmp", folder / "my.part.pth", scores / "x.json"]
    for path in [*cut_off, *kept]:
        path.write_text("half")
    train(cfg)
    assert [p for p in cut_off if p.exists()] == []
    assert all(p.read_text() == "half" for p in kept)


def test_two_trainings_on_a_cpu_have_the_same_weights(dataset, tmp_path):
    opts = ["SOLVER.MAX_ITER", "30", "INPUT.OCCLUSION.PROB", "0.5", "INPUT.OBJECT_CROP.PROB", "0.5"]
    first, second = (
        train(small_config(dataset, tmp_path / name, *opts)).model.state_dict() for name in "ab"
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_key_that_an_older_config_lacks_had_its_default():
    cfg = tiny_config()
    was = "\n".join(line for line in cfg.dump().splitlines() if "IDENTITY" not in line)
    assert differences(was, cfg) == {}
    changed = tiny_config("MODEL.FEATURE_SENSITIVE.IDENTITY", "True", "SEED", "3")
    assert differences(was, changed) == {
        "MODEL.FEATURE_SENSITIVE.IDENTITY": (False, True),
        "SEED": (0, 3),
    }
    assert differences(was + "\nGONE: 1\n", cfg) == {"GONE": (1, None)}
