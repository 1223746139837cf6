"""How well embeddings of ground-truth regions find their own class, beside raw encoder features.

Precision@1 is the share of query regions whose nearest other region, by cosine, is of their own
class.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes, BoxMode
from matplotlib.figure import Figure
from tqdm import tqdm

from cosal_d2.data import CoSaliencyMapper
from cosal_d2.data.datasets import check_registered
from cosal_d2.engine.checkpoint import load_network, released_weights, weight_names
from cosal_d2.utils.files import replacing, table_text, write_json

logger = logging.getLogger(__name__)

RAW, GRID = "encoder", "encoder 7x7"
OWN = ("rfm", "grouping")
POOLED = 7
UNKNOWN = -1  # a class that nobody named: equal to no other, not even to itself
TIE = 1e-6  # difference of cosines below which two regions count as equally near
CHUNK = 256  # queries compared at once

MARKERS, COLOURS = ("o", "^"), tuple(f"C{i}" for i in range(10))
MAX_SHOWN = len(MARKERS) * len(COLOURS)


@dataclass
class EmbeddedRegions:
    """Ground-truth regions of a dataset.

    Attributes:
        names: class names; ``classes`` are indices into them.
        classes: (M,) int64, ``UNKNOWN`` for a distractor without a class name.
        cosalient: (M,) bool.
        pictures: (M,) int64, the picture of each.
        embeddings: (M, D) float32 of length 1, by kind.
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
        self.weights = released_weights(cfg)
        self.model = load_network(cfg)
        self.has_rfm = self.model.rfm is not None
        if self.has_rfm:
            needed = {f"rfm.{name}" for name in self.model.rfm.state_dict()}
            self.has_rfm = needed <= weight_names(self.weights)
            if not self.has_rfm:
                logger.warning("%s holds no RFM: its embedding is left out", self.weights)
        self.mapper = CoSaliencyMapper(cfg, is_train=False)
        stride = self.model.backbone.output_shape()[self.model.top_feature].stride
        self.pooler = ROIPooler(POOLED, [1.0 / stride], 2, "ROIAlignV2")

    @torch.no_grad()
    def __call__(self, record: dict, boxes: torch.Tensor) -> dict[str, torch.Tensor]:
        """Embeddings of a picture's regions by kind, (K, D) float32 each.

        ``encoder`` is the mean over RoIAlign's 7x7 grid on H, the encoder's coarsest level that the
        network takes, ``encoder 7x7`` the whole grid, ``r`` the mean on R, ``rfm`` and ``grouping``
        the embeddings that the network compares, each where the network has it.

        Args:
            record: dataset dict; the picture is resized as in the config's test.
            boxes: (K, 4) XYXY pixels of the original picture.
        """
        image = self.mapper(record)["image"]
        scale = [image.shape[2] / record["width"], image.shape[1] / record["height"]]
        boxes = (boxes * boxes.new_tensor(scale * 2)).to(self.model.device)
        features, r = self.model.features(self.model.preprocess([image]))
        grid = self._pool(features[self.model.top_feature], boxes)
        found = {RAW: grid.mean(dim=(2, 3)), GRID: grid.flatten(1)}
        if self.model.feature_sensitive is not None:
            found["r"] = self._pool(r, boxes).mean(dim=(2, 3))
        if self.has_rfm:
            found["rfm"] = self.model.rfm.embed(r, [boxes])[0]
        if self.model.grouping is not None:
            logits = self.model.decoder(r, features)
            sizes = [tuple(image.shape[-2:])]
            embedded = self.model.grouping.embed_objects(features, logits, [boxes], sizes)
            found["grouping"] = embedded[0]
        return {kind: F.normalize(e, dim=1).cpu() for kind, e in found.items()}

    def _pool(self, level: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """RoIAlign's grids (K, C, 7, 7) on a level (1, C, h, w)."""
        return self.pooler([level.float().contiguous()], [Boxes(boxes)])


def compare_embeddings(
    cfg: CfgNode,
    names: Sequence[str],
    *,
    unseen_by: Sequence[str] = (),
    across: bool = False,
    out: Path | None = None,
) -> str:
    """Precision@1 of all embeddings among the regions of datasets.

    Args:
        cfg: the network, with its weights.
        names: registered datasets.
        unseen_by: registered datasets whose classes are no queries.
        across: a second table, of the nearest region of all other pictures.
        out: takes ``retrieval.json`` and ``embeddings.png``; None writes nothing.

    Returns:
        the tables, Markdown.

    Raises:
        ValueError: no dataset is given, one is not registered or has no object, or the weights do
            not fit.
        FileNotFoundError: weights or pictures are missing.
    """
    if not names:
        raise ValueError("no dataset to test: give --data NAME, as DATASETS.TEST is empty")
    seen = annotated_classes(unseen_by)
    check_registered(names)
    embedder = RegionEmbedder(cfg)
    sets = {name: collect_regions(name, embedder) for name in names}
    content = {
        "weights": Path(embedder.weights).name,
        "unseen_by": list(unseen_by),
        "regions": {name: len(regions.classes) for name, regions in sets.items()},
        "within": {name: measure(s, seen) for name, s in sets.items()},
    }
    if across:
        content["across"] = {name: measure(s, seen, across=True) for name, s in sets.items()}
    sizes = {kind: e.shape[1] for kind, e in next(iter(sets.values())).embeddings.items()}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "retrieval.json", content)
        shown = (best_embedding(list(content["within"].values()), list(sizes)), RAW)
        with replacing(out / "embeddings.png") as temporary:
            draw_embeddings(sets, shown, seen).savefig(temporary, dpi=110)
    titles = {"within": "among an image's regions", "across": "among all other pictures' regions"}
    return "\n".join(
        f"\nRetrieval precision@1 {title}\n\n{markdown(content[key], sizes)}"
        for key, title in titles.items()
        if key in content
    )


def collect_regions(name: str, embedder: RegionEmbedder) -> EmbeddedRegions:
    """Embed all objects of a registered dataset, distractors too; crowds are left out.

    Raises:
        ValueError: the dataset has no object.
    """
    index: dict[str, int] = {}
    classes, cosalient, pictures, parts = [], [], [], []
    records = tqdm(DatasetCatalog.get(name), desc=name, unit="picture", disable=None)
    for number, record in enumerate(records):
        boxes = []
        for annotation in record["annotations"]:
            box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
            if annotation.get("iscrowd", 0) or box[2] <= box[0] or box[3] <= box[1]:
                continue
            label = annotation["own_class"]
            boxes.append(box)
            classes.append(UNKNOWN if label is None else index.setdefault(label, len(index)))
            cosalient.append(annotation["cosalient"])
            pictures.append(number)
        if boxes:
            parts.append(embedder(record, torch.tensor(boxes, dtype=torch.float32)))
    if not parts:
        raise ValueError(f"dataset {name} has no object to compare; give one with annotations")
    return EmbeddedRegions(
        list(index),
        torch.tensor(classes),
        torch.tensor(cosalient),
        torch.tensor(pictures),
        {kind: torch.cat([part[kind] for part in parts]) for kind in parts[0]},
    )


def annotated_classes(names: Sequence[str]) -> set[str]:
    """The classes that registered datasets annotate, distractors' names too."""
    check_registered(names)
    records = (record for name in names for record in DatasetCatalog.get(name))
    return {a["own_class"] for record in records for a in record["annotations"]} - {None}


def measure(regions: EmbeddedRegions, seen: Set[str] = frozenset(), across: bool = False) -> dict:
    """Precision@1 of each embedding, and of a region drawn at random (chance).

    Within a picture each co-salient object is a query that has another co-salient one of its class
    and an object of another class, or of an unknown one, beside it. Across pictures each region is
    a query whose class another picture shows; its candidates are the other pictures' regions of
    known class. Regions that are equally near count by their share: embeddings that are all alike
    get the chance level, whatever the order of the regions.

    Args:
        regions: of one dataset.
        seen: classes that are no queries; they stay candidates.
        across: look in the other pictures instead of the region's own.

    Returns:
        ``queries`` (count), ``chance`` and ``precision_at_1`` by kind; the latter two are None and
        empty where there is no query.
    """
    classes, cosalient, pictures = regions.classes, regions.cosalient, regions.pictures
    known = classes != UNKNOWN
    old = torch.tensor([i for i, name in enumerate(regions.names) if name in seen]).long()
    queries = known & ~torch.isin(classes, old)
    everything = torch.arange(len(classes))
    chance, scores = [], {kind: [] for kind in regions.embeddings}
    for chunk in everything[queries if across else queries & cosalient].split(CHUNK):
        same_picture = pictures[chunk][:, None] == pictures
        right = classes[chunk][:, None] == classes
        if across:
            allowed = ~same_picture & known
            possible = (allowed & right).any(dim=1)
        else:
            allowed = same_picture & (chunk[:, None] != everything)
            possible = (allowed & right & cosalient).any(dim=1) & (allowed & ~right).any(dim=1)
        chunk, allowed, right = chunk[possible], allowed[possible], right[possible]
        if not len(chunk):
            continue
        chance.append(_share(right, allowed))
        for kind, e in regions.embeddings.items():
            cosine = (e[chunk] @ e.T).masked_fill(~allowed, -torch.inf)
            nearest = cosine >= cosine.amax(dim=1, keepdim=True) - TIE
            scores[kind].append(_share(right, nearest))
    if not chance:
        return {"queries": 0, "chance": None, "precision_at_1": {}}
    return {
        "queries": sum(map(len, chance)),
        "chance": torch.cat(chance).mean().item(),
        "precision_at_1": {kind: torch.cat(own).mean().item() for kind, own in scores.items()},
    }


def _share(right: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Share of the chosen regions that are right, (Q,), from (Q, M) bool."""
    return (right & chosen).sum(dim=1).double() / chosen.sum(dim=1)


def best_embedding(scores: Sequence[dict], kinds: Sequence[str]) -> str:
    """The network's own embedding with the highest mean precision@1; the raw grid where none is."""
    own = [kind for kind in kinds if kind in OWN]
    scored = [s["precision_at_1"] for s in scores if s["queries"]]
    return max(own, key=lambda kind: sum(s[kind] for s in scored), default=GRID)


def markdown(scores: Mapping[str, dict], sizes: Mapping[str, int]) -> str:
    """A table: a row an embedding, a column a dataset.

    Args:
        scores: :func:`measure` by dataset.
        sizes: length of each embedding by kind.
    """
    head = ["Embedding", "length", *(f"{n} (n = {s['queries']})" for n, s in scores.items())]
    rows = [["chance", "", *(_shown(s["chance"]) for s in scores.values())]]
    for kind, size in sizes.items():
        values = (_shown(s["precision_at_1"].get(kind)) for s in scores.values())
        rows.append([kind, str(size), *values])
    return table_text(head, rows)


def draw_embeddings(
    sets: Mapping[str, EmbeddedRegions], kinds: Sequence[str], hidden: set[str] = frozenset()
) -> Figure:
    """The two directions of largest variance of embeddings, a panel a kind, coloured by class.

    The most frequent ``MAX_SHOWN`` classes have a colour and stand in the legend; all other
    regions are grey.

    Args:
        sets: regions by dataset; all go into each panel, and datasets may share classes.
        kinds: of embeddings.
        hidden: names of classes that stay grey.
    """
    labels = [
        "" if i == UNKNOWN else regions.names[i]
        for regions in sets.values()
        for i in regions.classes.tolist()
    ]
    counts = {name: labels.count(name) for name in set(labels) - hidden - {""}}
    shown = sorted(counts, key=lambda name: (-counts[name], name))[:MAX_SHOWN]
    inside = {name: torch.tensor([label == name for label in labels]) for name in shown}
    rest = torch.tensor([label not in counts or label not in shown for label in labels])
    figure = Figure(figsize=(5.2 * len(kinds) + 2, 5.2), layout="constrained")
    axes = figure.subplots(1, len(kinds), squeeze=False)[0]
    for ax, kind in zip(axes, kinds, strict=True):
        x = torch.cat([s.embeddings[kind] for s in sets.values()])
        u, s, _ = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
        plane = u[:, :2] * s[:2]
        ax.scatter(*plane[rest].T.numpy(), s=6, color="0.85", label=f"others ({int(rest.sum())})")
        for k, name in enumerate(shown):
            look = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k // len(COLOURS)]}
            points = plane[inside[name]].T.numpy()
            ax.scatter(*points, s=16, alpha=0.8, **look, label=f"{name} ({counts[name]})")
        ax.set(title=kind, xticks=[], yticks=[])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    return figure


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
