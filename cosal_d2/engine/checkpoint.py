"""Checkpoints, and the released files."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.file_io import PathManager

import cosal_d2.modeling as _  # noqa: F401  (registers the network)
from cosal_d2.modeling.backbone.encoder import ENCODER_PREFIX, load_encoder
from cosal_d2.modeling.backbone.released import RELEASED_PREFIX
from cosal_d2.modeling.backbone.weight_files import is_pickle, load_weights
from cosal_d2.utils.files import write_bytes, write_text

TEST_TIME_PARTS = ("backbone.", "feature_sensitive.", "decoder.")
RPN_PART, GROUPING_PART = "proposal_generator.", "grouping."

logger = logging.getLogger(__name__)


class CoSaliencyCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer for plain types only, written atomically.

    Frozen weights that ``MODEL.BACKBONE.WEIGHTS`` gives when the network is built are not written;
    a file may hold them.

    Attributes:
        partial: whether weights may lack parts that learn, as those that a training starts from
            may.
    """

    partial = False

    def save(self, name: str, **kwargs) -> None:
        """Write ``name``.pth: the weights, the checkpointables, and plain ``kwargs``.

        Raises:
            OSError: the file cannot be written; the former one of its name stays.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": own_state_dict(self.model)}
        data.update({key: obj.state_dict() for key, obj in self.checkpointables.items()})
        data.update(kwargs)
        path = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", path)
        content = io.BytesIO()  # torch.save would hide why a file cannot be written
        torch.save(data, content)
        write_bytes(Path(path), content.getbuffer())
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
        write_text(Path(self.save_dir, "last_checkpoint"), last_filename_basename)

    def _load_file(self, filename: str) -> dict:
        if is_pickle(filename) or filename.endswith(".pyth"):
            raise ValueError(
                f"{filename}: pickled files are not loaded; give a .pth or .safetensors file (an "
                "encoder's .pkl is MODEL.BACKBONE.WEIGHTS)"
            )
        return super()._load_file(filename)

    def _torch_load(self, filename: str) -> dict:
        try:
            return load_weights(filename)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{filename} is not a checkpoint of plain types: {reason}") from error

    def _load_model(self, checkpoint: dict):
        model = getattr(self.model, "module", self.model)
        # FrozenBatchNorm2d resets statistics that a file lacks: what was given is loaded again.
        given = {k: v for k, v in model.state_dict().items() if k in model.given_weights}
        checkpoint["model"] = given | checkpoint["model"]
        incompatible = super()._load_model(checkpoint)
        missing = incompatible.missing_keys
        if incompatible.incorrect_shapes:
            key, found, wanted = incompatible.incorrect_shapes[0]
            raise ValueError(
                f"the weights do not fit the config: {key} is {tuple(found)} in the file and "
                f"{tuple(wanted)} in the network; use the config they were trained with"
            )
        if self.partial and len(missing) == len(own_state_dict(model)):
            raise ValueError(
                "the weights hold nothing of this network: set MODEL.WEIGHTS to a checkpoint of "
                "this project (the encoder's weights are MODEL.BACKBONE.WEIGHTS)"
            )
        if self.partial:
            return incompatible
        needed = TEST_TIME_PARTS
        if model.grouping is not None:
            needed += (RPN_PART, GROUPING_PART)
        lost = [k for k in missing if k.startswith(needed)]
        if lost:
            hint = "use the config they were trained with"
            if lost[0].startswith(ENCODER_PREFIX):
                hint += ", or set MODEL.BACKBONE.WEIGHTS to the encoder's weights"
            raise ValueError(
                f"the weights do not fit the config: {lost[0]} and {len(lost) - 1} others are not "
                f"in the file; {hint}"
            )
        stray = [k for k in incompatible.unexpected_keys if k.startswith(GROUPING_PART)]
        if stray and model.grouping is not None:
            raise ValueError(
                f"the weights do not fit the network: {stray[0]} and {len(stray) - 1} others, of "
                "an earlier form of the grouping, have no place in it; train on from them "
                "(MODEL.WEIGHTS of a training), or use the version that they were trained with"
            )
        return incompatible


def own_state_dict(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The model's state dict without the frozen weights that the encoder's own file gives."""
    model = getattr(model, "module", model)
    return {k: v for k, v in model.state_dict().items() if k not in model.given_weights}


def load_network(cfg: CfgNode) -> torch.nn.Module:
    """The network of a config in eval mode, with :func:`released_weights`.

    Where the file holds the whole encoder, ``MODEL.BACKBONE.WEIGHTS`` is not looked for.

    Raises:
        FileNotFoundError, ValueError: there are no such weights, or they do not fit.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = released_weights(cfg)
    encoder, cfg.MODEL.BACKBONE.WEIGHTS = cfg.MODEL.BACKBONE.WEIGHTS, ""
    model = build_model(cfg).eval()
    needed = {ENCODER_PREFIX + name for name in model.backbone.state_dict()}
    if not needed <= weight_names(cfg.MODEL.WEIGHTS):
        given = load_encoder(model.backbone, encoder, cfg.MODEL.BACKBONE.ALLOW_PICKLE)
        model.given_weights = frozenset(ENCODER_PREFIX + name for name in given)
    CoSaliencyCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    logger.info("weights: %s", cfg.MODEL.WEIGHTS)
    return model


def weight_names(path: str) -> set[str]:
    """Names of the weights in a checkpoint; none where the checkpointer will refuse it."""
    if not PathManager.isfile(path):
        return set()
    try:
        content = load_weights(PathManager.get_local_path(path))
        return set(content.get("model", content))
    except Exception:  # the checkpointer says what is wrong with it
        return set()


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
