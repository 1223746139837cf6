"""Training: losses, exact resume, several processes, where weights come from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.engine import launch
from detectron2.modeling import build_model
from detectron2.utils import comm
from network_data import GROUPED, registered, tiny_config, tiny_model, write_dataset
from torch.nn.parallel import DistributedDataParallel

from cosal_d2.engine import CoSaliencyCheckpointer, Trainer
from cosal_d2.engine import trainer as module
from cosal_d2.engine.trainer import distribute

ALL = {"loss_cosal", "loss_rpn_cls", "loss_rpn_loc", "loss_triplet"}


def config(dataset, output, *opts):
    own = ["DATASETS.TRAIN", f"('{dataset}',)", "OUTPUT_DIR", str(output)]
    return tiny_config(*own, "SOLVER.CHECKPOINT_PERIOD", "2", *opts)


@pytest.fixture
def fixed_start(monkeypatch):
    """Every network starts from the same weights, as ``default_setup`` sees to in a training."""

    def build(cls, cfg):
        torch.manual_seed(0)
        return build_model(cfg)

    monkeypatch.setattr(Trainer, "build_model", classmethod(build))


def parameters(trainer):
    return {k: v.detach().clone() for k, v in trainer.model.state_dict().items()}


def run(trainer):
    trainer.resume_or_load(resume=True)
    trainer.train()
    return parameters(trainer)


def test_losses_fall_and_the_encoder_stays_bit_identical(dataset, tmp_path, fixed_start):
    opts = ["SOLVER.MAX_ITER", "30", "SOLVER.BASE_LR", "0.003", "SOLVER.CHECKPOINT_PERIOD", "100"]
    trainer = Trainer(config(dataset, tmp_path, *opts))
    before = parameters(trainer)
    after = run(trainer)
    history = trainer.storage.histories()
    assert {k for k in history if k.startswith("loss_")} == ALL
    for name in ("total_loss", "loss_cosal", "loss_rpn_cls"):
        values = [v for v, _ in history[name].values()]
        assert len(values) == 30 and np.mean(values[-6:]) < 0.8 * np.mean(values[:3]), name
    frozen = [k for k in before if k.startswith("backbone.")]
    assert len(frozen) == 26 and all(torch.equal(before[k], after[k]) for k in frozen)
    optimized = sum(p.numel() for g in trainer.optimizer.param_groups for p in g["params"])
    assert optimized == sum(v.numel() for k, v in after.items() if k not in frozen)
    decays = {group["weight_decay"] for group in trainer.optimizer.param_groups}
    assert decays == {0.01, 0.0}  # norms are not decayed
    moved = [k for k in before if k not in frozen and not torch.equal(before[k], after[k])]
    assert len(moved) == len(before) - len(frozen)


def test_a_resumed_training_is_the_uninterrupted_one(dataset, tmp_path, fixed_start):
    four = ["SOLVER.MAX_ITER", "4", "SOLVER.WARMUP_ITERS", "3", *GROUPED, "SEED", "-1"]
    np.random.seed(5)  # the same random SEED for both
    straight = run(Trainer(config(dataset, tmp_path / "straight", *four)))
    np.random.seed(5)
    first = Trainer(config(dataset, tmp_path / "resumed", *four))
    first.max_iter = 2
    halfway = run(first)
    torch.manual_seed(77)
    np.random.seed(77)
    second = Trainer(config(dataset, tmp_path / "resumed", *four))
    resumed = run(second)
    assert second.start_iter == 2 and second.iter == 4
    assert resumed.keys() == straight.keys()
    assert all(torch.equal(resumed[k], straight[k]) for k in straight)
    assert any(not torch.equal(halfway[k], straight[k]) for k in straight)
    saved = torch.load(tmp_path / "resumed" / "model_final.pth", weights_only=True)
    assert saved["iteration"] == 3
    third = Trainer(config(dataset, tmp_path / "resumed", *four[:-1], "7"))
    third.resume_or_load(resume=True)
    assert (first.sampler.plan.seed, third.sampler.plan.seed) == (second.sampler.plan.seed, 7)


def test_offline_training_with_sgd_logs_the_probe_and_evaluates(dataset, tmp_path, fixed_start):
    opts = ["MODEL.RFM.SAMPLER", "OfflineSampler", "SOLVER.OPTIMIZER", "SGD"]
    probe = ["DATASETS.TEST", f"('{dataset}',)", "TEST.TRIPLET_PROBE_IMAGES", "2"]
    probe += ["TEST.MEASURES", "fast", "TEST.MEASURE_WORKERS", "0"]
    trainer = Trainer(config(dataset, tmp_path, "SOLVER.MAX_ITER", "2", *opts, *probe))
    run(trainer)
    shares = trainer.storage.history("probe/satisfied").values()
    assert [i for _, i in shares] == [0, 1] and all(0 <= v <= 1 for v, _ in shares)
    made = {path.name for path in (tmp_path / "inference" / dataset).iterdir()}
    assert made >= {"cosal_metrics.json", "field_metrics.json"}
    assert (tmp_path / "metrics.json").is_file() and list(tmp_path.glob("events.out.tfevents.*"))


@pytest.mark.parametrize("name", ["SGD", "ADAMW"])
def test_either_optimizer_clips_gradients_as_the_config_says(name):
    model = torch.nn.Linear(3, 3)
    clip = ["SOLVER.CLIP_GRADIENTS.ENABLED", "True", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "norm"]
    cfg = tiny_config("SOLVER.OPTIMIZER", name, *clip, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "0.7")
    optimizer = Trainer.build_optimizer(cfg, model)
    model(torch.full((1, 3), 100.0)).sum().backward()
    optimizer.step()
    assert model.weight.grad.norm().item() == pytest.approx(0.7, rel=1e-4)


class Halves(torch.nn.Module):
    """A network with an encoder, as the checkpoint's names have it."""

    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Linear(3, 3)
        self.decoder = torch.nn.Linear(3, 1)


def _in_process(json_file, output):
    rank = comm.get_rank()
    torch.manual_seed(rank)
    small = Halves()
    start = {k: v.clone() for k, v in small.state_dict().items()}
    distributed = distribute(small).module.state_dict()
    measured, module.log_anchor_recall = [], lambda *_: measured.append(rank)
    with registered(json_file) as name:
        trainer = Trainer(config(name, output, "SOLVER.MAX_ITER", "2", "SEED", "-1", *GROUPED))
        assert isinstance(trainer.model, DistributedDataParallel)
        trainer.resume_or_load(resume=False)
        seen = []
        original = trainer.model.forward
        trainer.model.forward = lambda x: (seen.extend(d["seed"] for d in x), original(x))[1]
        trainer.train()
    result = {
        "start": start,
        "distributed": distributed,
        "state": trainer.model.module.state_dict(),
        "seed": trainer.sampler.plan.seed,
        "seen": seen,
        "measured": measured,
    }
    torch.save(result, output / f"rank{rank}.pth")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


def test_two_cpu_processes_start_alike_train_two_steps_and_agree(tmp_path):
    json_file = write_dataset(tmp_path / "data", count=4)
    launch(_in_process, 2, dist_url="auto", args=(json_file, tmp_path))
    first, second = (torch.load(tmp_path / f"rank{i}.pth", weights_only=True) for i in (0, 1))
    assert not same(first["start"], second["start"])
    assert same(first["distributed"], second["distributed"])
    assert same(first["state"], second["state"])
    # One picture each of a batch of two, and none twice.
    assert first["seed"] == second["seed"]
    assert (first["measured"], second["measured"]) == ([0], [])
    assert len(first["seen"]) == len(second["seen"]) == 2
    assert len({*first["seen"], *second["seen"]}) == 4
    saved = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    assert saved and all(torch.equal(v, first["state"][k]) for k, v in saved.items())


def test_a_fresh_training_starts_from_weights_without_grouping_a_resumed_one_does_not(
    dataset, tmp_path
):
    plain = tiny_model("MODEL.RFM.SAMPLER", "", seed=1)
    (tmp_path / "start").mkdir()
    CoSaliencyCheckpointer(plain, str(tmp_path / "start")).save("model")
    start = ["MODEL.WEIGHTS", str(tmp_path / "start" / "model.pth"), "SOLVER.MAX_ITER", "1"]
    trainer = Trainer(config(dataset, tmp_path / "fresh", *GROUPED, *start))
    new = {k: v for k, v in parameters(trainer).items() if k.startswith("grouping.")}
    trainer.resume_or_load(resume=True)
    loaded = parameters(trainer)
    own = {k: v for k, v in plain.state_dict().items() if not k.startswith("backbone.")}
    assert own and all(torch.equal(loaded[k], v) for k, v in own.items())
    assert new and all(torch.equal(loaded[k], v) for k, v in new.items())
    trainer.train()
    assert {"loss_group", "loss_pair"} <= trainer.storage.histories().keys()
    # The checkpoint of a training that had no grouping is not gone on with.
    other = Trainer(config(dataset, tmp_path / "start", *GROUPED, *start))
    with pytest.raises(ValueError, match="do not fit the config"):
        other.resume_or_load(resume=True)


def test_what_would_fail_later_is_found_before_the_network_is_built(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "build_model", lambda cfg: pytest.fail("built"))
    with pytest.raises(ValueError, match="DATASETS.TEST: no dataset 'cosal_typo'"):
        Trainer(config(dataset, tmp_path, "DATASETS.TEST", "('cosal_typo',)"))
    records = DatasetCatalog.get(dataset)
    with registered(write_dataset(tmp_path / "other")) as other:
        cfg = config(dataset, tmp_path, "DATASETS.TEST", f"('{other}',)")
        Path(DatasetCatalog.get(other)[0]["file_name"]).unlink()
        with pytest.raises(FileNotFoundError, match=f"1 of the 3 pictures of {other}"):
            Trainer(cfg)
    for record in records[:2]:
        Path(record["file_name"]).unlink()
    with pytest.raises(FileNotFoundError, match="2 of the 3 pictures of the training datasets"):
        Trainer(config(dataset, tmp_path))


def test_float16_on_a_cpu_is_refused(dataset, tmp_path):
    cfg = config(dataset, tmp_path, "MODEL.DTYPE", "float16")
    with pytest.raises(ValueError, match="float16 trains on CUDA only; on a CPU use bfloat16"):
        Trainer(cfg)
