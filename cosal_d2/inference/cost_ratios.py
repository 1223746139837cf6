"""What a part costs over another in one run: the network over VGG-16's encoder, and an evaluation
over the network."""

from __future__ import annotations

import statistics

import numpy as np
import torch
from detectron2.modeling import build_model
from torch import nn

from cosal_d2.config import get_cosal_config
from cosal_d2.evaluation import Scorer, Truth, TruthObject
from cosal_d2.inference.timing import alternating, median_ratio, passes
from cosal_d2.modeling.backbone.vgg import VGG16
from cosal_d2.modeling.layers import fold_frozen_norms
from cosal_d2.utils.sod_measures import heavy_score


def cost_ratio(config_file: str, height: int, width: int, rounds: int) -> float:
    """Median over rounds of time(network) / time(VGG-16's encoder), float32, batch 1, on the CPU.

    Args:
        config_file: the network; its weights do not matter and are random.
        height, width: of the input, in pixels.
        rounds: how many pairs are timed.
    """
    model, inputs = _random_network(config_file, height, width)
    encoder = VGG16().to(memory_format=torch.channels_last)
    times = alternating(passes(model, encoder, inputs[0]["image"], 1), rounds)
    return median_ratio(times["network"], times["encoder"])


def _random_network(config_file: str, height: int, width: int) -> tuple[nn.Module, list[dict]]:
    """The network of a config with random weights, in float32 on the CPU, and a noise picture."""
    opts = ["MODEL.DEVICE", "cpu", "MODEL.DTYPE", "float32", "MODEL.BACKBONE.WEIGHTS", ""]
    model = build_model(get_cosal_config(config_file, opts)).eval()
    fold_frozen_norms(model.backbone)
    picture = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    return model, [{"image": picture, "height": height, "width": width}]


def _discs(height: int, width: int, count: int) -> np.ndarray:
    """``(count, H, W)`` boolean masks of objects side by side."""
    y, x = np.mgrid[:height, :width]
    centres = (np.arange(count) + 0.5) * width / count
    radius = 0.4 * width / count
    return np.stack([((x - c) ** 2 + (y - height / 2) ** 2) <= radius**2 for c in centres])


def evaluation_ratios(
    config_file: str, height: int, width: int, rounds: int
) -> dict[str, tuple[float, float]]:
    """Time of an evaluation over that of the network's forward pass, image by image, on the CPU.

    A picture with six objects. "all" is timed in the calling process, so worker processes can only
    make it cheaper.

    Args:
        config_file: the network; its weights are random.
        height, width: of the input, in pixels.
        rounds: how many images are timed.

    Returns:
        by choice of measures ("fast", "all"): medians over rounds of the ratio, and of the
        evaluation's seconds.
    """
    model, inputs = _random_network(config_file, height, width)
    masks = _discs(height, width, 6)
    mask = masks[:4].any(axis=0)
    objects = [TruthObject(m) for m in masks]
    truth = Truth(mask, masks.any(axis=0), objects[:4], objects[4:])
    soft = torch.from_numpy(0.7 * mask + 0.3 * np.random.default_rng(0).random(mask.shape)).float()
    heavy_score(((soft.numpy() * 255).astype(np.uint8), mask))  # imports the library

    def evaluate(measures: str) -> None:
        scorer = Scorer(measures, 0)
        scorer.add(0, soft, truth, name="picture", image_id=0)
        scorer.collect()

    times = alternating(
        {
            "network": lambda: model(inputs),
            "fast": lambda: evaluate("fast"),
            "all": lambda: evaluate("all"),
        },
        rounds,
    )
    forward = times.pop("network")
    return {
        measures: (median_ratio(seconds, forward), statistics.median(seconds))
        for measures, seconds in times.items()
    }
