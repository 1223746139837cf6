"""Checkpoints become a released file: ``python -m cosal_d2.engine.release CONFIG CHECKPOINT ...``.

Of several checkpoints of one training the mean of the weights is released (stochastic weight
averaging, Izmailov et al. 2018). The config may take its encoder from the released file itself,
which is not there yet: then ``--encoder`` comes with ``--opts MODEL.BACKBONE.WEIGHTS FILE``, as in
the training.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from safetensors.torch import save_file

from cosal_d2.config import get_cosal_config
from cosal_d2.engine.checkpoint import load_network, own_state_dict
from cosal_d2.modeling.backbone.released import RELEASED_FOLDER
from cosal_d2.modeling.backbone.weight_files import SAFETENSORS, load_weights
from cosal_d2.utils.files import replacing, write_json

MAX_BYTES = 40 * 2**20


def release(cfg: CfgNode, *, encoder: bool = False, folder: str = RELEASED_FOLDER) -> str:
    """Write ``MODEL.WEIGHTS`` as ``MODEL.RELEASED``, safetensors with float16 kernels, and note its
    sha256 in ``released.json``; a file of the same name is replaced.

    Args:
        cfg: the network, its checkpoint and the name.
        encoder: write the frozen encoder too, so that the file is all that a prediction needs.
        folder: where released files live.

    Returns:
        the file's path.

    Raises:
        ValueError: the config names no checkpoint or no released file, or one of another kind; the
            checkpoint does not fit; or the result is over 40 MB.
    """
    if not cfg.MODEL.WEIGHTS or not cfg.MODEL.RELEASED:
        raise ValueError("MODEL.WEIGHTS names the checkpoint, MODEL.RELEASED the file; set both")
    name = Path(cfg.MODEL.RELEASED).name
    if name != cfg.MODEL.RELEASED or not name.endswith(SAFETENSORS):
        raise ValueError(
            f"MODEL.RELEASED is {cfg.MODEL.RELEASED}; released files are safetensors: name it "
            f"{Path(name).stem}{SAFETENSORS} in the config"
        )
    model = load_network(cfg)
    weights = model.state_dict() if encoder else own_state_dict(model)
    # Kernels in half precision; a batch norm's variances may be larger than float16 reaches.
    weights = {k: (v.half() if v.dim() > 1 else v).contiguous() for k, v in weights.items()}
    size = sum(v.numel() * v.element_size() for v in weights.values())
    if size > MAX_BYTES:
        raise ValueError(f"the weights of {cfg.MODEL.WEIGHTS} take {size / 2**20:.1f} MB, over 40")
    path = Path(folder, name)
    with replacing(path) as temporary:
        save_file(weights, temporary)
    index = Path(folder, "released.json")
    known = json.loads(index.read_text()) if index.exists() else {}
    known[path.name] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    write_json(index, dict(sorted(known.items())))
    return os.fspath(path)


def mean_weights(checkpoints: Sequence[str], path: str | os.PathLike) -> None:
    """Write the mean of the weights of several checkpoints of one network.

    Raises:
        ValueError: they are of different networks.
    """
    models = [load_weights(c)["model"] for c in checkpoints]
    if any(model.keys() != models[0].keys() for model in models):
        raise ValueError(f"{', '.join(checkpoints)} are of different networks; give one training's")
    mean = {name: sum(m[name].float() for m in models) / len(models) for name in models[0]}
    torch.save({"model": mean}, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config", help="the network; MODEL.RELEASED names the file")
    parser.add_argument("checkpoints", nargs="+", help="written in one training")
    parser.add_argument("--encoder", action="store_true", help="with the frozen encoder")
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="changes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        averaged = os.path.join(temporary, "mean.pth")
        mean_weights(args.checkpoints, averaged)
        config = get_cosal_config(args.config, ["MODEL.WEIGHTS", averaged, *args.opts])
        print(release(config, encoder=args.encoder))
