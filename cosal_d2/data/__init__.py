"""Datasets, mapper and loaders. Importing this registers the datasets under
$DETECTRON2_DATASETS."""

from cosal_d2.utils.requirements import require_detectron2

require_detectron2()

from cosal_d2.data.build import build_cosal_train_loader
from cosal_d2.data.datasets import register_all_cosal, register_cosal_instances
from cosal_d2.data.mapper import CoSaliencyMapper

register_all_cosal()

__all__ = [
    "CoSaliencyMapper",
    "build_cosal_train_loader",
    "register_all_cosal",
    "register_cosal_instances",
]
