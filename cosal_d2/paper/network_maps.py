"""Maps of a network for a whole dataset, as a folder of PNG files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager
from tqdm import tqdm

from cosal_d2.engine.checkpoint import released_weights
from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.paper.map_folder import open_folder, picture_of, write_map


def weights_digest(cfg: CfgNode) -> str:
    """sha256 of the file that the network would load.

    Raises:
        ValueError: the config names no weights.
        FileNotFoundError: there is no such file.
    """
    path = released_weights(cfg)
    if not PathManager.isfile(path):
        raise FileNotFoundError(f"no weights at {path}: give a checkpoint file")
    with PathManager.open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def network_digest(cfg: CfgNode) -> str:
    """sha256 of the weights and of everything in the config but its file names."""
    plain = cfg.clone()
    plain.defrost()
    plain.MODEL.WEIGHTS = plain.OUTPUT_DIR = ""
    return hashlib.sha256(f"{weights_digest(cfg)}\n{plain.dump()}".encode()).hexdigest()


def write_network_maps(
    cfg: CfgNode, dataset: str, out: Path, *, overwrite: bool = False, progress: bool = False
) -> int:
    """Write ``STEM.png``, 8-bit grey, for each picture of a dataset; a stopped run goes on.

    The network is built only if a map is missing.

    Args:
        cfg: the network, with its weights.
        dataset: name in Detectron2's catalog.
        out: folder of the maps; ``.maps.json`` in it holds a digest of weights and config.
        overwrite: make all maps anew.
        progress: show a progress bar.

    Returns:
        Number of maps written now.

    Raises:
        ValueError: the weights do not fit, a picture cannot be read, or ``out`` holds maps of
            another network.
        FileNotFoundError: weights or pictures are missing.
    """
    todo = open_folder(out, {"network": network_digest(cfg)}, dataset, overwrite)
    if not todo:
        return 0
    predictor = CoSaliencyPredictor(cfg)
    for record, path in tqdm(todo, desc=out.name, unit="picture", disable=not progress):
        write_map(path, predictor(picture_of(record)))
    return len(todo)
