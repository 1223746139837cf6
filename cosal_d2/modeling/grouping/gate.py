"""From judged regions to a gate on the foreground: an extension of the paper."""

from __future__ import annotations

import torch
import torch.nn.functional as F

# Input pixels per pixel of a gate.
GATE_STRIDE = 4
# Weight of an open gate at every pixel (ours): small, because an object's best region may have a
# small weight.
PRIOR = 1e-4
# A gate never closes further than this, and never opens fully, so that its logits stay finite.
CLOSED = 1e-4


def paint_gate(masks: torch.Tensor, member: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """How far each pixel may be co-salient: the weighted mean of its regions' memberships.

    At a pixel each region weighs as much as its weight times its mask there, and an open gate
    weighs ``PRIOR``; where no mask is, the gate is open.

    Args:
        masks: (..., K, h, w) probabilities on the gate's grid.
        member: (..., K) probability of belonging to the repeated group.
        weight: (..., K) >= 0.

    Returns:
        (..., h, w) in [0, 1].
    """
    weights = weight[..., None, None] * masks
    members = (weights * member[..., None, None]).sum(dim=-3)
    return (members + PRIOR) / (weights.sum(dim=-3) + PRIOR)


def gated_logits(logits: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
    """Logits of sigmoid(``logits``) times the gate.

    Args:
        logits: (N, 1, H, W) float32, of the foreground.
        gates: (N, h, w) float32 in [0, 1], resized bilinearly.
    """
    gates = F.interpolate(
        gates[:, None], size=logits.shape[-2:], mode="bilinear", align_corners=False
    )
    log_p = F.logsigmoid(logits) + gates.clamp(CLOSED, 1 - CLOSED).log()
    return log_p - torch.log(-torch.expm1(log_p))


def saturated(maps: torch.Tensor) -> torch.Tensor:
    """Maps that reach their ends as 8-bit files do: what is within half a grey level of 0 or 1
    becomes exactly that.

    A sigmoid never reaches 1, but the adaptive threshold does, wherever a map's mean is above a
    half.

    Args:
        maps: probabilities, of any shape.
    """
    half = 0.5 / 255
    return maps.sub(half).div_(1 - 2 * half).clamp_(0, 1)  # one map beside the given one
