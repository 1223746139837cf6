"""Pictures of what a network is trained on: augmented samples and the triplets drawn from them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import numpy as np
import torch
from detectron2.config import CfgNode

from cosal_d2.data import build_cosal_train_loader
from cosal_d2.modeling.triplets import OfflineSampler, build_triplet_sampler
from cosal_d2.utils.drawing import draw_instances, draw_regions, save_gallery

logger = logging.getLogger(__name__)

TRIPLETS_DRAWN = 3


def draw_training_samples(cfg: CfgNode, count: int, folder: str) -> Iterator[str]:
    """Draw the first samples that a training with ``cfg`` sees, in its order.

    Each becomes ``NUMBER_STEM.png``: the input with masks and boxes, the truth, and the regions of
    a few triplets by role. A file of that name is replaced once the new one is complete.

    Args:
        cfg: names the data, the augmentations, the sampler and the seed.
        count: samples to draw.
        folder: where the files go; made when missing.

    Yields:
        the path of each file.

    Raises:
        ValueError: ``count`` is less than 1, or the data cannot be loaded.
    """
    if count < 1:
        raise ValueError(f"--count is {count}; give 1 or more")
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATALOADER.NUM_WORKERS = 0
    sampler = _region_sampler(cfg)
    loader, _ = build_cosal_train_loader(cfg)
    os.makedirs(folder, exist_ok=True)
    samples = (sample for batch in loader for sample in batch)
    for number, sample in zip(range(count), samples, strict=False):
        stem = os.path.splitext(os.path.basename(sample["file_name"]))[0]
        path = os.path.join(folder, f"{number:04d}_{stem}.png")
        _write(path, sample, sampler, cfg.INPUT.FORMAT)
        yield path


def _region_sampler(cfg: CfgNode):
    if cfg.MODEL.RFM.SAMPLER:
        sampler = build_triplet_sampler(cfg)
        if not sampler.needs_regions:
            return sampler
    logger.info(
        "regions are those of the OfflineSampler: MODEL.RFM.SAMPLER is %r, and without a network "
        "there are no regions of an RPN",
        cfg.MODEL.RFM.SAMPLER,
    )
    return OfflineSampler(cfg)


def _write(path: str, sample: dict, sampler, image_format: str) -> None:
    image = sample["image"].numpy().transpose(1, 2, 0)
    image = np.ascontiguousarray(image[:, :, ::-1] if image_format == "RGB" else image)
    targets = sample["instances"]
    regions = sampler(targets, None, torch.Generator().manual_seed(int(sample["seed"])))
    flags = targets.gt_cosalient.tolist()
    titles = [
        f"{sum(flags)} co-salient, {len(flags) - sum(flags)} distractors",
        "truth",
        f"{min(TRIPLETS_DRAWN, len(regions.triplets))} of {len(regions.triplets)} triplets",
    ]
    row = [
        draw_instances(image, targets),
        sample["sem_seg"].numpy() * 255,
        draw_regions(image, regions.boxes, regions.triplets[:TRIPLETS_DRAWN]),
    ]
    partial = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.png")
    try:
        save_gallery(partial, titles, [row], width=4.2)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
