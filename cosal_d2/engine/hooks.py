"""What a training logs: whether its embedding learns to group, and how many boxes its anchors can
reach."""

from __future__ import annotations

import logging
import math

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.data import transforms as T
from detectron2.engine import HookBase
from detectron2.structures import Boxes, BoxMode, pairwise_iou
from detectron2.utils import comm
from torch import nn

from cosal_d2.data import CoSaliencyMapper
from cosal_d2.data.augmentations import build_augmentation
from cosal_d2.modeling.rfm import triplet_loss
from cosal_d2.modeling.triplets import OfflineSampler, TripletRegions

logger = logging.getLogger(__name__)

WANTED_RECALL = 0.95
RECALL_RECORDS = 300


class TripletProbe(HookBase):
    """Log the share of satisfied triplets among fixed ones, before the first iteration and after
    every ``period`` of them."""

    def __init__(
        self, model: nn.Module, samples: list[tuple[torch.Tensor, TripletRegions]], period: int
    ) -> None:
        """
        Args:
            model: a ``CoSaliencyNet`` with a triplet branch.
            samples: a picture as the network takes it, (3, h, w), and its triplets, each.
            period: in iterations; 0 for the first and the last only.
        """
        self.model = model
        self.samples = samples
        self.period = period

    def before_train(self) -> None:
        if self.trainer.start_iter == 0:
            self._log()

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter or (self.period and done % self.period == 0):
            self._log()

    def _log(self) -> None:
        shares = self.measure()
        self.trainer.storage.put_scalars(smoothing_hint=False, **shares)
        logger.info("probe: %s", ", ".join(f"{k} {v:.3f}" for k, v in shares.items()))

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """``probe/satisfied``: d(a, p) + margin <= d(a, n), no loss; ``probe/ordered``: eq. 4.

        The network is put into eval mode for it and back afterwards.
        """
        model, was_training = self.model, self.model.training
        model.eval()
        near, far = [], []
        for image, regions in self.samples:
            with model.autocast():
                _, r = model.features(model.preprocess([image]))
                embeddings = model.rfm.embed(r, [regions.boxes.to(model.device)])[0].cpu()
            _, a, b = triplet_loss(embeddings, regions, model.rfm.margin)
            near.append(a)
            far.append(b)
        model.train(was_training)
        near, far = torch.cat(near), torch.cat(far)
        return {
            "probe/satisfied": (near + model.rfm.margin <= far).float().mean().item(),
            "probe/ordered": (near < far).float().mean().item(),
        }


def build_triplet_probe(cfg: CfgNode, model: nn.Module) -> TripletProbe | None:
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
    samples = []
    for index, record in enumerate(DatasetCatalog.get(cfg.DATASETS.TEST[0])[:wanted]):
        mapped = mapper(record | {"seed": 0, "batch_seed": 0})
        regions = sampler(mapped["instances"], None, torch.Generator().manual_seed(index))
        if len(regions.triplets):
            samples.append((mapped["image"], regions))
    return TripletProbe(model, samples, cfg.TEST.EVAL_PERIOD) if samples else None


@torch.no_grad()
def anchor_recall(
    records: list[dict],
    anchor_generator: nn.Module,
    short_side: int,
    max_size: int,
    with_distractors: bool = False,
) -> float:
    """Share of ground-truth boxes that overlap some anchor by an IoU of at least 0.5 (paper).

    Args:
        records: dataset dicts.
        anchor_generator: Detectron2's, over one feature map.
        short_side, max_size: the resize of the picture, as in ``ResizeShortestEdge``.
        with_distractors: count distractors' boxes too.

    Returns:
        the share, 1.0 when there is no box.
    """
    reached = total = 0
    stride = anchor_generator.strides[0]
    device = next(anchor_generator.buffers()).device
    for record in records:
        boxes = [
            BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS)
            for a in record["annotations"]
            if not a.get("iscrowd", 0) and (with_distractors or a.get("cosalient", True))
        ]
        if not boxes:
            continue
        height, width = record["height"], record["width"]
        h, w = T.ResizeShortestEdge.get_output_shape(height, width, short_side, max_size)
        scale = torch.tensor([w / width, h / height] * 2)
        feature = torch.empty((1, 1, math.ceil(h / stride), math.ceil(w / stride)), device=device)
        anchors = anchor_generator([feature])[0]
        iou = pairwise_iou(Boxes((torch.tensor(boxes) * scale).to(device)), anchors)
        reached += int((iou.max(dim=1).values >= 0.5).sum())
        total += len(boxes)
    return reached / total if total else 1.0


def log_anchor_recall(cfg: CfgNode, model: nn.Module, records: list[dict]) -> None:
    """Log the recall at each training scale, over at most ``RECALL_RECORDS`` of the records, evenly
    spaced; warn below 95 %, naming the key to change."""
    rpn = model.proposal_generator
    if rpn is None:
        return
    count = min(len(records), RECALL_RECORDS)
    looked_at = [records[i * len(records) // count] for i in range(count)]
    for side in sorted(set(cfg.INPUT.MIN_SIZE_TRAIN)):
        recall = anchor_recall(
            looked_at,
            rpn.anchor_generator,
            side,
            cfg.INPUT.MAX_SIZE_TRAIN,
            cfg.MODEL.RPN.DISTRACTORS_AS_OBJECTS,
        )
        logger.info(
            "%.1f %% of training boxes reach IoU 0.5 with an anchor at short side %d "
            "(looked at %d of %d images)",
            100 * recall,
            side,
            count,
            len(records),
        )
        if recall < WANTED_RECALL:
            logger.warning(
                "fewer than 95 % do: fit MODEL.ANCHOR_GENERATOR.SIZES to the objects' size"
            )
