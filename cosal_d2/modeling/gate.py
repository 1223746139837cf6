"""From judged regions to a gate on the foreground: an extension of the paper."""

from __future__ import annotations

import torch
import torch.nn.functional as F

# Spread of the centre weight, in squared half sides of the box (ours).
SPREAD = 0.6
# Weight of "nothing speaks against it" at every pixel (ours): small, because what is best about an
# object's rim may be a quiet, distant box.
PRIOR = 1e-4
# A gate never closes further than this, and never opens fully, so that its logits stay finite.
CLOSED = 1e-4


def centre_weight(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """How likely a place of a box belongs to its object: a Gaussian around the box's centre.

    Args:
        u, v: offsets from the centre in half widths and half heights, of any shape.
    """
    return torch.exp(-(u**2 + v**2) / SPREAD)


def paint_gate(
    boxes: torch.Tensor,
    member: torch.Tensor,
    weight: torch.Tensor,
    size: tuple[int, int],
    stride: int,
) -> torch.Tensor:
    """How far each pixel may be co-salient: the weighted mean of the verdicts on it.

    A pixel hears the boxes that its centre lies in, each as loud as its weight and as near as its
    centre, and a small voice that says yes; where no box is, the gate is open.

    Args:
        boxes: (K, 4) XYXY in input pixels.
        member: (K,) probability of belonging to the repeated group.
        weight: (K,) >= 0.
        size: (h, w) of the gate.
        stride: input pixels per pixel of the gate.

    Returns:
        (h, w) in [0, 1].
    """
    h, w = size
    x = (torch.arange(w, device=boxes.device) + 0.5) * stride
    y = (torch.arange(h, device=boxes.device) + 0.5) * stride
    centres, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    halves = halves.clamp(min=1e-6)
    u = ((x[None] - centres[:, :1]) / halves[:, :1])[:, None]
    v = ((y[None] - centres[:, 1:]) / halves[:, 1:])[:, :, None]
    inside = (u.abs() < 1) & (v.abs() < 1)
    loudness = weight[:, None, None] * centre_weight(u, v) * inside
    yes = (loudness * member[:, None, None]).sum(dim=0)
    return (yes + PRIOR) / (loudness.sum(dim=0) + PRIOR)


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
    return ((maps - half) / (1 - 2 * half)).clamp(0, 1)
