"""A picture with its instance masks, as augmentations take it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T


class CoSaliencyAugInput(T.AugInput):
    """Detectron2's ``AugInput`` with the masks that co-saliency augmentations decide by.

    An augmentation gets an attribute by naming it as an argument of ``get_transform``.

    Attributes:
        image: (H, W, 3) uint8.
        instance_masks: (N, H, W) uint8 of 0 and 1, transformed in step with the image.
        cosalient: (N,) bool.
        classes: (N,) int64.
        sem_seg: (H, W) uint8, the union of the co-salient masks and crowd regions, in step as well.
    """

    def __init__(
        self,
        image: np.ndarray,
        *,
        instance_masks: np.ndarray,
        cosalient: np.ndarray | Sequence[bool],
        classes: np.ndarray | Sequence[int] | None = None,
        crowd: np.ndarray | None = None,
    ) -> None:
        """
        Args:
            image: (H, W, 3) uint8.
            instance_masks: (N, H, W), not 0 where the instance is.
            cosalient: (N,), whether an instance belongs to the truth.
            classes: (N,); one class for all when not given.
            crowd: (H, W), not 0 where a co-salient crowd is: truth, but no instance.

        Raises:
            ValueError: the shapes do not fit together.
        """
        masks = np.asarray(instance_masks).astype(bool)
        flags = np.asarray(cosalient, dtype=bool).reshape(-1)
        labels = np.zeros(len(flags)) if classes is None else np.asarray(classes).reshape(-1)
        if masks.shape != (len(flags), *image.shape[:2]) or len(labels) != len(flags):
            raise ValueError(
                f"instance_masks {masks.shape}, cosalient {flags.shape} and classes "
                f"{labels.shape} must be (N, H, W), (N,) and (N,) of an image {image.shape}"
            )
        truth = masks[flags].any(axis=0)
        if crowd is not None:
            truth = truth | np.asarray(crowd, dtype=bool)
        super().__init__(image, sem_seg=truth.astype(np.uint8))
        self.instance_masks = masks.view(np.uint8)
        self.cosalient = flags
        self.classes = labels.astype(np.int64)

    @classmethod
    def from_annotations(cls, image: np.ndarray, annotations: list[dict]) -> CoSaliencyAugInput:
        """Draw a dataset dict's annotations, polygons and RLE alike, at the picture's size.

        Args:
            image: (H, W, 3) uint8.
            annotations: of a dataset dict; one without ``cosalient`` is co-salient.

        Raises:
            ValueError: an annotation without ``segmentation``, or with an RLE of another size.
        """
        size = image.shape[:2]
        for i, annotation in enumerate(annotations):
            segmentation = annotation.get("segmentation")
            if not segmentation:
                raise ValueError(f"annotation {i} has no 'segmentation'; give polygons or an RLE")
            if isinstance(segmentation, dict) and tuple(segmentation["size"]) != size:
                raise ValueError(
                    f"annotation {i}: its RLE has the size {list(segmentation['size'])}, the "
                    f"picture {list(size)}; draw it at the picture's size"
                )
        masks = np.zeros((0, *size), dtype=bool)
        if annotations:
            drawn = utils.annotations_to_instances(annotations, size, mask_format="bitmask")
            masks = drawn.gt_masks.tensor.numpy()
        crowd = np.array([bool(a.get("iscrowd", 0)) for a in annotations], dtype=bool)
        cosalient = np.array([bool(a.get("cosalient", True)) for a in annotations], dtype=bool)
        classes = np.array([int(a["category_id"]) for a in annotations], dtype=np.int64)
        return cls(
            image,
            instance_masks=masks[~crowd],
            cosalient=cosalient[~crowd],
            classes=classes[~crowd],
            crowd=masks[crowd & cosalient].any(axis=0),
        )

    def transform(self, tfm: T.Transform) -> None:
        """Transform image, masks and truth in place.

        What a transform pads a segmentation with (255 in Detectron2's ``FixedSizeCrop``) is no
        object.
        """
        super().transform(tfm)
        self.sem_seg = (self.sem_seg == 1).view(np.uint8)
        if len(self.instance_masks):
            moved = [tfm.apply_segmentation(mask) == 1 for mask in self.instance_masks]
            self.instance_masks = np.stack(moved).view(np.uint8)
        else:
            self.instance_masks = np.zeros((0, *self.image.shape[:2]), dtype=np.uint8)
