"""What a training ran with, in ``run.json``: an entry each time that it is started or resumed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.utils import comm

from cosal_d2.utils.files import write_json

FILE = "run.json"


def record_run(cfg: CfgNode, checkpoint: str, sizes: Mapping[str, int]) -> None:
    """Add a start to ``OUTPUT_DIR/run.json``, from the main process.

    Args:
        cfg: the trainer's.
        checkpoint: that it goes on from, "" for none.
        sizes: of the datasets' pictures in bytes, by path.

    Raises:
        ValueError: the file is no such record.
    """
    if not comm.is_main_process():
        return
    path = Path(cfg.OUTPUT_DIR, FILE)
    try:
        runs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        if not isinstance(runs, list):
            raise ValueError("it is no list")
    except ValueError as error:
        raise ValueError(f"{path} is no record of a training ({error}): move it away") from error
    write_json(path, [*runs, _entry(cfg, checkpoint, sizes)])


def _entry(cfg: CfgNode, checkpoint: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    packages = dict(sorted((d.name, d.version) for d in metadata.distributions()))
    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "checkpoint": os.path.basename(checkpoint) or None,
        "command": sys.argv,
        "code": {"cosal_d2": packages.get("cosal_d2"), **_commit()},
        "packages": packages,
        "data": data_hashes([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST], sizes),
        "hardware": _hardware(),
        "config": yaml.safe_load(cfg.dump()),
    }


def data_hashes(names: list[str], sizes: Mapping[str, int]) -> dict[str, str]:
    """The sha256 of each dataset's json and of the names, below its image folder, and sizes of its
    pictures, whose pixels are not read."""
    hashes = {}
    for name in dict.fromkeys(names):
        about = MetadataCatalog.get(name)
        digest = hashlib.sha256()
        json_file = about.get("json_file")
        if json_file:
            digest.update(Path(json_file).read_bytes())
        root = about.get("image_root") or ""
        inside = os.path.join(root, "")
        for path in sorted(path for path in sizes if path.startswith(inside)):
            digest.update(
                f"\n{path[len(inside) :]} {sizes[path]}".encode("utf-8", "surrogateescape")
            )
        hashes[name] = digest.hexdigest()
    return hashes


def _commit() -> dict[str, Any]:
    """The commit of a clone, and whether files differ from it; nothing for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {}
    git = ["git", "-C", os.fspath(root)]
    try:
        commit, changes = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": commit.strip(), "changed": bool(changes.strip())}


def _hardware() -> dict[str, Any]:
    devices = range(torch.cuda.device_count())
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": comm.get_world_size(),
        "gpus": [torch.cuda.get_device_name(i) for i in devices],
        "cuda": torch.version.cuda,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
