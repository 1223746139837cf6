"""The rows of the paper's Table 2, with what it printed, and where their maps come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """A row of Table 2.

    Attributes:
        title: as the table shows it.
        own: F, recall, precision and MAE printed in arXiv 1910.11819 for its own 2,019 images.
        sdcs: the same for SDCS.
    """

    title: str
    own: tuple[float, float, float, float]
    sdcs: tuple[float, float, float, float]


ROWS: Mapping[str, Row] = {
    "FT": Row(
        "FT (Achanta et al. 2009)", (0.536, 0.640, 0.461, 0.258), (0.580, 0.530, 0.600, 0.244)
    ),
    "CWS": Row("CWS (Fu et al. 2013)", (0.707, 0.764, 0.658, 0.166), (0.767, 0.700, 0.790, 0.165)),
    "U-Net": Row(
        "U-Net (Ronneberger et al. 2015)",
        (0.824, 0.805, 0.846, 0.096),
        (0.856, 0.762, 0.889, 0.107),
    ),
    "RFCN": Row(
        "RFCN (Wang et al. 2016)", (0.852, 0.858, 0.847, 0.083), (0.883, 0.848, 0.895, 0.083)
    ),
    "PiCANet": Row(
        "PiCANet (Liu et al. 2018)", (0.856, 0.883, 0.830, 0.086), (0.854, 0.841, 0.869, 0.088)
    ),
    "DCL": Row("DCL (Li and Yu 2016)", (0.887, 0.860, 0.916, 0.059), (0.888, 0.844, 0.902, 0.059)),
    "LFM": Row("LFM (Yu et al. 2018)", (0.893, 0.881, 0.907, 0.051), (0.903, 0.850, 0.912, 0.050)),
    "ours-offline": Row(
        "Ours (offline)", (0.892, 0.870, 0.917, 0.050), (0.907, 0.855, 0.924, 0.048)
    ),
    "ours-online": Row("Ours (online)", (0.904, 0.917, 0.892, 0.047), (0.911, 0.865, 0.925, 0.044)),
}
# Shipped config and config changes of the rows that are networks of this project.
NETWORKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "U-Net": ("cosal_vgg16_unet.yaml", ()),
    "ours-offline": (
        "cosal_vgg16_cpu.yaml",
        ("MODEL.RELEASED", "", "MODEL.GROUPING.ENABLED", "False")
        + ("MODEL.RFM.SAMPLER", "OfflineSampler"),
    ),
    "ours-online": ("cosal_vgg16_cpu.yaml", ()),
}


@dataclass(frozen=True)
class Sources:
    """Where maps come from, beside what can be run without being told.

    Attributes:
        maps: folders of finished maps by method; a name that Table 2 lacks becomes a further row.
        weights: checkpoint files of the rows in ``NETWORKS``.
        configs: their configs, where not the shipped ones.
        opts: config changes of all networks.
    """

    maps: Mapping[str, Path]
    weights: Mapping[str, str]
    configs: Mapping[str, str]
    opts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option in ("weights", "configs"):
            for method in getattr(self, option):
                if method not in NETWORKS:
                    raise ValueError(
                        f"--{option.removesuffix('s') if option == 'configs' else option} "
                        f"{method}: not a network of this project; there are "
                        f"{', '.join(NETWORKS)}. Give the maps of others with --maps"
                    )
        for method, folder in self.maps.items():
            if not folder.is_dir():
                raise FileNotFoundError(f"--maps {method}={folder}: no such folder")


@dataclass(frozen=True)
class RowMaps:
    """A row's maps, or why there are none.

    Attributes:
        folder: of the maps; None if the row is not available.
        origin: what made them, or what is missing.
    """

    folder: Path | None
    origin: str
