"""From a dataset dict to what the network takes."""

from __future__ import annotations

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, BoxMode, Instances
from detectron2.utils.file_io import PathManager

from cosal_d2.data.aug_input import CoSaliencyAugInput
from cosal_d2.data.augmentations import (
    build_augmentation,
    build_color_jitter,
    build_object_crop,
    build_occlusion,
)
from cosal_d2.data.composites import TrainingComposites
from cosal_d2.data.seeding import derive_seed, numpy_seed
from cosal_d2.utils.pictures import read_image


class CoSaliencyMapper:
    """Read, augment and convert one picture.

    In training the result has ``image`` (3, h, w) uint8 in ``INPUT.FORMAT``, ``instances`` with
    ``gt_boxes`` (tight around the masks), ``gt_classes``, ``gt_masks`` (BitMasks) and
    ``gt_cosalient``, and ``sem_seg`` (h, w) uint8, the union of the co-salient masks. At test
    time it has ``image``, ``height`` and ``width``, and with ``TEST.EXEMPLARS`` the box of the
    first co-salient object as ``exemplar``, (4,) XYXY in input pixels.
    """

    @configurable
    def __init__(
        self,
        *,
        is_train: bool,
        resize: list[T.Augmentation],
        augmentations: list[T.Augmentation],
        crop: list[T.Augmentation] | None = None,
        image_format: str = "BGR",
        composites: TrainingComposites | None = None,
        exemplars: bool = False,
    ) -> None:
        """
        Args:
            is_train: whether to augment and to hand out the ground truth.
            resize: drawn from the seed that a whole batch shares, so that its pictures have one
                scale and little padding.
            augmentations: applied after the resize, drawn from the sample's own seed.
            crop: applied before the resize, so that it changes no batch's scale, drawn from the
                sample's own seed as well.
            image_format: BGR or RGB.
            composites: in training, pictures made of the training set's cut-outs; None for none.
            exemplars: at test time, hand out the box of the first co-salient object.
        """
        if image_format not in ("BGR", "RGB"):
            raise ValueError(f"INPUT.FORMAT is {image_format!r}; use BGR or RGB")
        self.is_train = is_train
        self.crop = T.AugmentationList(crop or [])
        self.resize = T.AugmentationList(resize)
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.composites = composites
        self.exemplars = exemplars

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict:
        resize, *later = build_augmentation(cfg, is_train)
        if is_train:
            later += build_occlusion(cfg) + build_color_jitter(cfg)
        return {
            "is_train": is_train,
            "resize": [resize],
            "augmentations": later,
            "crop": build_object_crop(cfg) if is_train else [],
            "image_format": cfg.INPUT.FORMAT,
            "exemplars": cfg.TEST.EXEMPLARS,
        }

    def __call__(self, record: dict) -> dict:
        """Map one dataset dict; in training it carries ``seed`` and ``batch_seed``.

        Raises:
            ValueError: the picture cannot be read, or an annotation not be drawn.
            detectron2.data.detection_utils.SizeMismatchError: its size is not the json's.
        """
        record = dict(record)
        augmented = self._training_picture(record) if self.is_train else T.AugInput(_read(record))
        annotations = record.pop("annotations", [])
        if self.image_format == "RGB":
            augmented.image = augmented.image[:, :, ::-1]
        if self.is_train:
            with numpy_seed(derive_seed(record["seed"], 1)):
                self.crop(augmented)
            with numpy_seed(record["batch_seed"]):
                self.resize(augmented)
            with numpy_seed(record["seed"]):
                self.augmentations(augmented)
            record.update(ground_truth(augmented))
        else:
            transform = self.resize(augmented)
            box = _first_object(annotations) if self.exemplars else None
            if box is not None:
                record["exemplar"] = torch.from_numpy(transform.apply_box(box[None])[0]).float()
        pixels = np.ascontiguousarray(augmented.image.transpose(2, 0, 1))
        record["image"] = torch.from_numpy(pixels)
        return record

    def _training_picture(self, record: dict) -> CoSaliencyAugInput:
        """The record's photograph with its annotations, or a composite in its place, whose masks
        are exact."""
        if self.composites is not None:
            composite = self.composites.draw(record)
            if composite is not None:
                record["weak_masks"] = False
                return composite
        image = _read(record)
        try:
            augmented = CoSaliencyAugInput.from_annotations(image, record.get("annotations", []))
        except ValueError as error:
            raise ValueError(f"{record['file_name']}: {error}") from error
        if self.composites is not None:
            augmented = self.composites.paste(augmented, record)
        return augmented


def _read(record: dict) -> np.ndarray:
    image = read_image(PathManager.get_local_path(record["file_name"]))
    utils.check_image_size(record, image)
    return image


def _first_object(annotations: list[dict]) -> np.ndarray | None:
    """The box (4,) XYXY of the first co-salient object that is no crowd; None where there is
    none."""
    for entry in annotations:
        if entry["cosalient"] and not entry.get("iscrowd", 0):
            box = BoxMode.convert(entry["bbox"], entry["bbox_mode"], BoxMode.XYXY_ABS)
            return np.asarray(box, dtype=np.float64)
    return None


def ground_truth(augmented: CoSaliencyAugInput) -> dict:
    """``instances`` and ``sem_seg`` of an augmented picture.

    A co-salient crowd region belongs to the truth, as in the evaluation, but is no instance.
    """
    instances = Instances(augmented.image.shape[:2])
    instances.gt_masks = BitMasks(torch.from_numpy(augmented.instance_masks.astype(bool)))
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    instances.gt_classes = torch.from_numpy(augmented.classes)
    instances.gt_cosalient = torch.from_numpy(augmented.cosalient)
    truth = torch.from_numpy(augmented.sem_seg.copy())
    return {"instances": _visible(instances), "sem_seg": truth}


def _visible(instances: Instances) -> Instances:
    return instances[instances.gt_masks.nonempty() & instances.gt_boxes.nonempty(1.0)]
