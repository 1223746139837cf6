"""Pixel-wise contextual attention: each pixel gets a mean of its context by weights of its own (Liu
et al. CVPR 2018, section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from fvcore.nn import weight_init
from torch import nn

# The paper's numbers.
GRID = 10  # of the places that global attention chooses from, a side
RENET_HIDDEN = 256  # of each LSTM, a direction
WINDOW, DILATION = 7, 2  # of local attention
LOCAL_HIDDEN = 128  # channels between its two convolutions


class ReNet(nn.Module):
    """Two bidirectional LSTMs (Visin et al. 2015): along the rows, then along the columns of what
    comes out, so that each place knows of all others; then a 1x1 convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        options = {"batch_first": True, "bidirectional": True}
        self.rows = nn.LSTM(channels, RENET_HIDDEN, **options)
        self.columns = nn.LSTM(2 * RENET_HIDDEN, RENET_HIDDEN, **options)
        self.predictor = Conv2d(2 * RENET_HIDDEN, out, 1)
        weight_init.c2_xavier_fill(self.predictor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to (N, out, h, w).

        Raises:
            ValueError: the network is being exported.
        """
        if torch.compiler.is_exporting():
            raise ValueError(
                "a network with LSTMs along rows and columns is not exported: torch.export would "
                "write them out for one width and height alone"
            )
        n, _, h, w = x.shape
        rows, _ = self.rows(x.permute(0, 2, 3, 1).flatten(0, 1))
        columns, _ = self.columns(rows.unflatten(0, (n, h)).transpose(1, 2).flatten(0, 1))
        return self.predictor(columns.unflatten(0, (n, w)).permute(0, 3, 2, 1))


class GlobalAttention(nn.Module):
    """Weights over a grid of 10x10 places that spans the whole map, from corner to corner."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scores = ReNet(channels, GRID * GRID)

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Of each pixel (N, C, h, w), over the places, row by row: (N, 100, h, w), sum 1."""
        return self.scores(x).float().softmax(dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to each pixel's context, of the same shape."""
        places = F.interpolate(x, size=(GRID, GRID), mode="bilinear", align_corners=True)
        weights = self.weights(x).to(x.dtype)
        return torch.matmul(places.flatten(2), weights.flatten(2)).unflatten(2, x.shape[2:])


class LocalAttention(nn.Module):
    """Weights over the 7x7 pixels around each, every second one; beyond the border is zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scores = nn.Sequential(
            Conv2d(
                channels,
                LOCAL_HIDDEN,
                WINDOW,
                padding=WINDOW // 2 * DILATION,
                dilation=DILATION,
                activation=nn.ReLU(inplace=True),
            ),
            Conv2d(LOCAL_HIDDEN, WINDOW * WINDOW, 1),
        )
        weight_init.c2_msra_fill(self.scores[0])
        weight_init.c2_xavier_fill(self.scores[1])

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Of each pixel (N, C, h, w), over its window, row by row: (N, 49, h, w), sum 1."""
        return self.scores(x).float().softmax(dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to each pixel's context, of the same shape."""
        h, w = x.shape[2:]
        weights = self.weights(x).to(x.dtype)
        padded = F.pad(x, [WINDOW // 2 * DILATION] * 4)
        context = torch.zeros_like(x)
        # A sum over shifted views: all windows side by side would take 49 times the memory.
        for place, weight in enumerate(weights.split(1, dim=1)):
            top, left = place // WINDOW * DILATION, place % WINDOW * DILATION
            context = context + weight * padded[:, :, top : top + h, left : left + w]
        return context
