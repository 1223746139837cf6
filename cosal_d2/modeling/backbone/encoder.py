"""Any Detectron2 backbone as the encoder: which of its features the network takes, and the weights
that it starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from detectron2.utils.file_io import PathManager
from torch import nn

import cosal_d2.modeling.backbone.released as _  # noqa: F401  (cosal:// on the PathManager)
from cosal_d2.modeling.backbone import vgg_weights
from cosal_d2.modeling.backbone.vgg_weights import EncoderWeightsError
from cosal_d2.modeling.backbone.weight_files import (
    is_pickle,
    load_arrays,
    load_pickled_arrays,
    load_weights,
)

TOP_STRIDE = 16
ENCODER_PREFIX = "backbone."  # of the encoder's weights in a whole network's file


def top_feature(shapes: Mapping[str, ShapeSpec]) -> str:
    """Name of H: the coarsest of the encoder's features with a stride of at most 16.

    Raises:
        ValueError: there is none.
    """
    names = [name for name, shape in shapes.items() if shape.stride <= TOP_STRIDE]
    if not names:
        raise ValueError(
            f"MODEL.BACKBONE.NAME: the encoder gives {sorted(shapes)}, none at a stride of "
            f"{TOP_STRIDE} or less; name finer ones in its OUT_FEATURES"
        )
    return max(names, key=lambda name: shapes[name].stride)


def finer_features(shapes: Mapping[str, ShapeSpec]) -> tuple[str, ...]:
    """Names of the features below H, coarse to fine: what the decoder fuses by default."""
    top = shapes[top_feature(shapes)].stride
    names = [name for name, shape in shapes.items() if shape.stride < top]
    return tuple(sorted(names, key=lambda name: -shapes[name].stride))


def region_features(shapes: Mapping[str, ShapeSpec]) -> tuple[str, ...]:
    """Names of the features at strides 4 to 16, fine to coarse: what regions get their masks from
    and are compared by, by default."""
    names = [name for name, shape in shapes.items() if 4 <= shape.stride <= TOP_STRIDE]
    return tuple(sorted(names, key=lambda name: shapes[name].stride))


def check_features(key: str, names: Iterable[str], shapes: Mapping[str, ShapeSpec]) -> None:
    """Make sure that the encoder gives the features that a key names.

    Raises:
        ValueError: naming the key, the feature and those that there are.
    """
    for name in names:
        if name not in shapes:
            raise ValueError(f"{key} names {name!r}; the encoder has {sorted(shapes)}")


def load_encoder(backbone: nn.Module, uri: str, allow_pickle: bool = False) -> set[str]:
    """Load the weights that ``MODEL.BACKBONE.WEIGHTS`` names.

    Args:
        backbone: the encoder.
        uri: ``vgg16://imagenet``, or a path or PathManager URI of a state dict in the encoder's
            names (FPN's may lack their ``bottom_up.``) or of a network that holds it:
            ``.safetensors``, ``.pth`` or ``.pt``, ``.npz``, or a ``.pkl`` of numpy arrays, as
            ``detectron2://ImageNetPretrained/MSRA/R-50.pkl``; "" leaves the encoder as it was
            initialised.
        allow_pickle: whether it may be a ``.pkl``; what is no numpy array in it is refused.

    Returns:
        names in the encoder's state dict of what does not learn and came from the file, so that no
        checkpoint has to hold it.

    Raises:
        EncoderWeightsError: the file cannot be had or read, has nothing of this encoder, or lacks a
            frozen weight.
    """
    if not uri:
        return set()
    try:
        if uri.startswith(vgg_weights.PREFIX):
            loaded, caffe_names = vgg_weights.load_imagenet(uri), False
        else:
            loaded, caffe_names = _read(Path(PathManager.get_local_path(uri)), allow_pickle)
        inside = {
            name.removeprefix(ENCODER_PREFIX): value
            for name, value in loaded.items()
            if name.startswith(ENCODER_PREFIX)
        }
        loaded = inside or loaded
        own = backbone.state_dict()
        found = align_and_update_state_dicts(own, loaded, c2_conversion=caffe_names)
        found = {k: found[k] for k in own if k in found}
        if not found:
            raise ValueError("it holds nothing of this encoder (MODEL.BACKBONE.NAME)")
        if caffe_names:  # there a batch norm's statistics are part of its weight and bias
            found = {k: v for k, v in own.items() if ".norm.running_" in k} | found
        backbone.load_state_dict(found, strict=False)
    except EncoderWeightsError:
        raise
    except Exception as error:  # each kind of file fails in its own ways
        raise EncoderWeightsError(f"MODEL.BACKBONE.WEIGHTS: {uri}: {error}") from error
    frozen = frozen_names(backbone)
    lost = sorted(frozen - found.keys())
    if lost:
        raise EncoderWeightsError(
            f"MODEL.BACKBONE.WEIGHTS: {uri} lacks {lost[0]} and {len(lost) - 1} others that are "
            "frozen (MODEL.BACKBONE.FREEZE_AT); give the weights of this encoder"
        )
    return frozen


def frozen_names(module: nn.Module) -> set[str]:
    """Names in the state dict of what training leaves as it is: parameters without gradient, and
    the statistics of frozen batch norms."""
    names = {name for name, p in module.named_parameters() if not p.requires_grad}
    for prefix, part in module.named_modules():
        if isinstance(part, FrozenBatchNorm2d):
            names.update(f"{prefix}.{name}" for name, _ in part.named_buffers())
    return names


def _read(path: Path, allow_pickle: bool) -> tuple[dict[str, torch.Tensor], bool]:
    """A state dict in float32, and whether it has Caffe2's names, as Detectron2's own files."""
    if path.suffix == ".npz":
        loaded = load_arrays(path)
    elif not is_pickle(path):
        loaded = load_weights(path)
    elif allow_pickle:
        loaded = load_pickled_arrays(path)
    else:
        raise ValueError(
            "it is a pickle, a kind of file that can hold code: set MODEL.BACKBONE.ALLOW_PICKLE "
            "True to load the numpy arrays in it and nothing else, or give .safetensors, .npz or "
            ".pth"
        )
    caffe_names = is_pickle(path) and "__author__" not in loaded
    state = {
        name: torch.as_tensor(value).float()
        for name, value in loaded.get("model", loaded).items()
        if isinstance(value, (np.ndarray, torch.Tensor))
    }
    return state, caffe_names
