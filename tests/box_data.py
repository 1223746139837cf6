"""Seeded boxes for the tests, and their areas counted by hand."""

import torch


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_boxes(count, seed=0, side=40):
    corners = torch.randint(0, side, (count, 2, 2), generator=seeded(seed)).float()
    return torch.cat([corners.amin(dim=1), corners.amax(dim=1) + 1], dim=1)


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def overlap(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(w, 0) * max(h, 0)
