"""What reads strangers' files, each with sound files to damage and with what has to hold of its
results."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from network_data import tiny_config

from chaos import sources
from chaos.damage import damage_bytes, damage_file, damage_folder
from cosal_d2.data import CoSaliencyMapper
from cosal_d2.data.datasets import load_cosal_json
from cosal_d2.evaluation.maps import evaluate_methods
from cosal_d2.evaluation.truth import decode_truth
from cosal_d2.inference.box_masks import with_box_masks
from cosal_d2.prepare.check.check import check_dataset
from cosal_d2.prepare.check.dataset import load_dataset
from cosal_d2.prepare.check.repair import write_repaired
from cosal_d2.prepare.convert.coco import coco_source
from cosal_d2.prepare.convert.conversion import Source, convert
from cosal_d2.prepare.convert.labelme import labelme_source
from cosal_d2.prepare.convert.mask_folders import mask_source
from cosal_d2.prepare.convert.options import Options
from cosal_d2.prepare.convert.voc import voc_source
from cosal_d2.prepare.convert.voc_boxes import voc_boxes_source
from cosal_d2.prepare.convert.yolo import yolo_source
from cosal_d2.prepare.target import Target
from cosal_d2.utils.mask_pictures import read_binary, read_grey, read_truth, read_values
from cosal_d2.utils.pictures import picture_size, read_image
from cosal_d2.utils.size_limit import max_pixels


@dataclass(frozen=True)
class Reader:
    """
    Attributes:
        write: writes sound files into a folder.
        damage: changes them at random.
        read: reads them; its errors are ValueError or OSError, and name a file.
    """

    write: Callable[[Path], object]
    damage: Callable[[Path, random.Random], None]
    read: Callable[[Path], None]


def _load(root: Path) -> None:
    for record in load_cosal_json(str(root / "made.json"), str(root / "made")):
        truth = decode_truth(record)
        assert truth.mask.shape == (record["height"], record["width"])


def _check(root: Path) -> None:
    dataset = load_dataset(str(root / "made.json"))
    findings = check_dataset(dataset, workers=1)
    for finding in findings:
        str(finding)
    target = Target(root, "fixed", workers=1, folder="out")
    _, left = write_repaired(dataset, findings, [], target)
    if not left:
        load_cosal_json(str(target.json_file), str(target.json_file.with_suffix("")))


def _coco(root: Path) -> Source:
    return coco_source(root / "made.json", root / "made")


def _yolo(root: Path) -> Source:
    return yolo_source(root / "images", names=root / "data.yaml")


def _voc(root: Path) -> Source:
    return voc_source(root, root / "list.txt")


def _boxes(root: Path) -> Source:
    return with_box_masks(voc_boxes_source(root), _filled)


def _filled(pixels: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    """The boxes as masks, where the network would see its objects."""
    rows, columns = np.indices(pixels.shape[:2])
    return [
        (rows >= y0) & (rows < y1) & (columns >= x0) & (columns < x1) for x0, y0, x1, y1 in boxes
    ]


def _masks(root: Path) -> Source:
    return mask_source(root / "images", root / "masks")


def _convert(open_source: Callable[[Path], Source], root: Path) -> None:
    target = Target(root, "converted", workers=1, folder="out")
    options = Options(min_instances=1, min_area=0.001, min_union=0, max_union=1)
    convert(open_source(root), target, options).summary()
    folder = target.json_file.with_suffix("")
    for record in load_cosal_json(str(target.json_file), str(folder)):
        assert read_image(record["file_name"]).shape[:2] == (record["height"], record["width"])


def _converter(write: Callable[[Path], object], open_source: Callable[[Path], Source]) -> Reader:
    return Reader(write, damage_folder, functools.partial(_convert, open_source))


def _map(root: Path) -> None:
    records = load_cosal_json(str(root / "made.json"), str(root / "made"))
    for is_train in (True, False):
        mapper = _mapper(is_train)
        for number, record in enumerate(records):
            mapped = mapper({**record, "seed": number, "batch_seed": number})
            assert mapped["image"].dtype == torch.uint8 and mapped["image"].ndim == 3


@functools.cache
def _mapper(is_train: bool) -> CoSaliencyMapper:
    return CoSaliencyMapper(tiny_config(), is_train)


def _write_maps(root: Path) -> None:
    sources.write_coco(root)
    sources.write_masks(root)
    (root / "maps").mkdir()
    for name in "ab":
        (root / "masks" / f"{name}.png").rename(root / "maps" / f"{name}.png")


def _score(root: Path) -> None:
    found = evaluate_methods(
        root / "made.json", {"maps": root / "maps"}, measures="paper", workers=0
    )
    for scores in found.metrics.values():
        assert all(np.isfinite(value) for value in scores.values())


def _write_kinds(root: Path) -> None:
    for name, content in sources.picture_kinds().items():
        (root / name).write_bytes(content)


def _damage_one(root: Path, rng: random.Random) -> None:
    """Of many files damage one, and leave no other."""
    chosen = rng.choice(sorted(root.iterdir()))
    for path in root.iterdir():
        if path != chosen:
            path.unlink()
    (damage_file if rng.random() < 0.2 else damage_bytes)(chosen, rng)


def _each(root: Path) -> list[Path]:
    return sorted(root.iterdir()) or [root / "gone.png"]


def _read_pictures(root: Path) -> None:
    for path in _each(root):
        image = read_image(path)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        size = picture_size(path)
        if size[0] * size[1] < max_pixels():
            assert size == image.shape[:2], f"{path}: {size}, {image.shape}"


def _read_with(read: Callable[[Path], np.ndarray], kind: str, root: Path) -> None:
    for path in _each(root):
        values = read(path)
        assert values.ndim == 2 and values.dtype.kind == kind, f"{path}: {values.dtype}"


def _truth(path: Path) -> np.ndarray:
    return read_truth(path)[0]


def _of_pictures(read: Callable[[Path], None]) -> Reader:
    return Reader(_write_kinds, _damage_one, read)


READERS = {
    "json loader": Reader(sources.write_coco, damage_folder, _load),
    "check and repair": Reader(sources.write_coco, damage_folder, _check),
    "COCO converter": _converter(sources.write_coco, _coco),
    "LabelMe converter": _converter(sources.write_labelme, labelme_source),
    "YOLO converter": _converter(sources.write_yolo, _yolo),
    "VOC converter": _converter(sources.write_voc, _voc),
    "box converter": _converter(sources.write_voc_boxes, _boxes),
    "masks converter": _converter(sources.write_masks, _masks),
    "picture reader": _of_pictures(_read_pictures),
    "map reader": _of_pictures(functools.partial(_read_with, read_grey, "u")),
    "mask reader": _of_pictures(functools.partial(_read_with, _truth, "b")),
    "binary mask reader": _of_pictures(functools.partial(_read_with, read_binary, "b")),
    "index mask reader": _of_pictures(functools.partial(_read_with, read_values, "i")),
    "mapper": Reader(sources.write_coco, damage_folder, _map),
    "map scorer": Reader(_write_maps, damage_folder, _score),
}
