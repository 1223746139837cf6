"""The name of an exported file, and what it says of its network, so that an engine needs no
config."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cosal_d2.utils.files import check_output

SUFFIXES = (".onnx", ".pt2")
METADATA_KEY = "cosal_d2"  # of the json in ONNX's metadata


def export_path(output: str | os.PathLike, int8: bool) -> Path:
    """The path of a file that is to be exported, where it can be written.

    Args:
        output: the path.
        int8: whether the convolutions are to be computed in int8.

    Raises:
        OSError: no such folder, none that can be written to, or a folder of that name.
        ValueError: no such format.
    """
    path = Path(output)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{output}: give a name that ends with {' or '.join(SUFFIXES)}")
    if int8 and path.suffix != ".onnx":
        raise ValueError(f"{output}: int8 is of ONNX; give a name that ends with .onnx")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{output}: no such folder; make {path.parent} first")
    check_output(path.parent)
    if path.is_dir():
        raise IsADirectoryError(f"{output}: is a folder; give another name")
    return path


@dataclass(frozen=True)
class ModelInfo:
    """Of an exported network.

    Attributes:
        config: the file that it was built from.
        version: of cosal_d2.
        precision: float32, or int8 of the convolutions.
        input_format: order of the channels, "BGR" or "RGB".
        min_size: pixels of the shorter side that the network sees; 0 for the picture's own.
        max_size: pixels of the longer side, at most.
        stride: of which height and width of the input are multiples.
        grouping: whether it finds objects.
        repeats_threshold: least probability that anything repeats; below, the map is empty.
        same_object_share, score_threshold, pair_threshold: see :class:`.InstanceOptions`.
    """

    config: str
    version: str
    precision: str
    input_format: str
    min_size: int
    max_size: int
    stride: int
    grouping: bool
    repeats_threshold: float
    same_object_share: float
    score_threshold: float
    pair_threshold: float

    def to_json(self) -> str:
        """As text for the file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ModelInfo:
        """Of a file's text.

        Raises:
            ValueError: it is of another version, or no such text.
        """
        try:
            content = json.loads(text)
            return cls(**{field.name: content[field.name] for field in fields(cls)})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its metadata {METADATA_KEY!r} cannot be read: {error!r}") from error
