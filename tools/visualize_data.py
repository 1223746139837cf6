"""Draw what a training sees: ``visualize_data.py --config-file FILE --out FOLDER``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cosal_d2.config import find_config, get_cosal_config

if TYPE_CHECKING:
    from detectron2.config import CfgNode

TRIPLETS_DRAWN = 3


def draw_training_samples(cfg: CfgNode, count: int, folder: Path) -> Iterator[Path]:
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
    import numpy as np
    import torch

    from cosal_d2.data import build_cosal_train_loader
    from cosal_d2.utils.drawing import draw_instances, draw_regions, save_gallery

    cfg = cfg.clone()
    cfg.DATALOADER.NUM_WORKERS = 0
    sampler = region_sampler(cfg)
    loader, _ = build_cosal_train_loader(cfg)
    folder.mkdir(parents=True, exist_ok=True)
    samples = (sample for batch in loader for sample in batch)
    for number, sample in zip(range(count), samples, strict=False):
        image = sample["image"].numpy().transpose(1, 2, 0)
        image = np.ascontiguousarray(image[:, :, ::-1] if cfg.INPUT.FORMAT == "RGB" else image)
        targets = sample["instances"]
        regions = sampler(targets, None, torch.Generator().manual_seed(sample["seed"]))
        triplets = regions.triplets[:TRIPLETS_DRAWN]
        cosalient = int(targets.gt_cosalient.sum())
        titles = [
            f"{cosalient} co-salient, {len(targets) - cosalient} distractors",
            "truth",
            f"{len(triplets)} of {len(regions.triplets)} triplets",
        ]
        row = [
            draw_instances(image, targets),
            sample["sem_seg"].numpy() * 255,
            draw_regions(image, regions.boxes, triplets),
        ]
        path = folder / f"{number:04d}_{Path(sample['file_name']).stem}.png"
        save_gallery(path, titles, [row], width=4.2)
        yield path


def region_sampler(cfg: CfgNode):
    """The config's triplet sampler, or the offline one where that needs the regions of an RPN."""
    from cosal_d2.modeling.triplets import OfflineSampler, build_triplet_sampler

    if cfg.MODEL.RFM.SAMPLER:
        sampler = build_triplet_sampler(cfg)
        if not sampler.needs_regions:
            return sampler
    print(
        f"regions are those of the OfflineSampler: MODEL.RFM.SAMPLER is {cfg.MODEL.RFM.SAMPLER!r}, "
        "and without a network there are no regions of an RPN"
    )
    return OfflineSampler(cfg)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Draw the first training samples after augmentation. Each becomes a PNG with "
        "three panels: masks and boxes (green: co-salient, orange: distractor); the truth; and a "
        "few triplets, each in a colour of its own (solid: anchor, dashed: positive, dotted: "
        "negative)."
    )
    parser.add_argument(
        "--config-file", required=True, metavar="FILE", help="a path, or a shipped config's name"
    )
    parser.add_argument(
        "--data", metavar="NAME", help="a registered dataset (default: the config's DATASETS.TRAIN)"
    )
    parser.add_argument(
        "--count", type=int, default=12, metavar="N", help="samples (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="where NUMBER_STEM.png go; files of these names are replaced, others stay",
    )
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config changes, such as INPUT.OCCLUSION.PROB 1.0 or SEED 7",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Draw; 0, or 1 with a message when the config or the data is unusable."""
    args = build_parser().parse_args(argv)
    try:
        find_config(args.config_file)  # before anything heavy is imported
        cfg = get_cosal_config(args.config_file, args.opts)
        if args.data:
            cfg.DATASETS.TRAIN = (args.data,)
        count = len(list(draw_training_samples(cfg, args.count, args.out)))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{count} samples drawn into {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
