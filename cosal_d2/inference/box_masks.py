"""Masks of objects of which only the boxes are known, by the network's region masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from pycocotools import mask as coco_mask
from tqdm import tqdm

from cosal_d2.modeling.grouping.region_masks import paste_masks
from cosal_d2.modeling.meta_arch import CoSaliencyNet
from cosal_d2.prepare.convert.conversion import Scene, Source
from cosal_d2.prepare.convert.left_out import FROM_BOXES, BoxedObject, LeftOut
from cosal_d2.prepare.convert.picture_file import (
    load_picture,
    scaled_rle,
    upright_rle,
)
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.utils.masks import mask_rle
from cosal_d2.utils.pictures import decode_image

# EXIF orientations by those that undo them; the others undo themselves.
INVERSE = {6: 8, 8: 6}

# Masks (H, W) bool in boxes (K, 4) XYXY of a picture, uint8 BGR (H, W, 3).
Segmenter = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]


@torch.inference_mode()
def masks_in_boxes(
    model: CoSaliencyNet, seen: torch.Tensor, size: tuple[int, int], boxes: np.ndarray
) -> list[np.ndarray]:
    """The network's masks of the objects in given boxes, which they do not leave.

    Args:
        model: with the grouping.
        seen: (3, h, w) uint8, the picture as the network sees it.
        size: (H, W) of the picture.
        boxes: (K, 4) XYXY in the picture's pixels.

    Returns:
        K masks (H, W) bool; one is empty where the network sees no object.

    Raises:
        ValueError: the network has no grouping.
    """
    if model.grouping is None:
        raise ValueError(
            "masks from boxes: this network has no region masks; use one with the grouping, such "
            "as the default"
        )
    (height, width), (h, w) = size, seen.shape[1:]
    scaled = torch.from_numpy(boxes * ([w / width, h / height] * 2)).float().to(model.device)
    images = model.preprocess([seen])
    with model.autocast():
        features, r = model.features(images)
        foreground = model.grouping.coarse(model.decoder(r, features))
        (logits,) = model.grouping.masks(features, foreground, [scaled])
    found = logits.float().sigmoid().cpu()
    return [_pasted(own, box, size) for own, box in zip(found, boxes, strict=True)]


def _pasted(probabilities: torch.Tensor, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A region's mask (28, 28) inside its box on the picture's grid, bool (H, W)."""
    low = np.floor(box[:2]).clip(0).astype(int)
    high = np.ceil(box[2:]).clip(0, size[::-1]).astype(int)
    mask = np.zeros(size, dtype=bool)
    w, h = (high - low).clip(0).tolist()
    if w and h:
        moved = torch.from_numpy(box - np.tile(low, 2)).float()
        inside = paste_masks(probabilities[None], moved[None], (h, w), 1)[0] > 0.5
        mask[low[1] : high[1], low[0] : high[0]] = inside.numpy()
    return mask


def with_box_masks(source: Source, segment: Segmenter, progress: bool = False) -> Source:
    """A source whose objects with a box but no mask have masks; so have those whose mask is the
    whole box. Pictures that have such an object are marked ``weak_masks``.

    An object of which the network sees nothing stays as it is. The network runs here, in this
    process; what the source's pictures lack is named when they are read.

    Args:
        source: of any format.
        segment: gives masks in boxes, such as ``CoSaliencyPredictor().masks_in``.
        progress: show a progress bar.
    """
    tasks = [
        _scene(source.read, segment, task)
        for task in tqdm(source.tasks, unit="image", disable=None if progress else True)
    ]
    return replace(source, tasks=tasks, read=_given)


def _given(task: Scene | Exception) -> Scene:
    if isinstance(task, Exception):
        raise task
    return task


def _scene(
    read: Callable[[object], Scene], segment: Segmenter, task: object
) -> Scene | OSError | ValueError:
    try:
        scene = read(task)
        boxed = [shape.boxed for shape in scene.left_out]
        boxed += [_as_box(item) for item in scene.objects]
        known = [b for b in boxed if b is not None]
        if not known:
            return scene
        made = _masks(scene, segment, np.array([b.box for b in known], dtype=np.float64))
    except (OSError, ValueError) as error:
        return error
    masks = dict(zip(map(id, known), made, strict=True))
    objects, left_out = [], []
    for origin, own in zip([*scene.left_out, *scene.objects], boxed, strict=True):
        rle = masks.get(id(own))
        if rle is not None and coco_mask.area(rle):
            objects.append(SourceObject(own.class_name, rle, own.crowd, own.fields))
        else:
            (objects if isinstance(origin, SourceObject) else left_out).append(_unseen(origin))
    fields = {**scene.fields, "weak_masks": True}
    return replace(scene, objects=objects, left_out=left_out, fields=fields)


def _unseen(origin: SourceObject | LeftOut) -> SourceObject | LeftOut:
    """An object of which the network makes no mask; its message says so."""
    if isinstance(origin, SourceObject):
        return origin
    fix = "the network sees no object in its box; draw the mask"
    return replace(origin, message=origin.message.replace(FROM_BOXES, fix))


def _as_box(item: SourceObject) -> BoxedObject | None:
    """An object whose mask fills its box, as the box; None for any other."""
    x, y, w, h = coco_mask.toBbox(item.rle).tolist()
    if not item.area or item.area != w * h:
        return None
    return BoxedObject(item.class_name, (x, y, x + w, y + h), item.crowd, item.fields)


def _masks(scene: Scene, segment: Segmenter, boxes: np.ndarray) -> list[dict]:
    """RLE of the objects in boxes (K, 4), all in the frame of the scene's masks."""
    picture = load_picture(scene.file, scene.data)
    pixels = decode_image(picture.file, picture.data)
    turned = scene.size != picture.upright and scene.size == picture.stored
    if turned:
        boxes = np.array([_turned(box, scene.size, picture.orientation) for box in boxes])
    size = scene.size[::-1] if turned else scene.size
    sides = np.array(pixels.shape[1::-1]) / size[::-1]  # less than 1 of a huge picture
    rles = [mask_rle(mask) for mask in segment(pixels, boxes * np.tile(sides, 2))]
    if pixels.shape[:2] != size:
        rles = [scaled_rle(rle, size) for rle in rles]
    if turned:
        back = INVERSE.get(picture.orientation, picture.orientation)
        rles = [upright_rle(rle, back) for rle in rles]
    return rles


def _turned(box: Sequence[float], size: tuple[int, int], orientation: int) -> list[float]:
    """A box of the stored picture, (height, width), in the upright one."""
    sides = np.array([[box[0], box[1], box[2] - box[0], box[3] - box[1]]])
    (rle,) = coco_mask.frPyObjects(sides, *size)
    x, y, w, h = coco_mask.toBbox(upright_rle(rle, orientation)).tolist()
    return [x, y, x + w, y + h]
