"""Configs: the shipped ones, and how one is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cosal_d2.config.checks import check_config, check_device
from cosal_d2.config.keys import add_cosal_config
from cosal_d2.utils.requirements import require_detectron2

if TYPE_CHECKING:
    from detectron2.config import CfgNode


def get_cosal_config(config_file: str = "", opts: list[str] | None = None) -> CfgNode:
    """Build a config: Detectron2's defaults, cosal_d2's keys, a yaml file, then ``KEY VALUE``
    pairs.

    Args:
        config_file: a path, or the name of a shipped config such as ``"cosal_vgg16.yaml"``. Its
            ``_BASE_`` is a file beside it, or else the shipped config of that name.
        opts: alternating keys and values, as on a Detectron2 command line.

    Raises:
        FileNotFoundError: no such file, and no shipped config of that name.
        ValueError: the file is no yaml, a key is unknown, or has a value that the network cannot be
            built with, or ``opts`` ask for a device that is not here. One that only the file or
            Detectron2's default names becomes the CPU.
    """
    require_detectron2()
    import torch
    import yaml
    from detectron2.config import get_cfg

    cfg = get_cfg()
    add_cosal_config(cfg)
    if config_file:
        config_file = find_config(config_file)
        try:
            cfg.merge_from_other_cfg(_read_config(config_file))
        except (AssertionError, AttributeError, KeyError, ValueError, yaml.YAMLError) as error:
            reason = " ".join(str(error).strip("\"'").split())
            raise ValueError(f"config file {config_file}: {reason}") from error
        _check_is_whole(cfg, config_file)
    for option in opts or []:
        if str(option).startswith("--"):
            raise ValueError(f"{option}: options go before the config changes KEY VALUE ...")
    try:
        cfg.merge_from_list(list(opts or []))
    except (AssertionError, KeyError) as error:
        raise ValueError(f"config changes {' '.join(map(str, opts))}: {error}") from error
    if "MODEL.DEVICE" in list(opts or [])[::2]:
        check_device(cfg.MODEL.DEVICE)
    elif cfg.MODEL.DEVICE == "cuda" and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    check_config(cfg)
    return cfg


def _read_config(path: str) -> CfgNode:
    """The yaml file with its bases; it can hold plain values alone."""
    from detectron2.config import CfgNode

    class Reader(CfgNode):
        @classmethod
        def _open_cfg(cls, filename: str):
            if not os.path.isfile(filename):
                parts = filename.split("/")
                nested = "/".join(parts[-2:])  # of a folder of the shipped ones
                filename = find_config(nested if nested in shipped_configs() else parts[-1])
            return super()._open_cfg(filename)

    return CfgNode(Reader.load_yaml_with_base(path))


def _check_is_whole(cfg: CfgNode, config_file: str) -> None:
    """Refuse a file that leaves the architecture to Detectron2's default.

    Raises:
        ValueError: neither it nor a base of it names one.
    """
    from detectron2.config import get_cfg

    network = cfg.MODEL.META_ARCHITECTURE
    if network == get_cfg().MODEL.META_ARCHITECTURE:
        raise ValueError(
            f"config file {config_file}: MODEL.META_ARCHITECTURE is Detectron2's default, "
            f'{network}: begin the file with _BASE_: "Base-CoSal.yaml", or another config that has '
            "this base (the columns of configs/ablation/ are trained by `cosal paper table1`)"
        )


def find_config(name: str) -> str:
    """Path of a config file given as a path or as the name of a shipped config.

    Raises:
        FileNotFoundError: naming the shipped configs.
    """
    if os.path.isfile(name):
        return name
    shipped = os.path.join(config_folder(), name if name.endswith(".yaml") else name + ".yaml")
    if os.path.isfile(shipped):
        return shipped
    known = ", ".join(shipped_configs())
    raise FileNotFoundError(f"no config file {name!r}; give a path or one of: {known}")


def shipped_configs() -> list[str]:
    """Names of the shipped configs that a command takes, those of the compared methods last."""
    folder = config_folder()
    return [
        f"{prefix}{name}"
        for prefix in ("", "methods/")
        for name in sorted(os.listdir(os.path.join(folder, prefix)))
        if name.endswith(".yaml")
    ]


def config_folder() -> str:
    """The folder of shipped configs: ``configs/`` of a clone, or its copy inside an installed
    wheel."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (os.path.join(os.path.dirname(package), "configs"), f"{package}/configs"):
        if os.path.isfile(os.path.join(folder, "Base-CoSal.yaml")):
            return folder
    raise FileNotFoundError(f"no configs beside or inside {package}: reinstall cosal_d2")
