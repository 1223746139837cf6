"""Which values of the keys can be built, and which devices are here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosal_d2.config.choices import BEST_METRICS, DTYPES, FILLS, MASK_GROUPS, MEASURES, OPTIMIZERS

if TYPE_CHECKING:
    from detectron2.config import CfgNode


def check_config(cfg: CfgNode) -> None:
    """Refuse combinations that cannot be built, naming the key and the fix.

    Raises:
        ValueError: see the message.
    """
    if cfg.MODEL.DTYPE not in DTYPES:
        raise ValueError(f"MODEL.DTYPE is {cfg.MODEL.DTYPE!r}; use one of {', '.join(DTYPES)}")
    if cfg.SOLVER.OPTIMIZER not in OPTIMIZERS:
        raise ValueError(
            f"SOLVER.OPTIMIZER is {cfg.SOLVER.OPTIMIZER!r}; use one of {', '.join(OPTIMIZERS)}"
        )
    if cfg.TEST.MEASURES not in MEASURES:
        raise ValueError(
            f"TEST.MEASURES is {cfg.TEST.MEASURES!r}; use one of {', '.join(MEASURES)}"
        )
    if cfg.TEST.BEST_METRIC not in ("", *BEST_METRICS):
        raise ValueError(
            f"TEST.BEST_METRIC is {cfg.TEST.BEST_METRIC!r}; use one of {', '.join(BEST_METRICS)}, "
            'or "" for none'
        )
    if cfg.SOLVER.GRADIENT_PARTS < 1 or cfg.SOLVER.CHECKPOINTS_KEPT < 0:
        raise ValueError(
            f"SOLVER.GRADIENT_PARTS is {cfg.SOLVER.GRADIENT_PARTS}, to be 1 or more, and "
            f"SOLVER.CHECKPOINTS_KEPT {cfg.SOLVER.CHECKPOINTS_KEPT}, to be 0 or more"
        )
    if cfg.MODEL.RFM.SAMPLER and not cfg.MODEL.FEATURE_SENSITIVE.ENABLED:
        raise ValueError(
            "MODEL.RFM.SAMPLER needs the feature-sensitive block, which it trains: set "
            'MODEL.FEATURE_SENSITIVE.ENABLED True, or MODEL.RFM.SAMPLER ""'
        )
    _check_grouping(cfg)
    if cfg.MODEL.RPN.BBOX_REG_LOSS_TYPE != "smooth_l1":
        raise ValueError(
            f"MODEL.RPN.BBOX_REG_LOSS_TYPE is {cfg.MODEL.RPN.BBOX_REG_LOSS_TYPE!r}; regions are "
            'ranked by "smooth_l1" (eq. 8), so use that'
        )
    if cfg.SOLVER.AMP.ENABLED:
        raise ValueError("SOLVER.AMP.ENABLED is not used here: set MODEL.DTYPE and leave it False")
    decoder = cfg.MODEL.DECODER
    lengths = {key: len(decoder[key]) for key in ("CHANNELS", "NUM_CONVS", "SKIP_CHANNELS")}
    if decoder.SKIPS:
        lengths["SKIPS"] = len(decoder.SKIPS)
    if len(set(lengths.values())) != 1:
        raise ValueError(f"MODEL.DECODER's lists need one entry a level each, but have {lengths}")
    _check_augmentations(cfg)


def check_device(name: str) -> None:
    """Refuse a device that is not here.

    Raises:
        ValueError: see the message.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name}: torch knows no such device; use cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name}: torch finds no GPU here; use cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {name}: torch finds {torch.cuda.device_count()} here; they count from cuda:0"
        )


def _check_grouping(cfg: CfgNode) -> None:
    keys = cfg.MODEL.GROUPING
    if not keys.ENABLED:
        return
    if cfg.MODEL.RFM.SAMPLER in ("", "OfflineSampler"):
        raise ValueError(
            "MODEL.GROUPING compares RPN's regions, which MODEL.RFM.SAMPLER "
            f'"{cfg.MODEL.RFM.SAMPLER}" does without: set "OnlineSampler", or '
            "MODEL.GROUPING.ENABLED False"
        )
    if keys.MASK_LATERAL < 1 or keys.MASK_LATERAL % MASK_GROUPS:
        raise ValueError(
            f"MODEL.GROUPING.MASK_LATERAL is {keys.MASK_LATERAL}; use a multiple of {MASK_GROUPS}"
        )
    if keys.ODD_COLOUR_WEIGHT < 0:
        raise ValueError(
            f"MODEL.GROUPING.ODD_COLOUR_WEIGHT is {keys.ODD_COLOUR_WEIGHT}; use 0.0 or more"
        )


def _check_augmentations(cfg: CfgNode) -> None:
    """Refuse values that no augmentation can be built with.

    Raises:
        ValueError: naming the key and what it may be.
    """
    crop, occlusion, composites = (
        cfg.INPUT[group] for group in ("OBJECT_CROP", "OCCLUSION", "COMPOSITES")
    )
    rules = {
        "OBJECT_CROP.PROB": (0 <= crop.PROB <= 1, "a probability"),
        "OBJECT_CROP.SIZES": (_is_range(crop.SIZES, 1), "a range (low, high) inside (0, 1]"),
        "OBJECT_CROP.ASPECTS": (_is_range(crop.ASPECTS), "a range (low, high) above 0"),
        "OBJECT_CROP.MIN_SHARE": (0 < crop.MIN_SHARE <= 1, "above 0 and at most 1"),
        "OBJECT_CROP.MIN_OBJECTS": (crop.MIN_OBJECTS >= 2, "2 or more"),
        "OCCLUSION.PROB": (0 <= occlusion.PROB <= 1, "a probability"),
        "OCCLUSION.MAX_PATCHES": (occlusion.MAX_PATCHES >= 1, "1 or more"),
        "OCCLUSION.MAX_SHARE": (0 < occlusion.MAX_SHARE < 1, "between 0 and 1"),
        "OCCLUSION.FILLS": (
            bool(occlusion.FILLS) and set(occlusion.FILLS) <= set(FILLS),
            f"a list of some of {', '.join(FILLS)}",
        ),
        "COMPOSITES.PROB": (0 <= composites.PROB <= 1, "a probability"),
        "COMPOSITES.NO_GROUP": (0 <= composites.NO_GROUP <= 1, "a share, 0 to 1"),
        "COMPOSITES.TWO_GROUPS": (0 <= composites.TWO_GROUPS <= 1, "a share, 0 to 1"),
        "COMPOSITES.PASTE_PROB": (0 <= composites.PASTE_PROB <= 1, "a probability"),
        "COMPOSITES.OBJECTS": (
            _are_counts(composites.OBJECTS, 2),
            "a range (low, high) of 2 to 12 objects",
        ),
        "COMPOSITES.DISTRACTORS": (
            _are_counts(composites.DISTRACTORS, 0),
            "a range (low, high) of 0 to 12 objects",
        ),
    }
    for key, (usable, wanted) in rules.items():
        if not usable:
            group, name = key.split(".")
            raise ValueError(f"INPUT.{key} is {cfg.INPUT[group][name]!r}; make it {wanted}")


def _is_range(values: tuple[float, ...], most: float = float("inf")) -> bool:
    return len(values) == 2 and 0 < values[0] <= values[1] <= most


def _are_counts(values: tuple[int, ...], least: int) -> bool:
    whole = all(isinstance(value, int) for value in values)
    return whole and len(values) == 2 and least <= values[0] <= values[1] <= 12
