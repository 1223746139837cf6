"""The rows of Table 2 that this project makes: their networks, trainings and maps."""

from __future__ import annotations

import hashlib
import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from cosal_d2.config import get_cosal_config
from cosal_d2.data.datasets import dataset_name
from cosal_d2.engine.checkpoint import GROUPING_PART, RPN_PART, TEST_TIME_PARTS
from cosal_d2.paper.classical import METHODS
from cosal_d2.paper.lfm.networks import LFM
from cosal_d2.paper.method_maps import (
    network_digest,
    weights_digest,
    write_baseline_maps,
    write_maps,
    write_network_maps,
)
from cosal_d2.paper.onnx_saliency import OnnxSaliency
from cosal_d2.paper.trainings import check_settings, has_diverged, scale_schedule, train_in_folder

logger = logging.getLogger(__name__)

# As in Table 1's columns, distractors are no objects to RPN where nothing groups them.
PLAIN = (
    *("MODEL.RELEASED", "", "MODEL.GROUPING.ENABLED", "False"),
    *("MODEL.RPN.DISTRACTORS_AS_OBJECTS", "False"),
)
OFFLINE = (*PLAIN, "MODEL.RFM.SAMPLER", "OfflineSampler")
# Shipped config and config changes of the rows that are networks of this project.
NETWORKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "U-Net": ("cosal_vgg16_unet.yaml", ()),
    "RFCN": ("methods/rfcn.yaml", ()),
    "PiCANet": ("methods/picanet.yaml", ()),
    "DCL": ("methods/dcl.yaml", ()),
    "CPFE": ("methods/cpfe.yaml", ()),
    "ours-offline": ("cosal_vgg16.yaml", OFFLINE),
    "ours-online": ("cosal_vgg16.yaml", PLAIN),
    "ours-grouping": ("cosal_vgg16.yaml", ()),
}
LFM_NETWORKS = ("DCL", "ours-online")  # whose saliency and whose regions LFM takes
FINAL = "model_final.pth"


@dataclass(frozen=True)
class Network:
    """A row that is a network.

    Attributes:
        cfg: with its weights, if there are any.
        file: name of its config.
        missing: why it has no weights; "" where it has some.
        training: how it was trained here; "" where it was not.
    """

    cfg: CfgNode
    file: str
    missing: str = ""
    training: str = ""


@dataclass(frozen=True)
class RowMaps:
    """The maps of a row on a dataset.

    Attributes:
        folder: None where there are none.
        origin: what made them, or what is missing.
        parameters: of the network, None where the row is none.
    """

    folder: Path | None
    origin: str
    parameters: int | None = None


def load_networks(
    weights: Mapping[str, str],
    configs: Mapping[str, str],
    opts: Sequence[str] = (),
    base_opts: Sequence[str] = (),
) -> dict[str, Network]:
    """The networks of ``NETWORKS``.

    Args:
        weights: checkpoint files, by row.
        configs: config files, by row, where not the shipped ones.
        opts: config changes of all.
        base_opts: config changes of all that a row's own come after.
    """
    networks = {}
    for row, (shipped, changes) in NETWORKS.items():
        file, own = (configs[row], ()) if row in configs else (shipped, changes)
        given = ["MODEL.WEIGHTS", weights.get(row, "")]
        cfg = get_cosal_config(file, [*base_opts, *own, *given, *opts])
        train = shlex.join(["cosal", "train", "--config-file", shipped, *changes])
        missing = ""
        if not (cfg.MODEL.WEIGHTS or cfg.MODEL.RELEASED):
            missing = f"it has no weights: `--train ITERATIONS` trains them here, `{train}` alone, "
            missing += f"and `--weights {row}=FILE` takes them"
        networks[row] = Network(cfg, Path(file).name, missing)
    return networks


def check_rows(networks: Mapping[str, Network], onnx: Mapping[str, str]) -> None:
    """Find before the first training, which takes hours, what would end the table after it.

    Raises:
        FileNotFoundError: a weights or ONNX file is missing.
        ValueError: a network cannot be built, or a file is no ONNX file that can be used.
        ImportError: a package that a network or an ONNX file needs is missing.
    """
    for network in networks.values():
        _build(network.cfg)
        if not network.missing:
            weights_digest(network.cfg)
    for file in onnx.values():
        OnnxSaliency(file)


def train_networks(
    networks: Mapping[str, Network], iterations: int, data: Sequence[str], work: Path
) -> dict[str, Network]:
    """Train the networks without weights, all for the same number of iterations, each in
    ``WORK/trainings/ROW``; what is finished there is taken, and what was stopped goes on.

    Args:
        networks: all rows.
        iterations: of each training; schedules are scaled to it.
        data: training datasets; empty for each config's own.
        work: the folder.

    Returns:
        the rows, with what was trained as weights.

    Raises:
        ValueError: a training in the folder has other settings, or the data are unusable.
    """
    names = tuple(dataset_name(name) for name in data)
    configs = {}
    for row, network in networks.items():
        if not network.missing:
            continue
        cfg = network.cfg.clone()
        cfg.DATASETS.TRAIN = names or cfg.DATASETS.TRAIN
        cfg.DATASETS.TEST, cfg.TEST.TRIPLET_PROBE_IMAGES = (), 0  # its maps are scored, as all are
        scale_schedule(cfg, iterations)
        folder = work / "trainings" / row
        cfg.OUTPUT_DIR = str(folder)
        check_settings(cfg, (folder / FINAL).is_file() or has_diverged(folder))
        configs[row] = folder, cfg
    trained = dict(networks)
    for row, (folder, cfg) in configs.items():
        if not ((folder / FINAL).is_file() or has_diverged(folder)):
            logger.info("training %s for %d iterations", folder, iterations)
            train_in_folder(cfg)
        if has_diverged(folder):
            trained[row] = replace(trained[row], missing="its training diverged")
            continue
        own = trained[row].cfg.clone()
        own.MODEL.WEIGHTS = str(folder / FINAL)
        used = ", ".join(Path(name).stem for name in cfg.DATASETS.TRAIN)
        training = f" trained for {iterations} iterations on {used},"
        trained[row] = replace(trained[row], cfg=own, missing="", training=training)
    return trained


def make_maps(
    row: str,
    dataset: str,
    work: Path,
    networks: Mapping[str, Network],
    onnx: Mapping[str, str],
    workers: int | None,
    progress: bool,
) -> RowMaps:
    """Make the maps of a row that are not there yet, in a folder of its own in ``WORK``.

    Raises:
        ValueError: weights do not fit, or data are unusable.
        FileNotFoundError: weights or pictures are missing.
    """
    if row in METHODS:
        write_baseline_maps(row, dataset, work / row, workers=workers, progress=progress)
        return RowMaps(work / row, f"`cosal paper baselines {row}`, seed 0")
    if row in onnx:
        return _onnx_row(row, onnx[row], dataset, work, progress)
    if row == "LFM":
        return _lfm_row(networks, dataset, work, progress)
    network = networks[row]
    if network.missing:
        return RowMaps(None, network.missing)
    out = work / f"{row}-{network_digest(network.cfg)[:8]}"
    try:
        write_network_maps(network.cfg, dataset, out, progress=progress)
    except ValueError as error:
        raise ValueError(f"{row}: {error}") from error
    digest = weights_digest(network.cfg)[:12]
    origin = f"`{network.file}`,{network.training} weights of sha256 {digest}"
    return RowMaps(out, origin, count_parameters(network.cfg))


def _lfm_row(networks: Mapping[str, Network], dataset: str, work: Path, progress: bool) -> RowMaps:
    saliency, regions = (networks[name] for name in LFM_NETWORKS)
    if saliency.missing or regions.missing:
        return RowMaps(None, f"it needs the weights of {' and '.join(LFM_NETWORKS)}")
    digests = [network_digest(network.cfg) for network in (saliency, regions)]
    settings = {"method": "LFM", "saliency": digests[0], "regions": digests[1]}
    out = work / f"LFM-{hashlib.sha256(''.join(digests).encode()).hexdigest()[:8]}"
    write_maps(settings, lambda: LFM(saliency.cfg, regions.cfg), dataset, out, progress=progress)
    sizes = count_parameters(saliency.cfg) + count_parameters(regions.cfg, (RPN_PART,))
    origin = f"saliency of the row {LFM_NETWORKS[0]}, RPN's regions of the row {LFM_NETWORKS[1]}"
    return RowMaps(out, origin, sizes)


def _onnx_row(row: str, file: str, dataset: str, work: Path, progress: bool) -> RowMaps:
    network = OnnxSaliency(file)
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    out = work / f"{row}-{digest[:8]}"
    write_maps({"onnx": digest}, lambda: network, dataset, out, progress=progress)
    origin = f"`{Path(file).name}` of sha256 {digest[:12]}, 320x320 pixels, on the CPU"
    return RowMaps(out, origin, network.parameters)


def count_parameters(cfg: CfgNode, further: tuple[str, ...] = ()) -> int:
    """How many parameters of a network work at test time, frozen ones too, and those of
    ``further`` parts."""
    parts = TEST_TIME_PARTS + further
    if cfg.MODEL.GROUPING.ENABLED:
        parts += (RPN_PART, GROUPING_PART)
    named = _build(cfg).named_parameters()
    return sum(value.numel() for name, value in named if name.startswith(parts))


def _build(cfg: CfgNode) -> nn.Module:
    """A network without its weights."""
    cfg = cfg.clone()
    cfg.MODEL.BACKBONE.WEIGHTS = ""
    return build_model(cfg)
