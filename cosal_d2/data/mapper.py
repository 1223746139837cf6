"""From a dataset dict to what the network takes."""

from __future__ import annotations

import copy

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Instances

from cosal_d2.data.images import read_image
from cosal_d2.data.seeding import numpy_seed
from cosal_d2.data.transforms import build_augmentation


class CoSaliencyMapper:
    """Read, augment and convert one picture.

    In training the result has ``image`` (3, h, w) uint8 in ``INPUT.FORMAT``, ``instances`` with
    ``gt_boxes`` (tight around the masks), ``gt_classes``, ``gt_masks`` (BitMasks) and
    ``gt_cosalient``, and ``sem_seg`` (h, w) uint8, the union of the co-salient masks. At test
    time it has ``image``, ``height`` and ``width``.
    """

    @configurable
    def __init__(
        self,
        *,
        is_train: bool,
        resize: list[T.Augmentation],
        augmentations: list[T.Augmentation],
        image_format: str = "BGR",
    ) -> None:
        """
        Args:
            is_train: whether to augment and to hand out the ground truth.
            resize: applied first, drawn from the seed that a whole batch shares, so that its
                pictures have one scale and little padding.
            augmentations: applied next, drawn from the sample's own seed.
            image_format: BGR or RGB.
        """
        if image_format not in ("BGR", "RGB"):
            raise ValueError(f"INPUT.FORMAT is {image_format!r}; use BGR or RGB")
        self.is_train = is_train
        self.resize = T.AugmentationList(resize)
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict:
        resize, *flip = build_augmentation(cfg, is_train)
        return {
            "is_train": is_train,
            "resize": [resize],
            "augmentations": flip + (color_jitter(cfg.INPUT.COLOR_JITTER) if is_train else []),
            "image_format": cfg.INPUT.FORMAT,
        }

    def __call__(self, record: dict) -> dict:
        """Map one dataset dict; in training it carries ``seed`` and ``batch_seed``.

        Raises:
            ValueError: the picture cannot be read.
            detectron2.data.detection_utils.SizeMismatchError: its size is not the json's.
        """
        record = copy.deepcopy(record)
        image = read_image(record["file_name"])
        utils.check_image_size(record, image)
        if self.image_format == "RGB":
            image = image[:, :, ::-1]
        annotations = record.pop("annotations", [])
        augmented = T.AugInput(image)
        if self.is_train:
            with numpy_seed(record["batch_seed"]):
                transforms = self.resize(augmented)
            with numpy_seed(record["seed"]):
                transforms = transforms + self.augmentations(augmented)
            record.update(ground_truth(annotations, transforms, augmented.image.shape[:2]))
        else:
            self.resize(augmented)
        pixels = np.ascontiguousarray(augmented.image.transpose(2, 0, 1))
        record["image"] = torch.from_numpy(pixels)
        return record


def color_jitter(keys) -> list[T.Augmentation]:
    """Brightness, contrast and saturation within 1 +- STRENGTH, and grey with GRAY_PROB."""
    jitter: list[T.Augmentation] = []
    if keys.STRENGTH > 0:
        low, high = 1 - keys.STRENGTH, 1 + keys.STRENGTH
        jitter += [
            T.RandomBrightness(low, high),
            T.RandomContrast(low, high),
            T.RandomSaturation(low, high),
        ]
    if keys.GRAY_PROB > 0:
        jitter.append(T.RandomApply(T.RandomSaturation(0, 0), keys.GRAY_PROB))
    return jitter


def ground_truth(
    annotations: list[dict], transforms: T.TransformList, size: tuple[int, int]
) -> dict:
    """Transform annotations into ``instances`` and ``sem_seg``.

    A co-salient crowd region belongs to the truth, as in the evaluation, but is no instance.

    Args:
        annotations: of a dataset dict, with ``cosalient`` on each.
        transforms: what was done to the picture.
        size: (h, w) of the transformed picture.
    """
    crowds = [a for a in annotations if a.get("iscrowd", 0) and a.get("cosalient", True)]
    annotations = [a for a in annotations if not a.get("iscrowd", 0)]
    moved = [utils.transform_instance_annotations(a, transforms, size) for a in annotations]
    instances = utils.annotations_to_instances(moved, size, mask_format="bitmask")
    if not moved:
        instances.gt_masks = BitMasks(torch.zeros((0, *size), dtype=torch.bool))
    cosalient = torch.tensor([bool(a.get("cosalient", True)) for a in annotations])
    instances.gt_cosalient = cosalient.to(torch.bool)
    masks = instances.gt_masks.tensor
    truth = masks[instances.gt_cosalient].any(dim=0).to(torch.uint8)
    if crowds:
        moved = [utils.transform_instance_annotations(a, transforms, size) for a in crowds]
        crowd = utils.annotations_to_instances(moved, size, mask_format="bitmask").gt_masks
        truth |= crowd.tensor.any(dim=0).to(torch.uint8)
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    return {"instances": _visible(instances), "sem_seg": truth}


def _visible(instances: Instances) -> Instances:
    return instances[instances.gt_masks.nonempty() & instances.gt_boxes.nonempty(1.0)]
