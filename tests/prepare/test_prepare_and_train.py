"""From a folder of LabelMe files to a trained network, by the command of datasets/README.md."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import torch
from converter_data import write_labelme
from network_data import TINY
from tool_loading import ROOT


def test_the_readmes_command_trains_on_own_data(tmp_path):
    write_labelme(tmp_path / "photos")
    text = (ROOT / "datasets" / "README.md").read_text()
    command = re.search(r"    cosal data labelme .*?\n\n", text, re.DOTALL).group().rstrip()
    places = {"--json photos": f"--json {tmp_path / 'photos'}", "--out data": f"--out {tmp_path}"}
    places["DETECTRON2_DATASETS=data"] = f"DETECTRON2_DATASETS={tmp_path}"
    for given, used in places.items():
        assert given in command
        command = command.replace(given, used)
    quick = [x for x in zip(TINY[::2], TINY[1::2], strict=True) if "DATASETS" not in x[0]]
    quick += [("SOLVER.MAX_ITER", "1"), ("OUTPUT_DIR", str(tmp_path / "out"))]
    quick += [("MODEL.BACKBONE.FREEZE_AT", "0")]  # its weights are random here
    command += " " + " ".join(f"{key} {shlex.quote(value)}" for key, value in quick)
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, shell=True, cwd=ROOT, env=environment, check=True)
    saved = torch.load(tmp_path / "out" / "model_final.pth", weights_only=True)
    assert saved["iteration"] == 0
