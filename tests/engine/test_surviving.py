"""A training that is killed or stopped anywhere and resumed is the one that was not."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from chaos.training_runs import logged, same_tensors
from detectron2.data import MetadataCatalog
from network_data import registered, write_dataset
from training_data import (
    MOMENTS,
    at_iteration,
    killed_training,
    small_config,
    stopped_training,
    train,
)

from cosal_d2.engine import Trainer
from cosal_d2.engine.checkpoint_hooks import Checkpoints

OPTS = [
    *("SOLVER.MAX_ITER", "6", "SOLVER.CHECKPOINT_PERIOD", "2", "SOLVER.CHECKPOINTS_KEPT", "2"),
    *("TEST.EVAL_PERIOD", "3", "TEST.BEST_METRIC", "MAE", "SOLVER.GRADIENT_PARTS", "2"),
]
CHECKPOINTS = ["model_0000003.pth", "model_0000005.pth", "model_best.pth", "model_final.pth"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    with registered(write_dataset(tmp_path_factory.mktemp("data"))) as name:
        yield name


def config(data, folder, *opts):
    return small_config(data, folder, *OPTS, "DATASETS.TEST", f"('{data}',)", *opts)


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(config(data, folder))
    assert sorted(p.name for p in folder.glob("*.pth")) == CHECKPOINTS
    return folder


def check_same(folder, uninterrupted):
    """The same files, checkpoints with the same bits, and the same log."""
    files = {p.relative_to(folder) for p in folder.rglob("*") if "tfevents" not in p.name}
    wanted = {p.relative_to(uninterrupted) for p in uninterrupted.rglob("*")}
    assert files == {path for path in wanted if "tfevents" not in path.name}
    for name in CHECKPOINTS:
        a, b = (torch.load(f / name, weights_only=True) for f in (folder, uninterrupted))
        assert same_tensors(a["model"], b["model"]), name
        if name != "model_best.pth":
            for key in ("optimizer", "iteration"):
                assert same_tensors(a["trainer"]["_trainer"][key], b["trainer"]["_trainer"][key])
    assert (folder / "last_checkpoint").read_text() == "model_final.pth"
    assert logged(folder) == logged(uninterrupted)


@pytest.fixture(scope="module")
def server(data):
    """Starts processes that are forked from one which has only imported the network."""
    tests = str(Path(__file__).resolve().parents[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([tests, *filter(None, sys.path)]))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["training_data"])
        yield context


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed(data, server, uninterrupted, tmp_path, moment):
    json_file = Path(MetadataCatalog.get(data).json_file)
    opts = [*OPTS, "DATASETS.TEST", f"('{data}',)"]
    process = server.Process(target=killed_training, args=(data, json_file, tmp_path, opts, moment))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    train(config(data, tmp_path))
    check_same(tmp_path, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("iteration", [2, 3, 5])
def test_stopped_by_a_signal_and_resumed(
    data, uninterrupted, tmp_path, monkeypatch, number, iteration
):
    cfg = config(data, tmp_path)
    handlers = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    with monkeypatch.context() as patch:
        at_iteration(patch, iteration, lambda: os.kill(os.getpid(), number))
        with pytest.raises(SystemExit) as stopped:
            train(cfg)
    assert stopped.value.code == 128 + number
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == handlers
    names = {2: "model_stopped.pth", 3: "model_0000003.pth", 5: "model_final.pth"}
    name = (tmp_path / "last_checkpoint").read_text()
    assert name == names[iteration]
    assert torch.load(tmp_path / name, weights_only=True)["iteration"] == iteration
    train(cfg)
    check_same(tmp_path, uninterrupted)


def test_workers_live_until_the_training_has_stopped(data, server, uninterrupted, tmp_path):
    json_file = Path(MetadataCatalog.get(data).json_file)
    opts = [*OPTS, "DATASETS.TEST", f"('{data}',)", "DATALOADER.NUM_WORKERS", "1"]
    process = server.Process(target=stopped_training, args=(data, json_file, tmp_path, opts))
    process.start()
    process.join(120)
    assert process.exitcode == 128 + signal.SIGTERM
    assert (tmp_path / "last_checkpoint").read_text() == "model_stopped.pth"
    train(config(data, tmp_path))
    check_same(tmp_path, uninterrupted)


def test_a_signal_ends_an_evaluation(data, uninterrupted, tmp_path, monkeypatch):
    cfg = config(data, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "test", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            train(cfg)
    assert (tmp_path / "last_checkpoint").read_text() == "model_stopped.pth"
    train(cfg)
    check_same(tmp_path, uninterrupted)


def test_a_second_ctrl_c_ends_at_once(data, tmp_path, monkeypatch):
    def twice():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    at_iteration(monkeypatch, 1, twice)
    with pytest.raises(KeyboardInterrupt):
        train(config(data, tmp_path))
    assert not list(tmp_path.glob("*.pth"))


def test_a_finished_training_goes_on_with_its_log(data, uninterrupted, tmp_path):
    train(config(data, tmp_path))
    longer = train(config(data, tmp_path, "SOLVER.MAX_ITER", "8"))
    assert longer.start_iter == 6
    assert [x["iteration"] for x in logged(tmp_path)] == [
        *(x["iteration"] for x in logged(uninterrupted)),
        *(7, 8),
    ]


def test_losses_are_smoothed_over_a_resume(data, tmp_path):
    opts = ["TEST.EVAL_PERIOD", "0", "DATASETS.TEST", "()", "SOLVER.MAX_ITER", "24"]
    cfg = config(data, tmp_path, *opts, "SOLVER.CHECKPOINT_PERIOD", "16")
    whole = train(cfg).storage.latest_with_smoothing_hint(20)
    (tmp_path / "last_checkpoint").write_text("model_0000015.pth")
    resumed = train(cfg)
    assert resumed.start_iter == 16
    again = resumed.storage.latest_with_smoothing_hint(20)
    names = [name for name in whole if "time" not in name]
    assert {"total_loss", "loss_cosal", "lr"} <= set(names)
    assert [again[name] for name in names] == [whole[name] for name in names]
    assert [x["iteration"] for x in logged(tmp_path)] == [19, 23]


def test_all_checkpoints_are_kept_where_the_config_says_so(data, tmp_path):
    train(config(data, tmp_path, "SOLVER.CHECKPOINTS_KEPT", "0", "TEST.BEST_METRIC", ""))
    names = {"model_0000001.pth", *CHECKPOINTS} - {"model_best.pth"}
    assert {p.name for p in tmp_path.glob("*.pth")} == names


def test_the_best_weights_are_those_of_the_best_evaluation(data, tmp_path, monkeypatch):
    scores = iter([0.3, 0.5, 0.4])
    seen = []

    def test(cls, cfg, model):
        seen.append({k: v.clone() for k, v in model.state_dict().items()})
        return {"cosal": {"F0.3": next(scores)}}

    monkeypatch.setattr(Trainer, "test", classmethod(test))
    monkeypatch.setattr(Checkpoints, "_drop_old", lambda *_: None)
    opts = ["TEST.EVAL_PERIOD", "2", "TEST.BEST_METRIC", "F0.3"]
    train(config(data, tmp_path, *opts))
    best = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert set(best) == {"model", "iteration"} and best["iteration"] == 3
    assert all(torch.equal(v, seen[1][k]) for k, v in best["model"].items())
