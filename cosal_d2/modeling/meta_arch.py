"""CoSaliencyNet: the whole network of figure 2, wired together."""

from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    Backbone,
    build_backbone,
    build_proposal_generator,
)
from detectron2.structures import ImageList, Instances
from torch import nn

from cosal_d2.config import check_config
from cosal_d2.modeling.backbone.encoder import TOP_STRIDE, load_encoder, top_feature
from cosal_d2.modeling.decoder import COSAL_DECODER_REGISTRY, IGNORE, build_decoder
from cosal_d2.modeling.feature_sensitive import FeatureSensitiveBlock
from cosal_d2.modeling.grouping.gate import saturated
from cosal_d2.modeling.grouping.judged_regions import JudgedRegions
from cosal_d2.modeling.grouping.region_grouping import RegionGrouping
from cosal_d2.modeling.grouping.region_masks import RegionSet
from cosal_d2.modeling.precision import resolve_dtype
from cosal_d2.modeling.rfm import RegionalFeatureMapping
from cosal_d2.modeling.triplets import TRIPLET_SAMPLER_REGISTRY


@META_ARCH_REGISTRY.register()
class CoSaliencyNet(nn.Module):
    """Encoder, feature-sensitive block and decoder; in training RPN and RFM as well.

    With ``MODEL.GROUPING`` (an extension) RPN works at test time too: the decoder finds the
    foreground, all objects, and the comparison of RPN's regions decides which of it belongs
    together.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        feature_sensitive: FeatureSensitiveBlock | None,
        decoder: nn.Module,
        proposal_generator: nn.Module | None,
        rfm: RegionalFeatureMapping | None,
        pixel_mean: tuple[float, ...],
        pixel_std: tuple[float, ...],
        dtype: torch.dtype = torch.float32,
        distractors_as_objects: bool = False,
        grouping: RegionGrouping | None = None,
        given_weights: frozenset[str] = frozenset(),
    ) -> None:
        """
        Args:
            backbone: the encoder, with an output at a stride of at most 16.
            feature_sensitive: H to R; None uses H as R.
            decoder: R and the encoder's features to logits.
            proposal_generator: RPN on R, None where the sampler needs none.
            rfm: the triplet branch, None for none.
            pixel_mean, pixel_std: per channel, in the order of ``INPUT.FORMAT``.
            dtype: compute precision, by autocast where it is not float32.
            distractors_as_objects: whether distractors are objects or background for the RPN.
            grouping: compares regions and gates the decoder's map, None for the paper's network.
            given_weights: names in the state dict of frozen weights that were loaded with the
                encoder: a checkpoint does not repeat them.
        """
        super().__init__()
        self.backbone = backbone
        self.feature_sensitive = feature_sensitive
        self.decoder = decoder
        self.proposal_generator = proposal_generator
        self.rfm = rfm
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)
        self.dtype = dtype
        self.distractors_as_objects = distractors_as_objects
        self.grouping = grouping
        self.given_weights = given_weights
        self.top_feature = top_feature(backbone.output_shape())
        for part in (backbone, feature_sensitive, decoder, proposal_generator):
            if part is not None:
                part.to(memory_format=torch.channels_last)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        check_config(cfg)
        check_names(cfg)
        backbone = build_backbone(cfg)
        given = load_encoder(backbone, cfg.MODEL.BACKBONE.WEIGHTS, cfg.MODEL.BACKBONE.ALLOW_PICKLE)
        shapes = backbone.output_shape()
        block = None
        r_shape: ShapeSpec = shapes[top_feature(shapes)]
        if cfg.MODEL.FEATURE_SENSITIVE.ENABLED:
            block = FeatureSensitiveBlock(cfg, r_shape)
            r_shape = block.output_shape
        rfm = RegionalFeatureMapping(cfg, r_shape) if cfg.MODEL.RFM.SAMPLER else None
        rpn = None
        if rfm is not None and rfm.needs_regions:
            rpn = build_proposal_generator(cfg, {"r": r_shape})
        decoder = build_decoder(cfg, r_shape, shapes)
        grouping = None
        if cfg.MODEL.GROUPING.ENABLED:
            if rpn is None:
                raise ValueError(
                    "MODEL.GROUPING compares RPN's regions, which MODEL.RFM.SAMPLER "
                    f'"{cfg.MODEL.RFM.SAMPLER}" does without: set one that needs_regions, such as '
                    '"OnlineSampler", or MODEL.GROUPING.ENABLED False'
                )
            grouping = RegionGrouping(cfg, shapes, decoder.stride)
        return {
            "backbone": backbone,
            "feature_sensitive": block,
            "decoder": decoder,
            "proposal_generator": rpn,
            "rfm": rfm,
            "pixel_mean": tuple(cfg.MODEL.PIXEL_MEAN),
            "pixel_std": tuple(cfg.MODEL.PIXEL_STD),
            "dtype": resolve_dtype(cfg.MODEL.DTYPE, cfg.MODEL.DEVICE),
            "distractors_as_objects": cfg.MODEL.RPN.DISTRACTORS_AS_OBJECTS,
            "grouping": grouping,
            "given_weights": frozenset(f"backbone.{name}" for name in given),
        }

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict]) -> dict[str, torch.Tensor] | list[dict]:
        """Train on a batch, or predict one.

        Args:
            batched_inputs: a dict an image with ``image`` (3, h, w) in ``INPUT.FORMAT``, 0-255; in
                training also ``instances``, ``sem_seg`` (h, w) uint8 {0, 1, 255}, ``seed`` and
                optionally ``weak_masks``, whether its masks are rough; at test time optionally
                ``height`` and ``width`` of the wanted map, and with the grouping ``exemplar``, a
                box (4,) XYXY in input pixels: then the map is of all that resembles its object.

        Returns:
            in training the losses ``loss_cosal``, ``loss_rpn_cls``, ``loss_rpn_loc``,
            ``loss_triplet``, ``loss_foreground``, ``loss_mask``, ``loss_group``, ``loss_pair``,
            ``loss_repeats`` (those whose part is built); at test time a list of dicts with
            ``cosal_map`` (height, width) float32 in [0, 1], and with the grouping ``repeats``, the
            probability that anything repeats, and ``regions``, a :class:`JudgedRegions`.
        """
        images = self.preprocess([x["image"] for x in batched_inputs])
        with self.autocast():
            if self.training:
                return self._losses(images, batched_inputs)
            logits, judged = self.predict(images, [x.get("exemplar") for x in batched_inputs])
        outputs = self.postprocess(logits, images.image_sizes, batched_inputs)
        for output, regions, x in zip(outputs, judged, batched_inputs, strict=False):
            output.update(self.answer(output["cosal_map"], regions, x.get("exemplar") is not None))
        return outputs

    def answer(
        self, cosal_map: torch.Tensor, judged: JudgedRegions, by_exemplar: bool = False
    ) -> dict:
        """What the network with the grouping says of an image: ``cosal_map``, empty where nothing
        repeats and no exemplar was given, ``repeats`` and ``regions``."""
        repeats = judged.verdicts.repeats.sigmoid().item()
        if repeats < self.grouping.repeats_threshold and not by_exemplar:
            cosal_map = torch.zeros_like(cosal_map)
        return {"cosal_map": cosal_map, "repeats": repeats, "regions": judged}

    def preprocess(self, images: list[torch.Tensor]) -> ImageList:
        """Normalise and pad a batch to a multiple of the encoder's strides."""
        images = [(x.to(self.device) - self.pixel_mean) / self.pixel_std for x in images]
        return ImageList.from_tensors(images, max(self.backbone.size_divisibility, TOP_STRIDE))

    def predict(
        self, images: ImageList, exemplars: list[torch.Tensor | None] | None = None
    ) -> tuple[torch.Tensor, list[JudgedRegions]]:
        """Logits (N, 1, H, W) of the co-saliency map, and with the grouping the regions that were
        compared, an image each.

        Args:
            images: from :meth:`preprocess`.
            exemplars: see :meth:`RegionGrouping.find_regions`.
        """
        logits, found = self.find(images, exemplars)
        if self.grouping is None:
            return self.full_size(logits), []
        exemplars = exemplars or [None] * len(found)
        judged = [
            self.grouping.judge_regions(size, *own, by_last=exemplar is not None)
            for size, own, exemplar in zip(images.image_sizes, found, exemplars, strict=True)
        ]
        return self.full_size(self.grouping.gated(logits, judged)), judged

    def find(
        self, images: ImageList, exemplars: list[torch.Tensor | None] | None = None
    ) -> tuple[torch.Tensor, list[tuple[RegionSet, torch.Tensor]]]:
        """The decoder's logits (N, 1, H/stride, W/stride), with the grouping those of the
        foreground, and then the regions to compare.

        Args:
            images, exemplars: as for :meth:`predict`.

        Returns:
            the logits, and an image each what :meth:`RegionGrouping.find_regions` gives.
        """
        features, r = self.features(images)
        logits = self.decoder(r, features)
        if self.grouping is None:
            return logits, []
        regions, _ = self.proposal_generator(images, {"r": r})
        return logits, self.grouping.find_regions(features, logits, regions, exemplars)

    def features(self, images: ImageList) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The encoder's features by name with its input, ``image`` (N, 3, H, W), and R
        (N, C, H/16, W/16)."""
        image = images.tensor.contiguous(memory_format=torch.channels_last)
        features = self.backbone(image)
        r = features[self.top_feature]
        if self.feature_sensitive is not None:
            r = self.feature_sensitive(r)
        return {**features, "image": image}, r

    def full_size(self, logits: torch.Tensor) -> torch.Tensor:
        """The decoder's logits (N, K, H/stride, W/stride) at the input's size."""
        if self.decoder.stride == 1:
            return logits
        return F.interpolate(
            logits, scale_factor=self.decoder.stride, mode="bilinear", align_corners=False
        )

    def postprocess(
        self, logits: torch.Tensor, sizes: list[tuple[int, int]], inputs: list[dict]
    ) -> list[dict]:
        """Cut the padding off, resize to the original size, squash (eq. 1)."""
        outputs = []
        for logit, (h, w), x in zip(logits, sizes, inputs, strict=True):
            logit = logit[None, :, :h, :w]
            size = (x.get("height", h), x.get("width", w))
            if size != (h, w):
                logit = F.interpolate(logit, size=size, mode="bilinear", align_corners=False)
            cosal_map = logit[0, 0].sigmoid()
            del logit  # of a large picture it takes as much memory as the map
            if self.grouping is not None:
                cosal_map = saturated(cosal_map)
            outputs.append({"cosal_map": cosal_map})
        return outputs

    def _losses(self, images: ImageList, inputs: list[dict]) -> dict[str, torch.Tensor]:
        targets = [x["instances"].to(self.device) for x in inputs]
        seeds = [int(x["seed"]) for x in inputs]
        # Dropout and RPN's anchor sampling draw from torch's own generator: seeding it here makes a
        # step a function of its samples' seeds, and leaves the caller's generator as it was.
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seeds[0])
            generators = [torch.Generator().manual_seed(s) for s in seeds]
            truth = [x["sem_seg"].to(self.device) for x in inputs]
            losses: dict[str, torch.Tensor] = {}
            features, r = self.features(images)
            regions: list = [None] * len(inputs)
            if self.proposal_generator is not None:
                regions, found = self.proposal_generator(
                    images, {"r": r}, [self._rpn_targets(t) for t in targets]
                )
                losses.update(found)
            if self.rfm is not None:
                losses.update(self.rfm(r, targets, regions, generators))
            logits = self.decoder(r, features)
            if self.grouping is not None:
                objects = [_all_objects(m, t) for m, t in zip(truth, targets, strict=True)]
                losses["loss_foreground"] = self._map_loss(logits, objects, inputs)
                logits, found = self.grouping(
                    features, logits[:, -1:], regions, targets, generators
                )
                losses.update(found)
            losses["loss_cosal"] = self._map_loss(logits, truth, inputs) + self._unused(features)
        return losses

    def _unused(self, features: dict[str, torch.Tensor]) -> torch.Tensor | float:
        """A zero that is connected to the features that nothing takes, such as FPN's coarsest, as
        DistributedDataParallel wants it."""
        used = {self.top_feature, *self.decoder.skips}
        return sum(0 * f.sum() for n, f in features.items() if n not in used and f.requires_grad)

    def _map_loss(
        self, logits: torch.Tensor, truth: list[torch.Tensor], inputs: list[dict]
    ) -> torch.Tensor:
        """The decoder's loss against maps (h, w) uint8 {0, 1, 255}, one an image."""
        logits = self.full_size(logits)
        weak = torch.tensor([bool(x.get("weak_masks")) for x in inputs], device=logits.device)
        return self.decoder.losses(logits, self._pad(truth, logits), weak)["loss_cosal"]

    def _pad(self, maps: list[torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
        h, w = logits.shape[-2:]
        pad = [F.pad(m, (0, w - m.shape[1], 0, h - m.shape[0]), value=IGNORE) for m in maps]
        return torch.stack(pad)

    def _rpn_targets(self, targets: Instances) -> Instances:
        return targets if self.distractors_as_objects else targets[targets.gt_cosalient]

    def autocast(self) -> contextlib.AbstractContextManager:
        """The context of a forward pass in ``dtype``."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def _all_objects(truth: torch.Tensor, targets: Instances) -> torch.Tensor:
    """The truth (h, w) uint8 with all other objects as well."""
    return torch.where(targets.gt_masks.tensor.any(dim=0), torch.ones_like(truth), truth)


def check_names(cfg: CfgNode) -> None:
    """Refuse names of parts that nothing has registered.

    Raises:
        ValueError: naming the key and what there is.
    """
    for key, name, registry in (
        ("MODEL.BACKBONE.NAME", cfg.MODEL.BACKBONE.NAME, BACKBONE_REGISTRY),
        ("MODEL.DECODER.NAME", cfg.MODEL.DECODER.NAME, COSAL_DECODER_REGISTRY),
        ("MODEL.RFM.SAMPLER", cfg.MODEL.RFM.SAMPLER, TRIPLET_SAMPLER_REGISTRY),
    ):
        if name and name not in registry:
            known = ", ".join(sorted(entry for entry, _ in registry))
            raise ValueError(
                f"{key} is {name!r}; use one of {known}, or import the module that registers it"
            )
