"""Datasets, mapper and loaders. Importing this registers the datasets under
$DETECTRON2_DATASETS."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cosal_d2 import _light

if TYPE_CHECKING:
    from cosal_d2.data.build import build_cosal_train_loader
    from cosal_d2.data.datasets import register_all_cosal, register_cosal_instances
    from cosal_d2.data.images import read_image
    from cosal_d2.data.mapper import CoSaliencyMapper

__all__ = [
    "CoSaliencyMapper",
    "build_cosal_train_loader",
    "read_image",
    "register_all_cosal",
    "register_cosal_instances",
]
_HOMES = {
    "CoSaliencyMapper": "mapper",
    "build_cosal_train_loader": "build",
    "read_image": "images",
    "register_all_cosal": "datasets",
    "register_cosal_instances": "datasets",
}


def _load() -> None:
    import_module("cosal_d2._checked")
    for name, home in _HOMES.items():
        globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    globals()["register_all_cosal"]()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _load()
    return globals()[name]


if not _light.is_lazy():
    _load()
