"""Checkpoints of the trainable part, and the released files."""

from __future__ import annotations

import hashlib
import json
import os

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager
from iopath.common.file_io import PathHandler

ENCODER_PREFIX = "backbone."
TEST_TIME_PARTS = ("feature_sensitive.", "decoder.")
RPN_PART, GROUPING_PART = "proposal_generator.", "grouping."
RELEASED_PREFIX = "cosal://"
RELEASED_FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "released")


class CoSaliencyCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer without the frozen encoder, for plain types only, written
    atomically.

    The encoder is loaded when the model is built, from ``MODEL.VGG.WEIGHTS``.

    Attributes:
        partial: whether weights may lack parts that learn, as those that a training starts from
            may.
    """

    partial = False

    def save(self, name: str, **kwargs) -> None:
        """Write ``name``.pth: the trainable part, the checkpointables, and plain ``kwargs``."""
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": trainable_state_dict(self.model)}
        data.update({key: obj.state_dict() for key, obj in self.checkpointables.items()})
        data.update(kwargs)
        path = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", path)
        save_atomically(data, path)
        self.tag_last_checkpoint(f"{name}.pth")

    def load(self, path: str, *args, **kwargs) -> dict:
        """Load a checkpoint or a released file; ``cosal://NAME`` names a released one.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is not a checkpoint of plain types, or does not fit the network.
        """
        if path and not self.path_manager.isfile(path):
            raise FileNotFoundError(f"no weights at {path}: set MODEL.WEIGHTS to a checkpoint file")
        try:
            return super().load(path, *args, **kwargs)
        finally:
            # Detectron2 leaves it set after an error and then refuses the next load.
            self._parsed_url_during_load = None

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Name the newest checkpoint in ``last_checkpoint``, atomically."""
        path = os.path.join(self.save_dir, "last_checkpoint")
        with open(f"{path}.tmp", "w") as f:
            f.write(last_filename_basename)
        os.replace(f"{path}.tmp", path)

    def _load_file(self, filename: str) -> dict:
        if filename.endswith((".pkl", ".pyth")):
            raise ValueError(f"{filename}: pickled files are not loaded; give a .pth checkpoint")
        return super()._load_file(filename)

    def _torch_load(self, filename: str) -> dict:
        try:
            with PathManager.open(filename, "rb") as f:
                return torch.load(f, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(f"{filename} is not a checkpoint of plain types: {error}") from error

    def _load_model(self, checkpoint: dict):
        incompatible = super()._load_model(checkpoint)
        missing = incompatible.missing_keys
        missing[:] = [k for k in missing if not k.startswith(ENCODER_PREFIX)]
        if incompatible.incorrect_shapes:
            key, found, wanted = incompatible.incorrect_shapes[0]
            raise ValueError(
                f"the weights do not fit the config: {key} is {tuple(found)} in the file and "
                f"{tuple(wanted)} in the network; use the config they were trained with"
            )
        if self.partial and len(missing) == len(trainable_state_dict(self.model)):
            raise ValueError(
                "the weights hold nothing of this network: set MODEL.WEIGHTS to a checkpoint of "
                "this project (the encoder's weights are MODEL.VGG.WEIGHTS)"
            )
        lost = [k for k in missing if k.startswith(self._needed())]
        if lost:
            raise ValueError(
                f"the weights do not fit the config: {lost[0]} and {len(lost) - 1} others are not "
                "in the file; use the config they were trained with"
            )
        stray = [k for k in incompatible.unexpected_keys if k.startswith(GROUPING_PART)]
        if stray and getattr(self.model, "grouping", None) is not None and not self.partial:
            raise ValueError(
                f"the weights do not fit the network: {stray[0]} and {len(stray) - 1} others, of "
                "an earlier form of the grouping, have no place in it; train on from them "
                "(MODEL.WEIGHTS of a training), or use the version that they were trained with"
            )
        return incompatible

    def _needed(self) -> tuple[str, ...]:
        """Prefixes of what a file has to hold."""
        if self.partial and not getattr(self.model, "train_alone", False):
            return ()
        if getattr(self.model, "grouping", None) is None:
            return TEST_TIME_PARTS
        new = () if self.partial else (GROUPING_PART,)
        return (*TEST_TIME_PARTS, RPN_PART, *new)


def trainable_state_dict(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The model's state dict without the encoder."""
    model = getattr(model, "module", model)
    return {k: v for k, v in model.state_dict().items() if not k.startswith(ENCODER_PREFIX)}


def save_atomically(data: dict, path: str) -> None:
    """``torch.save`` to a temporary file beside ``path``, then rename."""
    temporary = f"{path}.tmp{os.getpid()}"
    try:
        with PathManager.open(temporary, "wb") as f:
            torch.save(data, f)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def released_weights(cfg: CfgNode) -> str:
    """What ``MODEL.WEIGHTS`` means for inference: itself, or the file that the config names.

    Raises:
        ValueError: both are empty.
    """
    if cfg.MODEL.WEIGHTS:
        return cfg.MODEL.WEIGHTS
    if cfg.MODEL.RELEASED:
        return RELEASED_PREFIX + cfg.MODEL.RELEASED
    raise ValueError(
        "MODEL.WEIGHTS is empty and this config has no released weights (MODEL.RELEASED): give a "
        "checkpoint with MODEL.WEIGHTS output/model_final.pth"
    )


class ReleasedHandler(PathHandler):
    """``cosal://NAME`` on Detectron2's PathManager: a released file, checked by its sha256."""

    def _get_supported_prefixes(self) -> list[str]:
        return [RELEASED_PREFIX]

    def _get_local_path(self, path: str, force: bool = False, **kwargs) -> str:
        name = path[len(RELEASED_PREFIX) :]
        local = os.path.join(RELEASED_FOLDER, name)
        with open(os.path.join(RELEASED_FOLDER, "released.json")) as f:
            known = json.load(f)
        if name not in known or not os.path.isfile(local):
            raise FileNotFoundError(
                f"no released weights {name!r}; there are: {', '.join(sorted(known)) or 'none'}"
            )
        with open(local, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        if digest != known[name]["sha256"]:
            raise ValueError(f"{local} is damaged: its sha256 is {digest}; reinstall cosal_d2")
        return local

    def _isfile(self, path: str, **kwargs) -> bool:
        return os.path.isfile(os.path.join(RELEASED_FOLDER, path[len(RELEASED_PREFIX) :]))

    def _exists(self, path: str, **kwargs) -> bool:
        return self._isfile(path)

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs):
        return open(self._get_local_path(path), mode, buffering)


PathManager.register_handler(ReleasedHandler(), allow_override=True)
