"""What a worker process does: from paths of pictures to rows of a shard."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from detectron2.config import CfgNode

from cosal_d2.inference.bulk.shards import FAILED, OK, SCHEMA
from cosal_d2.inference.picture_predictor import Box
from cosal_d2.inference.pipeline import predict_pictures
from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.inference.results import CoSaliencyResult
from cosal_d2.inference.saving import Saved, one_line
from cosal_d2.inference.sources import Source
from cosal_d2.utils.drawing import map_to_uint8
from cosal_d2.utils.png import write_png_rows

PICTURES = pa.schema([("path", pa.binary()), ("name", pa.string())])
SECONDS = "seconds"  # of the model for a picture: a column beside those of a shard


class Worker:
    """Holds the network, and predicts the pictures of a task as ``cosal predict`` does."""

    def __init__(self, cfg: CfgNode, *, dtype: str, size: int | None, tiles: int, batch: int):
        """
        Args:
            cfg: the config, with its device.
            dtype, size: of :class:`.CoSaliencyPredictor`.
            tiles: of :class:`.PicturePredictor`.
            batch: pictures of a forward pass.
        """
        self.predictor = CoSaliencyPredictor(cfg, dtype=dtype, size=size)
        self.tiles, self.batch = tiles, batch

    def __call__(self, pictures: pa.Table) -> pa.Table:
        """Rows of :data:`.shards.SCHEMA`, with :data:`SECONDS`, for pictures of
        :data:`PICTURES`, in any order."""
        sources = [Source(os.fsdecode(row["path"]), row["name"]) for row in pictures.to_pylist()]
        rows = Rows(with_objects=self.predictor.model.grouping is not None)
        timed = _Timed(self.predictor)
        predict_pictures(timed, sources, rows, batch=self.batch, tiles=self.tiles)
        table = pa.Table.from_pylist(list(rows.found.values()), SCHEMA)
        seconds = pa.array(np.full(len(sources), timed.seconds / len(sources)))
        return table.append_column(SECONDS, seconds)


class Rows:
    """Collects rows of pictures where :class:`.ResultWriter` writes files."""

    def __init__(self, with_objects: bool) -> None:
        """
        Args:
            with_objects: whether the network finds objects.
        """
        self.with_objects = with_objects
        self.found: dict[str, dict] = {}

    def write(self, source: Source, result: CoSaliencyResult) -> Saved:
        """Make the row of a picture; it may run in several threads."""
        try:
            self.found[source.name] = self._row(source, result)
            return Saved([], [])
        except Exception as error:  # whatever it is, it is of this picture alone
            return Saved([], [one_line(error)])

    def append(self, source: Source, saved: Saved) -> list[str]:
        """Give the errors of a picture, whose row they become."""
        if saved.errors:
            self.found[source.name] = failed_row(source.name, "; ".join(saved.errors))
        return saved.errors

    def require_room(self) -> None:
        """There is none to run out of."""

    def _row(self, source: Source, result: CoSaliencyResult) -> dict:
        png = io.BytesIO()
        write_png_rows(png, map_to_uint8(result.map))
        height, width = result.map.shape
        row = {"name": source.name, "status": OK, "height": height, "width": width}
        row |= {"map": png.getvalue(), "repeats": result.repeats}
        if self.with_objects:
            row |= {
                "boxes": result.found.pred_boxes.tolist(),
                "masks": [a["segmentation"] for a in result.to_coco()["annotations"]],
                "groups": result.found.group_ids.tolist(),
                "scores": result.found.scores.tolist(),
                "count": result.count,
                "counts": result.counts,
            }
        return row


def failed_row(name: str, reason: str) -> dict:
    """The row of a picture without a result."""
    reason = reason.encode("utf-8", "backslashreplace").decode()
    return {"name": name, "status": FAILED, "reason": reason}


class _Timed:
    """A predictor that adds up the seconds of its model."""

    def __init__(self, predictor: CoSaliencyPredictor) -> None:
        self.predictor = predictor
        self.seconds = 0.0

    def batch(
        self, images: Sequence[np.ndarray], like: Sequence[Box | None] | None, tiles: int
    ) -> list[CoSaliencyResult]:
        start = time.perf_counter()
        try:
            return self.predictor.batch(images, like, tiles)
        finally:
            self.seconds += time.perf_counter() - start
