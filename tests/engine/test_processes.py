"""Training in two CPU processes, by Detectron2's launch and by torchrun.

``COSAL_TEST_ITERATIONS=50`` makes the trainings longer (docs/reliability.md).
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectron2.engine import DefaultTrainer
from detectron2.engine import launch as start_processes
from detectron2.utils import comm
from network_data import RESNET, TINY, registered, tiny_config, write_dataset

from cosal_d2.cli import main
from cosal_d2.config import config_folder, get_cosal_config
from cosal_d2.engine import Trainer
from cosal_d2.engine.checkpoint import own_state_dict
from cosal_d2.paper.table1 import column_config, find_column

ITERATIONS = int(os.environ.get("COSAL_TEST_ITERATIONS", 2))
TRAIN_NET = Path(__file__).resolve().parents[2] / "tools" / "train_net.py"
# The released config with its own decoder and grouping, and channels of the tests.
RELEASED = [
    *TINY[: TINY.index("MODEL.DECODER.CHANNELS")],
    *TINY[TINY.index("MODEL.RFM.REDUCED_CHANNELS") : TINY.index("MODEL.GROUPING.ENABLED")],
    *TINY[TINY.index("MODEL.RFM.REGION_SIDES") :],
    *("MODEL.GROUPING.NUM_REGIONS", "8", "SOLVER.IMS_PER_BATCH", "2"),
]
# A ResNet-50 with few channels.
SLIM = [
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", "8", "MODEL.RESNETS.RES2_OUT_CHANNELS", "16"),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", "8", "TEST.MEASURE_WORKERS", "0"),
]
TRAINED = ["MODEL.BACKBONE.FREEZE_AT", "0"]
NAMES = ("column 1", "column 5", "column 7", "released", "trained backbone")


def config(name, dataset, output):
    """A config of two pictures an iteration, one for each process."""
    if name == "released":
        cfg = get_cosal_config("cosal_r50.yaml", [*RELEASED, *SLIM])
    else:
        cfg = tiny_config(*RESNET, *SLIM, *(TRAINED if name == "trained backbone" else []))
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (dataset,), (dataset,)
    cfg.OUTPUT_DIR = str(output)
    cfg.SOLVER.IMS_PER_BATCH = 2
    if name.startswith("column"):
        return column_config(cfg, find_column(name.split()[1]), ITERATIONS)
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS, cfg.SEED = ITERATIONS, 0, 0
    return cfg


def train(cfg, until=None):
    """The weights after a training, or after going on with one that is there."""
    torch.manual_seed(comm.get_rank())
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=True)
    start = trainer.start_iter
    trainer.max_iter = until or trainer.max_iter
    trainer.train()
    weights = {k: v.clone() for k, v in own_state_dict(trainer.model).items()}
    return {"weights": weights, "start": start, "scores": trainer._last_eval_results}


def each_config(json_file, output):
    torch.set_num_threads(1)
    found = {}
    with registered(json_file) as dataset:
        for name in NAMES:
            straight = train(config(name, dataset, output / name / "straight"))
            stopped = train(config(name, dataset, output / name / "resumed"), ITERATIONS // 2)
            resumed = train(config(name, dataset, output / name / "resumed"))
            found[name] = {"straight": straight, "stopped": stopped, "resumed": resumed}
            for result in found[name].values():  # plain, for the file
                result["scores"] = json.loads(json.dumps(result["scores"]))
    torch.save(found, output / f"rank{comm.get_rank()}.pth")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each process has after the training of every config."""
    folder = tmp_path_factory.mktemp("processes")
    json_file = write_dataset(folder / "data", count=4)
    start_processes(each_config, 2, dist_url="auto", args=(json_file, folder))
    return [torch.load(folder / f"rank{i}.pth", weights_only=True) for i in (0, 1)]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_evaluate_and_resume_alike(ranks, name):
    first, second = (rank[name] for rank in ranks)
    for run in first:
        assert same(first[run]["weights"], second[run]["weights"]), run
    assert (first["straight"]["start"], first["resumed"]["start"]) == (0, ITERATIONS // 2)
    assert same(first["resumed"]["weights"], first["straight"]["weights"])
    assert not same(first["stopped"]["weights"], first["straight"]["weights"])
    scores = first["straight"]["scores"]
    assert 0 <= scores["cosal"]["MAE"] <= 1 and first["resumed"]["scores"] == scores
    print(f"{name}: {ITERATIONS} iterations, {len(first['straight']['weights'])} weights equal")


def test_batch_rate_and_schedule_follow_the_number_of_processes():
    opts = ["SOLVER.IMS_PER_BATCH", "4", "SOLVER.BASE_LR", "0.01", "SOLVER.MAX_ITER", "800"]
    opts += ["SOLVER.STEPS", "(400, 600)", "SOLVER.WARMUP_ITERS", "80", "TEST.EVAL_PERIOD", "200"]
    cfg = tiny_config(*opts, "SOLVER.CHECKPOINT_PERIOD", "100", "SOLVER.REFERENCE_WORLD_SIZE", "2")
    scaled = DefaultTrainer.auto_scale_workers(cfg, 4)
    solver = scaled.SOLVER
    assert (solver.IMS_PER_BATCH, solver.BASE_LR, solver.MAX_ITER) == (8, 0.02, 400)
    assert (solver.STEPS, solver.WARMUP_ITERS, solver.CHECKPOINT_PERIOD) == ((200, 300), 40, 50)
    assert scaled.TEST.EVAL_PERIOD == 100


@pytest.fixture
def command(tmp_path):
    """The options and the environment of a training of one iteration."""
    write_dataset(tmp_path / "data", count=2)
    opts = [*TINY, *RESNET, *SLIM, *TRAINED, "SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "2"]
    opts += ["DATASETS.TRAIN", "('cosal_tiny',)", "DATASETS.TEST", "('cosal_tiny',)"]
    opts += ["OUTPUT_DIR", str(tmp_path / "out")]
    root = Path(config_folder()).parent
    environment = {
        **os.environ,
        "DETECTRON2_DATASETS": str(tmp_path / "data"),
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    return ["--config-file", "cosal_vgg16.yaml"], opts, environment


def check_trained_by_two(output):
    (start,) = json.loads((output / "run.json").read_text())
    assert start["hardware"]["processes"] == 2
    assert (output / "log.txt.rank1").is_file() and (output / "model_final.pth").is_file()
    scores = json.loads((output / "inference" / "cosal_tiny" / "cosal_metrics.json").read_text())
    assert 0 <= scores["MAE"] <= 1


def test_torchrun_starts_the_processes(command, tmp_path):
    options, opts, environment = command
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    line = [*torchrun, str(TRAIN_NET), *options, *opts]
    run = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    check_trained_by_two(tmp_path / "out")


def test_several_machines_meet_at_the_address(command, tmp_path):
    options, opts, environment = command
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    machines = ["--num-machines", "2", "--dist-url", address, "--machine-rank"]
    lines = [[sys.executable, TRAIN_NET, *options, *machines, str(i), *opts] for i in (0, 1)]
    runs = [
        subprocess.Popen(line, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for line in lines
    ]
    errors = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], errors[0][-2000:]
    check_trained_by_two(tmp_path / "out")


def test_processes_that_would_never_meet_are_refused(command, monkeypatch, capsys):
    options, opts, _ = command
    for flags, words in {
        ("--num-gpus", "0"): "numbers from 1 on",
        ("--num-machines", "2", "--machine-rank", "2"): "--machine-rank is 2: number the 2",
        ("--num-machines", "2"): "--dist-url is auto",
    }.items():
        assert main(["train", *options, *flags, *opts]) == 1
        assert words in capsys.readouterr().err
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert main(["train", *options, "--num-gpus", "2", *opts]) == 1
    assert "give it --nproc-per-node and --nnodes" in capsys.readouterr().err


def test_more_processes_than_gpus_are_refused_and_cpus_take_gloo(command, monkeypatch, capsys):
    options, opts, _ = command
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    line = ["train", *options, "--num-gpus", "2", *opts, "MODEL.DEVICE"]
    assert main([*line, "cuda"]) == 1
    assert "--num-gpus is 2, and this machine has 1" in capsys.readouterr().err
    seen = []
    started = "cosal_d2.engine.launch.detectron2.engine.launch"
    monkeypatch.setattr(started, lambda *_, **__: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]))
    assert main([*line, "cpu"]) == 0
    assert seen == [""]
