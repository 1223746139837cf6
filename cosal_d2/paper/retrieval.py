"""How well embeddings of ground-truth regions find their own class, beside raw encoder features."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes, BoxMode
from detectron2.utils.file_io import PathManager
from torch import nn
from tqdm import tqdm

import cosal_d2.modeling as _  # noqa: F401  (registers the network)
from cosal_d2.data import CoSaliencyMapper
from cosal_d2.data.datasets import check_registered
from cosal_d2.engine.checkpoint import CoSaliencyCheckpointer, released_weights
from cosal_d2.modeling.grouping.region_grouping import SURE
from cosal_d2.paper.retrieval_measures import (
    UNKNOWN,
    chance_level,
    precision_at_1,
    queries_across,
    queries_within,
)
from cosal_d2.utils.coco import DISTRACTOR

logger = logging.getLogger(__name__)

RAW, GRID = "conv5_3", "conv5_3 7x7"
OWN = ("rfm", "grouping")
POOLED = 7
STRIDE = 16  # of conv5_3


@dataclass
class RegionSet:
    """Ground-truth regions of a dataset.

    Attributes:
        names: class names; ``classes`` are indices into them.
        classes: (M,) int64, ``UNKNOWN`` for a distractor without a class name.
        cosalient: (M,) bool.
        pictures: (M,) int64, the picture of each.
        embeddings: (M, D) float32 by kind.
    """

    names: list[str]
    classes: torch.Tensor
    cosalient: torch.Tensor
    pictures: torch.Tensor
    embeddings: dict[str, torch.Tensor]


class RegionEmbedder:
    """The network in float32, and what it makes of regions."""

    def __init__(self, cfg: CfgNode) -> None:
        """Build the network and load ``MODEL.WEIGHTS``, or the released file if that is empty."""
        cfg = cfg.clone()
        cfg.defrost()
        cfg.MODEL.DTYPE = "float32"
        self.model = build_model(cfg).eval()
        checkpointer = _Checkpointer(self.model)
        self.weights = released_weights(cfg)
        checkpointer.load(self.weights)
        self.has_rfm = self.model.rfm is not None
        if any(key.startswith("rfm.") for key in checkpointer.missing):
            self.has_rfm = False
            logger.warning("%s holds no RFM: its embedding is left out", self.weights)
        self.mapper = CoSaliencyMapper(cfg, is_train=False)
        self.pooler = ROIPooler(POOLED, [1.0 / STRIDE], 2, "ROIAlignV2")

    @torch.no_grad()
    def __call__(self, record: dict, boxes: torch.Tensor) -> dict[str, torch.Tensor]:
        """Embeddings of a picture's regions by kind, (K, D) float32 each.

        ``conv5_3`` is the mean over RoIAlign's 7x7 grid, ``conv5_3 7x7`` the whole grid, ``rfm``
        and ``grouping`` the embeddings that the network compares, where it has them.

        Args:
            record: dataset dict; the picture is resized as in the config's test.
            boxes: (K, 4) XYXY pixels of the original picture.
        """
        image = self.mapper(record)["image"]
        scale = [image.shape[2] / record["width"], image.shape[1] / record["height"]]
        boxes = (boxes * boxes.new_tensor(scale * 2)).to(self.model.device)
        features, r = self.model.features(self.model.preprocess([image]))
        grid = self.pooler([features[RAW].float().contiguous()], [Boxes(boxes)])
        found = {RAW: grid.mean(dim=(2, 3)), GRID: grid.flatten(1)}
        if self.has_rfm:
            found["rfm"] = self.model.rfm.embed(r, [boxes])[0]
        if self.model.grouping is not None:
            foreground = self.model.decoder(r, features).sigmoid()
            grouping = self.model.grouping
            sure = boxes.new_full((len(boxes),), SURE)
            size = tuple(image.shape[-2:])
            (regions,) = grouping.segment(features, foreground, [boxes], [sure], [size])
            regions.boxes = boxes
            found["grouping"] = grouping.embedding(features, foreground, [regions])[0]
        return {kind: nn.functional.normalize(e, dim=1).cpu() for kind, e in found.items()}


class _Checkpointer(CoSaliencyCheckpointer):
    """Remembers which parts the file lacks."""

    missing: Sequence[str] = ()

    def _load_model(self, checkpoint: dict):
        incompatible = super()._load_model(checkpoint)
        self.missing = tuple(incompatible.missing_keys)
        return incompatible


def collect_regions(name: str, embedder: RegionEmbedder) -> RegionSet:
    """Embed all objects of a registered dataset, distractors too; crowds are left out.

    A region's class is its category; a distractor's is the annotation's ``class_name``, where the
    json has it.

    Raises:
        ValueError: no such dataset, or it has no object.
    """
    check_registered([name])
    records = DatasetCatalog.get(name)
    labels = class_names(name, records)
    index: dict[str, int] = {}
    classes, cosalient, pictures, parts = [], [], [], []
    for number, record in enumerate(tqdm(records, desc=name, unit="picture", disable=None)):
        boxes = []
        for annotation, label in zip(record["annotations"], labels[number], strict=True):
            box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
            if annotation.get("iscrowd", 0) or box[2] <= box[0] or box[3] <= box[1]:
                continue
            boxes.append(box)
            classes.append(UNKNOWN if label is None else index.setdefault(label, len(index)))
            cosalient.append(annotation["cosalient"])
            pictures.append(number)
        if boxes:
            parts.append(embedder(record, torch.tensor(boxes, dtype=torch.float32)))
    if not parts:
        raise ValueError(f"dataset {name} has no object to compare; give one with annotations")
    return RegionSet(
        list(index),
        torch.tensor(classes),
        torch.tensor(cosalient),
        torch.tensor(pictures),
        {kind: torch.cat([part[kind] for part in parts]) for kind in parts[0]},
    )


def class_names(name: str, records: Sequence[dict]) -> list[list[str | None]]:
    """The class of each annotation of each record; None for a distractor that nobody named."""
    own: dict[tuple, str] = {}
    json_file = MetadataCatalog.get(name).get("json_file")
    if json_file:
        with PathManager.open(json_file) as f:
            annotations = json.load(f)["annotations"]
        own = {_place(a["image_id"], a): a["class_name"] for a in annotations if "class_name" in a}
    categories = MetadataCatalog.get(name).thing_classes

    def label(record: dict, annotation: dict) -> str | None:
        category = categories[annotation["category_id"]]
        if category != DISTRACTOR:
            return category
        return own.get(_place(record["image_id"], annotation))

    return [[label(record, a) for a in record["annotations"]] for record in records]


def annotated_classes(names: Sequence[str]) -> set[str]:
    """The classes that registered datasets annotate, distractors' names too."""
    check_registered(names)
    found: set[str | None] = set()
    for name in names:
        found.update(*class_names(name, DatasetCatalog.get(name)))
    return {label for label in found if label is not None}


def measure(regions: RegionSet, seen: set[str], across: bool) -> dict:
    """Precision@1 of each embedding.

    Args:
        regions: of one dataset.
        seen: classes that are not asked for; they stay among the answers.
        across: look in the other pictures instead of the region's own.

    Returns:
        ``queries`` (count), ``chance`` and ``precision_at_1`` by kind; the latter two are None and
        empty where there is no query.
    """
    if across:
        queries = queries_across(regions.classes, regions.pictures)
    else:
        queries = queries_within(regions.classes, regions.cosalient, regions.pictures)
    old = torch.tensor([i for i, name in enumerate(regions.names) if name in seen]).long()
    queries = queries[~torch.isin(regions.classes[queries], old)]
    if len(queries) == 0:
        return {"queries": 0, "chance": None, "precision_at_1": {}}
    rest = (regions.classes, queries, regions.pictures, across)
    return {
        "queries": len(queries),
        "chance": chance_level(*rest),
        "precision_at_1": {k: precision_at_1(e, *rest) for k, e in regions.embeddings.items()},
    }


def best_embedding(scores: Sequence[dict], kinds: Sequence[str]) -> str:
    """The network's own embedding with the highest mean precision@1; the raw grid where none is."""
    own = [kind for kind in kinds if kind in OWN]
    scored = [s["precision_at_1"] for s in scores if s["queries"]]
    return max(own, key=lambda kind: sum(s[kind] for s in scored), default=GRID)


def markdown(scores: dict[str, dict], sizes: dict[str, int]) -> str:
    """A table: a row an embedding, a column a dataset.

    Args:
        scores: :func:`measure` by dataset.
        sizes: length of each embedding by kind.
    """
    head = ["Embedding", "length", *(f"{n} (n = {s['queries']})" for n, s in scores.items())]
    rows = [["chance", "", *(_shown(s["chance"]) for s in scores.values())]]
    for kind, size in sizes.items():
        values = [_shown(s["precision_at_1"].get(kind)) for s in scores.values()]
        rows.append([kind, str(size), *values])
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _place(image_id: int, annotation: dict) -> tuple:
    return (image_id, *(float(v) for v in annotation["bbox"]))


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
