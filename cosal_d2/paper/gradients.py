"""What trains R: the gradients of the losses on the feature-sensitive block."""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from torch import nn
from tqdm import tqdm

from cosal_d2.data.build import build_cosal_train_loader
from cosal_d2.engine.checkpoint import (
    load_network,
    own_state_dict,
    released_weights,
    weight_names,
)
from cosal_d2.utils.files import table_text

# The decoder's loss; with the grouping, whose verdicts loss_cosal trains, the first of the two.
MAP_LOSSES = ("loss_foreground", "loss_cosal")


def compare_gradients(cfg: CfgNode, iterations: int) -> str:
    """A table of all losses, over the first batches of a training.

    Args:
        cfg: of the training, with its weights.
        iterations: number of batches of ``SOLVER.IMS_PER_BATCH`` pictures.

    Raises:
        ValueError: the config has no feature-sensitive block, its weights do not fit, or the data
            are unusable.
        FileNotFoundError: weights or pictures are missing.
    """
    if not cfg.MODEL.FEATURE_SENSITIVE.ENABLED:
        raise ValueError(
            "MODEL.FEATURE_SENSITIVE.ENABLED is False: R is the encoder's own, and no loss trains "
            "it; give a config with the block"
        )
    model = load_network(cfg).train()
    weights = released_weights(cfg)
    lost = sorted(own_state_dict(model).keys() - weight_names(weights))
    if lost:
        raise ValueError(
            f"{weights} lacks {lost[0]} and {len(lost) - 1} others, whose losses would be those of "
            "random weights; give a checkpoint of the training"
        )
    loader, _ = build_cosal_train_loader(cfg)
    batches = itertools.islice(loader, iterations)
    progress = tqdm(batches, total=iterations, desc="gradients", unit="batch", disable=None)
    found = measure_gradients(model, progress)
    rows = [[name, *(f"{value:.3f}" for value in values)] for name, values in found.items()]
    return table_text(["loss", "share of the gradient on the block", "cosine to the map's"], rows)


def measure_gradients(
    model: nn.Module, batches: Iterable[list[dict]]
) -> dict[str, tuple[float, float]]:
    """Share and direction of each loss's gradient on the feature-sensitive block.

    Args:
        model: a ``CoSaliencyNet`` in training mode.
        batches: as the training loader gives them.

    Returns:
        by loss, means over the batches: the norm of its gradient over the sum of all, and the
        cosine to that of the decoder's loss (``MAP_LOSSES``). A loss that does not reach the block
        is left out.
    """
    parameters = list(model.feature_sensitive.parameters())
    shares, cosines = defaultdict(list), defaultdict(list)
    for batch in batches:
        with EventStorage():
            losses = model(batch)
        gradients = {
            name: torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            for name, loss in losses.items()
        }
        flat = {
            name: torch.cat([part.flatten().double() for part in parts])
            for name, parts in gradients.items()
            if all(part is not None for part in parts)
        }
        map_loss = next(name for name in MAP_LOSSES if name in flat)
        total = sum(gradient.norm() for gradient in flat.values())
        for name, gradient in flat.items():
            shares[name].append((gradient.norm() / total).item())
            cosine = torch.cosine_similarity(gradient, flat[map_loss], dim=0)
            cosines[name].append(cosine.item())
    return {
        name: (statistics.fmean(shares[name]), statistics.fmean(cosines[name])) for name in shares
    }
