"""A fixed set of triplets that tells, over a training, whether the embedding learns to group."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import nn

from cosal_d2.data import CoSaliencyMapper
from cosal_d2.data.transforms import build_augmentation
from cosal_d2.modeling.rfm import triplet_loss
from cosal_d2.modeling.triplets import OfflineSampler, TripletRegions

logger = logging.getLogger(__name__)


@dataclass
class ProbeImage:
    """A test picture as the network takes it, and its fixed triplets."""

    image: torch.Tensor
    regions: TripletRegions


class Probe:
    """Share of satisfied triplets among fixed ones."""

    def __init__(self, images: list[ProbeImage], model: nn.Module) -> None:
        self.images = images
        self.model = model

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """``probe/satisfied``: d(a, p) + margin <= d(a, n), no loss; ``probe/ordered``: eq. 4.

        The network is put into eval mode for it and back afterwards.
        """
        model, was_training = self.model, self.model.training
        model.eval()
        near, far = [], []
        for probe in self.images:
            with model._autocast():
                _, r = model.features(model.preprocess([probe.image]))
                boxes = probe.regions.boxes.to(model.device)
                embeddings = model.rfm.embed(r, [boxes])[0].cpu()
            _, a, b = triplet_loss(embeddings, probe.regions, model.rfm.margin)
            near.append(a)
            far.append(b)
        model.train(was_training)
        near, far = torch.cat(near), torch.cat(far)
        return {
            "probe/satisfied": (near + model.rfm.margin <= far).float().mean().item(),
            "probe/ordered": (near < far).float().mean().item(),
        }


class TripletProbe(HookBase):
    """Log the probe before the first iteration and after every ``period`` of them."""

    def __init__(self, probe: Probe, period: int) -> None:
        self.probe = probe
        self.period = period

    def before_train(self) -> None:
        if self.trainer.start_iter == 0:
            self._log()

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter or (self.period and done % self.period == 0):
            self._log()

    def _log(self) -> None:
        shares = self.probe.measure()
        self.trainer.storage.put_scalars(smoothing_hint=False, **shares)
        logger.info("probe: %s", ", ".join(f"{k} {v:.3f}" for k, v in shares.items()))


def build_probe(cfg: CfgNode, model: nn.Module) -> Probe | None:
    """Triplets of the first ``TEST.TRIPLET_PROBE_IMAGES`` pictures of the first test dataset.

    Regions are those of the offline sampler, from a seed of their own. Returns None where there is
    no triplet branch, no test dataset, no picture to probe, or another process does it.
    """
    model = getattr(model, "module", model)
    wanted = cfg.TEST.TRIPLET_PROBE_IMAGES
    if not wanted or model.rfm is None or not cfg.DATASETS.TEST or not comm.is_main_process():
        return None
    sampler = OfflineSampler(cfg)
    mapper = CoSaliencyMapper(
        is_train=True,
        resize=build_augmentation(cfg, False),
        augmentations=[],
        image_format=cfg.INPUT.FORMAT,
    )
    images = []
    for index, record in enumerate(DatasetCatalog.get(cfg.DATASETS.TEST[0])[:wanted]):
        mapped = mapper(record | {"seed": 0, "batch_seed": 0})
        generator = torch.Generator().manual_seed(index)
        regions = sampler(mapped["instances"], None, generator)
        if len(regions.triplets):
            images.append(ProbeImage(mapped["image"], regions))
    return Probe(images, model) if images else None
