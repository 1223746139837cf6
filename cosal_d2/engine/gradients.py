"""How strongly each loss pulls at the feature-sensitive block."""

from __future__ import annotations

import torch
from detectron2.utils.events import EventStorage
from torch import nn


def branch_gradients(model: nn.Module, batch: list[dict]) -> dict[str, float]:
    """L2 norm of d loss / d feature-sensitive parameters, for each loss of eq. 5 by itself.

    Losses are weighted as in training. Parameters, their ``grad`` and the training mode stay as
    they are.

    Args:
        model: a ``CoSaliencyNet``, or its data-parallel wrapper.
        batch: training inputs, as the training loader gives them.

    Returns:
        loss name, such as ``loss_triplet``, to norm; empty where the network has no
        feature-sensitive block, or one that does not learn. A loss that does not depend on the
        block has norm 0.
    """
    model = getattr(model, "module", model)
    if model.feature_sensitive is None:
        return {}
    parameters = [p for p in model.feature_sensitive.parameters() if p.requires_grad]
    if not parameters:
        return {}
    was_training = model.training
    model.train()
    try:
        with EventStorage():
            losses = model(batch)
        return {name: _norm(loss, parameters) for name, loss in losses.items()}
    finally:
        model.train(was_training)


def _norm(loss: torch.Tensor, parameters: list[nn.Parameter]) -> float:
    if not loss.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return sum(g.double().square().sum().item() for g in gradients if g is not None) ** 0.5
