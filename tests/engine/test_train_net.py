import json
from pathlib import Path

import pytest
import torch
from detectron2.engine import default_argument_parser
from network_data import TINY, tiny_model
from tool_loading import load_tool

from cosal_d2.engine import CoSaliencyCheckpointer

TOOL = Path(__file__).resolve().parents[2] / "tools" / "train_net.py"
KEYS = {"MAE", "P", "R", "F0.3", "F1", "adpF", "distractor_rejection", "object_recall"}

pytestmark = pytest.mark.usefixtures("untouched_loggers")


@pytest.fixture
def train_net():
    return load_tool("tools/train_net.py")


def arguments(*argv, opts=()):
    line = ["--config-file", "cosal_vgg16_cpu.yaml", *argv, *TINY, *map(str, opts)]
    return default_argument_parser().parse_args(line)


def test_eval_only_scores_three_pictures(train_net, dataset, tmp_path):
    CoSaliencyCheckpointer(tiny_model(), str(tmp_path)).save("model")
    output = tmp_path / "output"
    opts = ["DATASETS.TEST", f"('{dataset}',)", "OUTPUT_DIR", output]
    weights = ["MODEL.WEIGHTS", tmp_path / "model.pth"]
    results = train_net.main(arguments("--eval-only", opts=[*opts, *weights]))
    folder = output / "inference" / dataset
    metrics = json.loads((folder / "cosal_metrics.json").read_text())
    assert metrics.keys() >= KEYS
    assert all(0 <= metrics[key] <= 1 for key in KEYS)
    assert results["cosal"].keys() >= KEYS
    assert len((folder / "per_image.csv").read_text().strip().splitlines()) == 4
    assert (output / "config.yaml").is_file() and (output / "log.txt").is_file()


def test_eval_only_without_any_weights_says_which_key_to_set(train_net, dataset, tmp_path):
    opts = ["DATASETS.TEST", f"('{dataset}',)", "OUTPUT_DIR", tmp_path, "MODEL.RELEASED", ""]
    with pytest.raises(ValueError, match="MODEL.WEIGHTS is empty.*give a checkpoint"):
        train_net.main(arguments("--eval-only", opts=opts))


def test_training_evaluates_resumes_and_is_scored_again(train_net, dataset, tmp_path):
    data = ["DATASETS.TRAIN", f"('{dataset}',)", "DATASETS.TEST", f"('{dataset}',)"]
    opts = [*data, "OUTPUT_DIR", tmp_path, "SOLVER.CHECKPOINT_PERIOD", "1"]
    small = ["MODEL.RFM.SAMPLER", ""]
    scores = tmp_path / "inference" / dataset / "cosal_metrics.json"
    train_net.main(arguments(opts=[*opts, *small, "SOLVER.MAX_ITER", "1"]))
    first = json.loads(scores.read_text())
    train_net.main(arguments("--resume", opts=[*opts, *small, "SOLVER.MAX_ITER", "3"]))
    saved = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert saved["iteration"] == 2
    lines = [json.loads(x) for x in (tmp_path / "metrics.json").read_text().splitlines()]
    assert {x["iteration"] for x in lines} >= {0, 1, 2}
    assert all(x["total_loss"] > 0 for x in lines if "total_loss" in x)
    final = json.loads(scores.read_text())
    assert final["MAE"] != first["MAE"]
    again = train_net.main(arguments("--eval-only", "--resume", opts=[*opts, *small]))
    assert again["cosal"]["MAE"] == pytest.approx(final["MAE"])


def test_the_tool_is_thin():
    assert len(TOOL.read_text().splitlines()) < 100
