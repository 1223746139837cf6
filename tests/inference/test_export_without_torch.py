"""What an engine shares with the network needs neither torch nor Detectron2."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "detectron2", "fvcore"):
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

sys.meta_path.insert(0, Blocked())
"""
WRITE = """
import json
import numpy as np
import cosal_d2.inference.sources, cosal_d2.inference.video
from cosal_d2.config import RESULTS
from cosal_d2.inference import CoSaliencyResult
from cosal_d2.inference.pipeline import predict_pictures
from cosal_d2.inference.saving import ResultWriter
from cosal_d2.inference.sources import find_pictures
from cosal_d2.inference.picture_predictor import PicturePredictor
from cosal_d2.utils.object_instances import InstanceOptions, find_instances

class Regions:
    def find(self, cosal_map):
        windows = np.float32([[0, 0, 16, 16], [20, 0, 36, 16], [0, 20, 16, 36]])
        masks, scores = np.ones((3, 28, 28), np.float32), np.float32([0.9, 0.8, 0.7])
        return find_instances(
            (40, 40), windows, masks, np.eye(3), scores, np.ones((3, 3)), cosal_map,
            InstanceOptions(),
        )

class Predictor(PicturePredictor):
    finds_objects = True

    def _predict(self, named, like, tiles):
        output = {"cosal_map": np.ones((40, 40), np.float32), "repeats": 0.9}
        return [CoSaliencyResult(x, output | {"regions": Regions()}, name) for name, x in named]

pictures = find_pictures([sys.argv[1]], sys.argv[2]).pictures
with ResultWriter(sys.argv[2], RESULTS) as writer:
    failed = predict_pictures(Predictor(), pictures, writer)
found = Predictor()(pictures[0].path)
try:
    found.instances
except ImportError:
    print(json.dumps([found.count, len(found.found), failed, "torch" in sys.modules]))
"""


def run_without_torch(script, *arguments):
    """Run a script in a Python in which torch and Detectron2 cannot be imported; its stdout."""
    command = [sys.executable, "-c", BLOCKED + script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_results_are_written_without_torch(tmp_path):
    import cv2

    picture, output = tmp_path / "a.png", tmp_path / "out"
    cv2.imwrite(str(picture), np.zeros((40, 40, 3), np.uint8))
    assert json.loads(run_without_torch(WRITE, picture, output)) == [3, 3, [], False]
    assert len(list(output.glob("a_object_0?.png"))) == 3
    assert len(json.loads((output / "objects.json").read_text())["annotations"]) == 3
