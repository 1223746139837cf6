"""`cosal train` and `tools/train_net.py`: training, evaluation, and which weights are scored."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from network_data import RESNET, TINY, tiny_model

from cosal_d2.cli import main
from cosal_d2.engine import CoSaliencyCheckpointer
from cosal_d2.modeling.backbone.vgg import VGG16

KEYS = {"MAE", "P", "R", "F0.3", "F1", "adpF", "distractor_rejection", "object_recall"}
TRAIN_NET = Path(__file__).resolve().parents[2] / "tools" / "train_net.py"

# An encoder that learns needs no weights.
FREE = ["MODEL.BACKBONE.FREEZE_AT", "0"]

pytestmark = pytest.mark.usefixtures("untouched_loggers")


@pytest.fixture
def train(dataset, tmp_path):
    """`cosal train` of a tiny network into ``tmp_path/output``."""

    def run(*flags, opts=()):
        data = ["DATASETS.TRAIN", f"('{dataset}',)", "DATASETS.TEST", f"('{dataset}',)"]
        own = [*TINY, *data, "OUTPUT_DIR", str(tmp_path / "output"), "MODEL.RFM.SAMPLER", ""]
        return main(["train", "--config-file", "cosal_vgg16.yaml", *flags, *own, *opts])

    return run


@pytest.fixture
def scores(dataset, tmp_path):
    """The scores that the last run has left."""
    folder = tmp_path / "output" / "inference" / dataset
    return lambda: json.loads((folder / "cosal_metrics.json").read_text())


def test_eval_only_scores_three_pictures(train, scores, dataset, tmp_path):
    weights = tmp_path / "model.pth"
    CoSaliencyCheckpointer(tiny_model("MODEL.RFM.SAMPLER", ""), str(tmp_path)).save("model")
    assert train("--eval-only", opts=["MODEL.WEIGHTS", str(weights)]) == 0
    assert scores().keys() >= KEYS and all(0 <= scores()[key] <= 1 for key in KEYS)
    output = tmp_path / "output"
    rows = (output / "inference" / dataset / "per_image.csv").read_text().strip().splitlines()
    assert len(rows) == 4
    assert (output / "config.yaml").is_file()
    assert f"the scores are those of the weights {weights}" in (output / "log.txt").read_text()


def test_eval_only_without_any_weights_says_which_key_to_set(train, capsys):
    assert train("--eval-only", opts=["MODEL.RELEASED", ""]) == 1
    assert "MODEL.WEIGHTS is empty" in capsys.readouterr().err


def test_training_evaluates_resumes_and_is_scored_when_asked_for(train, scores, tmp_path, capsys):
    output = tmp_path / "output"
    final = output / "model_final.pth"
    encoder = tmp_path / "vgg16.pth"
    torch.save(VGG16().state_dict(), encoder)
    given = ["MODEL.BACKBONE.WEIGHTS", str(encoder)]
    period = ["SOLVER.CHECKPOINT_PERIOD", "1", *given]
    assert train(opts=[*period, "SOLVER.MAX_ITER", "1"]) == 0
    first = scores()
    assert train("--resume", opts=[*period, "SOLVER.MAX_ITER", "3"]) == 0
    assert torch.load(final, weights_only=True)["iteration"] == 2
    lines = [json.loads(x) for x in (output / "metrics.json").read_text().splitlines()]
    assert {x["iteration"] for x in lines} >= {0, 1, 2}
    assert all(x["total_loss"] > 0 for x in lines if "total_loss" in x)
    trained = scores()
    assert trained["MAE"] != first["MAE"]

    # The config's released weights, or those just trained?
    capsys.readouterr()
    assert train("--eval-only", opts=["MODEL.RELEASED", "other.pth"]) == 1
    message = capsys.readouterr().err
    assert all(part in message for part in (str(final), "cosal://other.pth"))
    assert all(part in message for part in ("--resume", "MODEL.WEIGHTS cosal://other.pth"))
    assert train("--eval-only", opts=["MODEL.RELEASED", ""]) == 1
    assert f"{final} was trained here: give --resume" in capsys.readouterr().err
    for choice in (["--resume"], []):
        opts = [] if choice else ["MODEL.WEIGHTS", str(final)]
        opts += ["MODEL.RELEASED", "other.pth", *given]
        assert train("--eval-only", *choice, opts=opts) == 0
        assert scores()["MAE"] == pytest.approx(trained["MAE"])
    assert (output / "log.txt").read_text().count(f"scores are those of the weights {final}") == 2


def test_a_frozen_encoder_needs_weights_to_train(train, capsys):
    assert train() == 1
    message = capsys.readouterr().err
    assert "MODEL.BACKBONE.WEIGHTS is empty" in message and "set FREEZE_AT 0" in message


def test_a_mistake_in_one_of_several_processes_is_one_sentence(train, capfd):
    assert train("--num-gpus", "2", opts=["DATASETS.TRAIN", "('cosal_lost',)", *FREE]) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("cosal: error: no dataset 'cosal_lost': put lost.json beside")


def test_a_full_disk_and_a_used_folder_are_one_sentence(train, tmp_path, capsys):
    opts = [*FREE, "SOLVER.MAX_ITER", "1"]
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, former[1]))
    try:
        assert train(opts=opts) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    path = tmp_path / "output" / "model_final.pth"
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("cosal: error: [Errno 27] File too large; ")
    assert last.endswith(f" bytes are needed: '{path}'")
    runs = json.loads((tmp_path / "output" / "run.json").read_text())
    assert len(runs) == 1 and runs[0]["config"]["SOLVER"]["MAX_ITER"] == 1
    before = {p: p.read_bytes() for p in path.parent.iterdir()}
    assert train(opts=opts) == 1
    assert "holds an earlier training" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in path.parent.iterdir()} == before


def test_two_processes_stop_at_the_same_iteration(train, tmp_path, monkeypatch):
    """The first process gets the signal, as from a cluster, when there is a checkpoint."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))  # of the processes
    output = tmp_path / "output"
    opts = [
        *(*FREE, *RESNET, "MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"),
        *("DATASETS.TRAIN", "('cosal_tiny',)", "DATASETS.TEST", "()", "SOLVER.OPTIMIZER", "SGD"),
        *("SOLVER.MAX_ITER", "100000", "SOLVER.CHECKPOINT_PERIOD", "5"),
    ]

    def signal_when_training():
        while not (output / "last_checkpoint").exists():
            if over.wait(0.2):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    over = threading.Event()
    thread = threading.Thread(target=signal_when_training)
    thread.start()
    try:
        with pytest.raises(SystemExit) as stopped:
            train("--num-gpus", "2", opts=opts)
    finally:
        over.set()
        thread.join()
    assert stopped.value.code == 143
    name = (output / "last_checkpoint").read_text()
    iteration = torch.load(output / name, weights_only=True)["iteration"]
    said = [(output / f"log.txt{rank}").read_text() for rank in ("", ".rank1")]
    assert all(f"stopped by signal 15 after iteration {iteration}," in words for words in said)


def test_several_machines_need_an_address(train, capsys):
    assert train("--num-machines", "2") == 1
    assert "--dist-url is auto" in capsys.readouterr().err


def test_the_tool_is_the_verb(tmp_path):
    command = [sys.executable, str(TRAIN_NET), "--help"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    options = ("--config-file FILE", "--resume", "--eval-only", "--num-gpus N", "--dist-url URL")
    assert " train " in run.stdout and all(option in run.stdout for option in options)
