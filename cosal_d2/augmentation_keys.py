"""Configuration keys of random object clipping and random occlusion, and their checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detectron2.config import CfgNode

FILLS = ("noise", "mean", "background")


def add_augmentation_keys(cfg: CfgNode, CN: type) -> None:
    """Add the keys to ``cfg`` in place; both are off by default."""
    # The paper names random object clipping and random occlusion without any number.
    cfg.INPUT.OBJECT_CROP = CN()
    # Probability that a training picture is cut to a window; 0 turns it off (ours).
    cfg.INPUT.OBJECT_CROP.PROB = 0.0
    # Range of the window's sides over the picture's (ours).
    cfg.INPUT.OBJECT_CROP.SIZES = (0.5, 0.9)
    # Range of the window's width over height, over the picture's (ours).
    cfg.INPUT.OBJECT_CROP.ASPECTS = (0.85, 1.18)
    # The window holds at least this share of a co-salient instance, or nothing of it (ours).
    cfg.INPUT.OBJECT_CROP.MIN_SHARE = 0.5
    # Co-salient instances that the window holds, at least 2 (ours).
    cfg.INPUT.OBJECT_CROP.MIN_OBJECTS = 2

    cfg.INPUT.OCCLUSION = CN()
    # Probability that patches hide parts of a training picture's objects; 0 turns it off (ours).
    cfg.INPUT.OCCLUSION.PROB = 0.0
    # Most patches on a picture (ours).
    cfg.INPUT.OCCLUSION.MAX_PATCHES = 3
    # All patches together hide at most this share of an object's area (ours).
    cfg.INPUT.OCCLUSION.MAX_SHARE = 0.4
    # What a patch shows, drawn for each: "noise", "mean", "background" (ours).
    cfg.INPUT.OCCLUSION.FILLS = FILLS


def check_augmentation_keys(cfg: CfgNode) -> None:
    """Refuse values that no augmentation can be built with.

    Raises:
        ValueError: naming the key and what it may be.
    """
    crop, occlusion = cfg.INPUT.OBJECT_CROP, cfg.INPUT.OCCLUSION
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
    }
    for key, (usable, wanted) in rules.items():
        if not usable:
            group, name = key.split(".")
            raise ValueError(f"INPUT.{key} is {cfg.INPUT[group][name]!r}; make it {wanted}")


def _is_range(values: tuple[float, ...], most: float = float("inf")) -> bool:
    return len(values) == 2 and 0 < values[0] <= values[1] <= most
