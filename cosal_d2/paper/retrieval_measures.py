"""Retrieval among regions: is the nearest other region of the same class?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

UNKNOWN = -1  # a class that nobody named: equal to no other, not even to itself
TIE = 1e-6  # difference of cosines below which two regions count as equally near
CHUNK = 256  # queries compared at once

MARKERS, COLOURS = ("o", "^"), tuple(f"C{i}" for i in range(10))
MAX_SHOWN = len(MARKERS) * len(COLOURS)

__all__ = [
    "UNKNOWN",
    "chance_level",
    "draw_embeddings",
    "precision_at_1",
    "principal_plane",
    "queries_across",
    "queries_within",
]


def precision_at_1(
    embeddings: torch.Tensor,
    classes: torch.Tensor,
    queries: torch.Tensor,
    pictures: torch.Tensor | None = None,
    across: bool = False,
) -> float:
    """Share of queries whose nearest other region, by cosine, is of the query's class.

    Regions that are equally near share the verdict: embeddings that are all alike get the chance
    level, whatever the order of the regions.

    Args:
        embeddings: (M, D) float, of any length.
        classes: (M,) int64, ``UNKNOWN`` for a region whose class is not known.
        queries: (Q,) int64 indices of regions.
        pictures: (M,) int64, the picture of each region; None puts all into one.
        across: compare with all regions of known class in the other pictures, instead of all
            other regions of the query's own picture.

    Raises:
        ValueError: there is no query, or one has no region to be compared with.
    """
    unit = F.normalize(embeddings.float(), dim=1)
    scores = []
    for chunk, candidates in _chunks(classes, queries, pictures, across):
        cosine = (unit[chunk] @ unit.T).masked_fill(~candidates, -torch.inf)
        nearest = cosine >= cosine.amax(dim=1, keepdim=True) - TIE
        scores.append(_share_of_class(nearest, classes, chunk))
    return torch.cat(scores).mean().item()


def chance_level(
    classes: torch.Tensor,
    queries: torch.Tensor,
    pictures: torch.Tensor | None = None,
    across: bool = False,
) -> float:
    """The expected :func:`precision_at_1` of a region drawn at random, with the same arguments."""
    chunks = _chunks(classes, queries, pictures, across)
    return torch.cat([_share_of_class(c, classes, q) for q, c in chunks]).mean().item()


def queries_within(
    classes: torch.Tensor, cosalient: torch.Tensor, pictures: torch.Tensor
) -> torch.Tensor:
    """Regions to ask for within their picture: hit and miss are both possible.

    Each is a co-salient object beside another co-salient one of its class and beside at least one
    object that is of another class or of an unknown one.

    Args:
        classes: (M,) int64.
        cosalient: (M,) bool.
        pictures: (M,) int64.

    Returns:
        (Q,) int64 indices, ascending.
    """
    chosen = []
    for picture in pictures.unique().tolist():
        here = (pictures == picture).nonzero()[:, 0]
        same = classes[here][:, None] == classes[here][None]
        group = cosalient[here] & (classes[here] != UNKNOWN)
        partners = (same & group[None]).sum(dim=1) >= 2
        chosen.append(here[group & partners & (~same).any(dim=1)])
    return torch.cat(chosen) if chosen else torch.zeros(0, dtype=torch.int64)


def queries_across(classes: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """Regions to ask for across pictures: those whose class another picture shows as well.

    Returns:
        (Q,) int64 indices, ascending.
    """
    places = torch.stack([classes, pictures], dim=1).unique(dim=0)
    names, counts = places[:, 0].unique(return_counts=True)
    wanted = names[(counts >= 2) & (names != UNKNOWN)]
    return torch.isin(classes, wanted).nonzero()[:, 0]


def principal_plane(embeddings: torch.Tensor) -> torch.Tensor:
    """Coordinates along the two directions of largest variance.

    Args:
        embeddings: (M, D) with M >= 2 and D >= 2.

    Returns:
        (M, 2) float32, centred; of each coordinate the value farthest from 0 is positive.
    """
    x = embeddings.float()
    u, s, _ = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
    plane = u[:, :2] * s[:2]
    farthest = plane.gather(0, plane.abs().argmax(dim=0)[None])
    return plane * torch.where(farthest < 0, -1.0, 1.0)


def draw_embeddings(
    panels: Mapping[str, torch.Tensor],
    classes: torch.Tensor,
    names: Sequence[str],
    hidden: set[str] = frozenset(),
) -> Figure:
    """The principal plane of each kind of embedding, a panel each, coloured by class.

    The most frequent ``MAX_SHOWN`` classes have a colour and stand in the legend; all other
    regions are grey.

    Args:
        panels: embeddings (M, D) by title.
        classes: (M,) int64.
        names: of the classes.
        hidden: names of classes that stay grey.
    """
    counts = {i: int((classes == i).sum()) for i, name in enumerate(names) if name not in hidden}
    shown = sorted(counts, key=lambda i: (-counts[i], names[i]))[:MAX_SHOWN]
    rest = ~torch.isin(classes, torch.tensor(shown, dtype=classes.dtype))
    figure = Figure(figsize=(5.2 * len(panels) + 2, 5.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, embeddings) in zip(axes, panels.items(), strict=True):
        plane = principal_plane(embeddings).numpy()
        label = f"others ({int(rest.sum())})"
        ax.scatter(*plane[rest.numpy()].T, s=6, color="0.85", label=label)
        for k, i in enumerate(shown):
            look = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k // len(COLOURS)]}
            points = plane[(classes == i).numpy()]
            ax.scatter(*points.T, s=16, alpha=0.8, **look, label=f"{names[i]} ({counts[i]})")
        ax.set_title(title)
        ax.set_xticks([])
        ax.set_yticks([])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    return figure


def _chunks(
    classes: torch.Tensor, queries: torch.Tensor, pictures: torch.Tensor | None, across: bool
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Queries (q,) and what each is compared with, (q, M) bool."""
    if len(queries) == 0:
        raise ValueError("there is no query: no region has another one of its class to be found")
    if pictures is None:
        pictures = torch.zeros_like(classes)
    for chunk in queries.split(CHUNK):
        same_picture = pictures[chunk][:, None] == pictures[None]
        if across:
            candidates = ~same_picture & (classes != UNKNOWN)[None]
        else:
            candidates = same_picture
            candidates[torch.arange(len(chunk)), chunk] = False
        alone = ~candidates.any(dim=1)
        if bool(alone.any()):
            raise ValueError(
                f"query {chunk[alone][0].item()} has no other region to be compared with"
            )
        yield chunk, candidates


def _share_of_class(
    chosen: torch.Tensor, classes: torch.Tensor, queries: torch.Tensor
) -> torch.Tensor:
    """Share of the chosen regions (q, M) that are of the query's class, (q,)."""
    own = classes[queries][:, None]
    right = chosen & (own == classes[None]) & (own != UNKNOWN)
    return right.sum(dim=1).double() / chosen.sum(dim=1)
