"""Superpixels of the network's input, and what they contain."""

from __future__ import annotations

import torch

# Weight of place against colour in SLIC, where colours lie in [0, 1].
COMPACTNESS = 0.1


@torch.no_grad()
def superpixels(image: torch.Tensor, count: int) -> torch.Tensor:
    """SLIC superpixels (Achanta et al. 2012; scikit-image's).

    Args:
        image: (3, h, w), any range of values.
        count: about so many.

    Returns:
        (h, w) int64, the number of each pixel's superpixel, from 0.

    Raises:
        ValueError: the network is being exported.
    """
    if torch.compiler.is_exporting():
        raise ValueError(
            "a network with superpixels is not exported: scikit-image finds them, outside torch"
        )
    from skimage.segmentation import slic

    low, high = image.min(), image.max()
    scaled = (image - low) / (high - low).clamp(min=1e-6)
    pixels = scaled.float().permute(1, 2, 0).contiguous().cpu().numpy()
    labels = slic(
        pixels, count, compactness=COMPACTNESS, convert2lab=False, start_label=0, channel_axis=2
    )
    return torch.from_numpy(labels).to(image.device, torch.int64)


def segment_means(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean of values (C, h, w) over each of S segments, labels (h, w) int64: (S, C)."""
    flat, labels = values.flatten(1).T, labels.flatten()
    count = int(labels.max()) + 1
    sums = flat.new_zeros((count, flat.shape[1])).index_add(0, labels, flat)
    sizes = torch.bincount(labels, minlength=count).clamp(min=1)
    return sums / sizes[:, None]
