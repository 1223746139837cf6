"""A picture in overlapping windows, whose regions are compared across all of them: for many small
objects and for large pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.layers import nms
from detectron2.structures import Boxes
from detectron2.structures.boxes import pairwise_intersection

from cosal_d2.modeling.grouping.gate import GATE_STRIDE, gated_logits
from cosal_d2.modeling.grouping.judged_regions import JudgedRegions
from cosal_d2.modeling.grouping.region_grouping import RegionGrouping
from cosal_d2.modeling.grouping.region_masks import SIDE, WINDOW, RegionSet, paste_masks
from cosal_d2.modeling.meta_arch import CoSaliencyNet

# Share of a window's side that it has in common with its neighbour (ours).
OVERLAP = 0.25
# There are no more windows than leave them this many pixels a side (ours).
LEAST_SIDE = 64
# Pixels of all windows of one forward pass together, at most (ours).
BATCH_PIXELS = 2**19
# Regions that are compared, at most (ours).
MAX_REGIONS = 2000
# Added to the objectness of regions that are not cut; more than any two logits differ by.
UNCUT_BONUS = 100.0


@dataclass(frozen=True)
class Windows:
    """Overlapping windows of one size, in rows and columns, over a picture.

    Attributes:
        size: (H, W) of the picture.
        side: (h, w) of a window.
        tops, lefts: first row and first column of the windows, ascending.
    """

    size: tuple[int, int]
    side: tuple[int, int]
    tops: np.ndarray
    lefts: np.ndarray

    @classmethod
    def over(cls, height: int, width: int, tiles: int) -> Windows:
        """Windows over a picture.

        Args:
            height, width: of the picture.
            tiles: windows along its longer side; fewer where they would be under 64 pixels. Along
                the shorter side there are as many as make them about square.
        """
        longer = max(height, width)
        tiles = max(1, min(tiles, longer // LEAST_SIDE))
        goal = longer / (tiles * (1 - OVERLAP) + OVERLAP)
        (h, tops), (w, lefts) = (_along(length, goal) for length in (height, width))
        return cls((height, width), (h, w), tops, lefts)

    def boxes(self) -> list[tuple[int, int, int, int]]:
        """XYXY of the windows, row by row."""
        h, w = self.side
        return [(x, y, x + w, y + h) for y in self.tops.tolist() for x in self.lefts.tolist()]

    def shares(self) -> Iterator[torch.Tensor]:
        """What each window counts (h, w) float32 in (0, 1], row by row: at every pixel of the
        picture that is 1 together, and in an overlap it falls linearly towards the window's end."""
        (height, width), (h, w) = self.size, self.side
        rows, columns = _shares(self.tops, h, height), _shares(self.lefts, w, width)
        return (torch.outer(row, column) for row in rows for column in columns)

    def common(self) -> tuple[float, float]:
        """Height and width of the largest object that is whole in some window wherever it lies."""
        return tuple(
            side - float(np.diff(starts).max()) if len(starts) > 1 else float("inf")
            for side, starts in zip(self.side, (self.tops, self.lefts), strict=True)
        )


def _along(length: int, goal: float) -> tuple[int, np.ndarray]:
    """Side in pixels, about ``goal``, and first pixels of the windows along a side."""
    count = max(1, round((length / goal - OVERLAP) / (1 - OVERLAP)))
    side = min(length, int(np.ceil(length / (count * (1 - OVERLAP) + OVERLAP))))
    return side, np.linspace(0, length - side, count).round().astype(int)


def _shares(starts: np.ndarray, side: int, length: int) -> torch.Tensor:
    """What each of n windows counts along a side: (n, side) float32."""
    end = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5)
    total = np.zeros(length)
    for start in starts:
        total[start : start + side] += end
    return torch.from_numpy(np.stack([end / total[s : s + side] for s in starts])).float()


@torch.inference_mode()
def predict_tiles(
    model: CoSaliencyNet,
    resized: Callable[[np.ndarray], torch.Tensor],
    picture: np.ndarray,
    tiles: int,
    exemplar: np.ndarray | None = None,
) -> dict:
    """What repeats in a picture that the network sees in windows, and as a whole.

    Each window is resized and passed through the network alone. Then the regions of all are judged
    together, so that an object that is alone in its window still belongs to its group. The whole
    picture is passed as well, for objects that are too large for the windows; small ones are taken
    from the windows alone, which show them finer. A region that its window cuts gives way to one
    that another window holds whole. Maps are blended linearly where windows overlap, and where a
    large object is, the map of the whole picture joins them as the larger of the two.

    Memory grows with a few maps of the picture, not with their product with the objects.

    Args:
        model: the network, with the grouping, in its test mode.
        resized: gives the network's input (3, h, w) of a picture.
        picture: uint8 (H, W, 3).
        tiles: see :meth:`Windows.over`.
        exemplar: a box (4,) XYXY in the picture.

    Returns:
        the network's output for the picture, ``regions`` in the picture's pixels.
    """
    size = height, width = picture.shape[:2]
    windows = Windows.over(height, width, tiles)
    boxes = [(0, 0, width, height), *windows.boxes()]
    home = None if exemplar is None else _home(boxes, exemplar)
    exemplars = [exemplar if i == home else None for i in range(len(boxes))]
    seen = _see(model, resized, picture, boxes[:1], exemplars[:1])
    seen += _see(model, resized, picture, boxes[1:], exemplars[1:])
    regions = RegionSet.cat([x.regions for x in seen])
    counts = torch.tensor([len(x.regions) for x in seen], device=regions.boxes.device)
    view = torch.arange(len(seen), device=counts.device).repeat_interleave(counts)
    keep = distinct_regions(regions, view, boxes, windows.common(), model.grouping)
    if home is not None:
        last = counts[: home + 1].sum() - 1
        keep = torch.cat([keep[keep != last], last[None]])
    vectors = torch.cat([x.embeddings for x in seen])
    judged = model.grouping.judge_regions(size, regions[keep], vectors[keep], home is not None)
    cosal_map = torch.zeros(size, device=model.device)
    for own, box, share in zip(seen[1:], boxes[1:], windows.shares(), strict=True):
        x0, y0, x1, y1 = box
        shown = share.to(model.device) * _map(model, own, judged.seen_in(box, own.size), box)
        cosal_map[y0:y1, x0:x1] += shown
    large = judged[view[keep] == 0]
    if len(large.regions):
        own = large.seen_in(boxes[0], seen[0].size)
        torch.maximum(cosal_map, _map(model, seen[0], own, boxes[0], True), out=cosal_map)
    return model.answer(cosal_map, judged, home is not None)


def distinct_regions(
    regions: RegionSet,
    view: torch.Tensor,
    boxes: Sequence[tuple[int, int, int, int]],
    common: tuple[float, float],
    grouping: RegionGrouping,
) -> torch.Tensor:
    """Which regions of all views are compared: the most object-like one of each object.

    Args:
        regions: K, in the picture's pixels.
        view: (K,) the view that each was found in; 0 is the whole picture.
        boxes: XYXY of the views in the picture.
        common: height and width of the largest object that is whole in some window.
        grouping: its thresholds.

    Returns:
        indices of those that stay, at most ``MAX_REGIONS``.
    """
    found, frame = regions.boxes, regions.boxes.new_tensor(boxes)
    sides = found[:, 2:] - found[:, :2]
    small = (view == 0) & (sides <= sides.new_tensor(common[::-1])).all(dim=1)
    # A mask that ends within two of its cells of the window's end may go on.
    near = (2 * sides * WINDOW / SIDE).repeat(1, 2)
    own = frame[view]
    inner = own != frame[0]
    cut = (inner & ((found - own).abs() <= near)).any(dim=1)
    rank = regions.objectness + UNCUT_BONUS * ~cut
    keep = (~small).nonzero()[:, 0]
    keep = keep[nms(regions.proposals[keep], rank[keep], grouping.nms_thresh)[:MAX_REGIONS]]
    # A part of an object gives way to the whole.
    parts, wholes = keep[cut[keep]], keep[~cut[keep]]
    inside = pairwise_intersection(Boxes(found[parts]), Boxes(found[wholes]))
    inside = inside > grouping.same_object_share * sides[parts].prod(dim=1, keepdim=True)
    elsewhere = view[parts][:, None] != view[wholes][None]
    return torch.cat([wholes, parts[~(inside & elsewhere).any(dim=1)]])


@dataclass(frozen=True)
class _Seen:
    """What the network finds in a view of the picture.

    Attributes:
        size: (h, w) of its input.
        logits: (1, 1, H/s, W/s) of the foreground, with the padding.
        regions: in the picture's pixels.
        embeddings: (K, D) of the regions.
    """

    size: tuple[int, int]
    logits: torch.Tensor
    regions: RegionSet
    embeddings: torch.Tensor


def _home(boxes: Sequence[tuple[int, int, int, int]], exemplar: np.ndarray) -> int:
    """The view that shows an exemplar: the window that holds it best, or else the whole picture."""
    views = np.asarray(boxes[1:])
    room = np.concatenate([exemplar[:2] - views[:, :2], views[:, 2:] - exemplar[2:]], axis=1)
    best = int(room.min(axis=1).argmax())
    return best + 1 if room[best].min() >= 0 else 0


def _see(
    model: CoSaliencyNet,
    resized: Callable[[np.ndarray], torch.Tensor],
    picture: np.ndarray,
    boxes: Sequence[tuple[int, int, int, int]],
    exemplars: Sequence[np.ndarray | None],
) -> list[_Seen]:
    """Pass views of one size through the network; an exemplar, in the picture, becomes the last
    region of its view."""
    inputs = [resized(picture[y0:y1, x0:x1]) for x0, y0, x1, y1 in boxes]
    size = h, w = tuple(inputs[0].shape[1:])
    moved: list[torch.Tensor | None] = []
    for (x0, y0, x1, y1), box in zip(boxes, exemplars, strict=True):
        scale = np.array([w / (x1 - x0), h / (y1 - y0)] * 2)
        moved.append(None if box is None else torch.from_numpy((box - [x0, y0] * 2) * scale))
    batch = max(1, BATCH_PIXELS // (h * w))
    seen = []
    for i in range(0, len(boxes), batch):
        part = slice(i, i + batch)
        with model.autocast():
            logits, found = model.find(model.preprocess(inputs[part]), moved[part])
        seen += [
            _Seen(size, z, regions.moved(box, size), vectors)
            for z, (regions, vectors), box in zip(logits.split(1), found, boxes[part], strict=True)
        ]
    return seen


def _map(
    model: CoSaliencyNet,
    seen: _Seen,
    judged: JudgedRegions,
    box: tuple[int, int, int, int],
    inside: bool = False,
) -> torch.Tensor:
    """The map (h, w) of a view, gated by the regions that reach into it.

    Args:
        model, seen, box: the view.
        judged: those regions, in the input's pixels.
        inside: whether the map is 0 outside of the regions.
    """
    x0, y0, x1, y1 = box
    with model.autocast():
        logits = model.grouping.gated(seen.logits, [judged])
        if inside:
            masks, boxes = judged.regions.masks.float(), judged.regions.proposals
            cells = tuple(-(-side // GATE_STRIDE) for side in seen.size)
            cover = paste_masks(masks, boxes, cells, GATE_STRIDE).amax(dim=0)
            logits = gated_logits(logits, cover[None])
        logits = model.full_size(logits)
    (shown,) = model.postprocess(logits, [seen.size], [{"height": y1 - y0, "width": x1 - x0}])
    return shown["cosal_map"]
