"""The config: its keys, its files and what is checked of it."""

from .checks import check_config, check_device
from .choices import (
    BEST_METRICS,
    DEFAULT_CONFIG,
    DTYPES,
    FILLS,
    LOWER_IS_BETTER,
    MASK_GROUPS,
    MEASURES,
    OPTIMIZERS,
    RESULTS,
)
from .files import config_folder, find_config, get_cosal_config, shipped_configs
from .keys import add_cosal_config

__all__ = [
    "BEST_METRICS",
    "DEFAULT_CONFIG",
    "DTYPES",
    "FILLS",
    "LOWER_IS_BETTER",
    "MASK_GROUPS",
    "MEASURES",
    "OPTIMIZERS",
    "RESULTS",
    "add_cosal_config",
    "check_config",
    "check_device",
    "config_folder",
    "find_config",
    "get_cosal_config",
    "shipped_configs",
]
