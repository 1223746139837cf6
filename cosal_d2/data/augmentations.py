"""The augmentations: multi-scale scaling, random object clipping and occlusion, colours.

Section "Implementation Details" names the first three; their parameters are choices that the paper
leaves open. Clipping and occlusion are Detectron2 augmentations for a
:class:`~cosal_d2.data.aug_input.CoSaliencyAugInput`. All draw from numpy's global generator.
"""

from __future__ import annotations

import cv2
import numpy as np
from detectron2.config import CfgNode
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T

from cosal_d2.config import FILLS

TRIES = 50


class ResizeShortestEdge(T.ResizeShortestEdge):
    """Detectron2's, but a very thin picture keeps at least one pixel a side instead of failing."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """The resize for ``image``, (H, W, 3), with both new sides at least 1."""
        transform = super().get_transform(image)
        if isinstance(transform, T.ResizeTransform):
            transform.new_h = max(transform.new_h, 1)
            transform.new_w = max(transform.new_w, 1)
        return transform


class RandomObjectCrop(T.Augmentation):
    """A window that may cut through objects and leaves the truth a co-saliency truth.

    Of each co-salient instance the window holds at least ``min_share``, or nothing. It holds at
    least ``min_objects`` of them, and of every class that it touches as many, or all that the class
    had. Of a co-salient crowd (truth outside all instances) it holds ``min_share`` or nothing too,
    but a crowd is no object of any class. The first of several random windows that meets this is
    taken; without one the picture is not cut, nor is one with fewer co-salient instances than
    ``min_objects``. A picture whose truth is empty may be cut anywhere.
    """

    def __init__(
        self,
        sizes: tuple[float, float] = (0.5, 0.9),
        aspects: tuple[float, float] = (0.85, 1.18),
        min_share: float = 0.5,
        min_objects: int = 2,
    ) -> None:
        """
        Args:
            sizes: range of the window's sides (their geometric mean) over the picture's.
            aspects: range of the window's width over height, over the picture's.
            min_share: of the area of a co-salient instance inside the window, in (0, 1].
            min_objects: co-salient instances inside the window.
        """
        super().__init__()
        self._init(locals())

    def get_transform(
        self,
        image: np.ndarray,
        instance_masks: np.ndarray,
        cosalient: np.ndarray,
        classes: np.ndarray,
        sem_seg: np.ndarray,
    ) -> T.Transform:
        """A crop, or no transform where no window will do.

        Args:
            image: (H, W, ...).
            instance_masks: (N, H, W) of 0 and 1.
            cosalient: (N,) bool.
            classes: (N,).
            sem_seg: (H, W), the truth, which a crowd region makes more than the instances.
        """
        seen = cosalient & instance_masks.any(axis=(1, 2))
        masks, labels = instance_masks[seen], classes[seen]
        empty = len(masks) == 0 and not sem_seg.any()
        if len(masks) < self.min_objects and not empty:
            return T.NoOpTransform()
        height, width = image.shape[:2]
        windows = self._windows(height, width)
        good = np.ones(TRIES, dtype=bool)
        if not empty:
            good = self._good(windows, masks, labels, _crowd(instance_masks, sem_seg))
        if not good.any():
            return T.NoOpTransform()
        x0, y0, x1, y1 = (int(v) for v in windows[np.argmax(good)])
        return T.CropTransform(x0, y0, x1 - x0, y1 - y0, width, height)

    def _windows(self, height: int, width: int) -> np.ndarray:
        side = np.random.uniform(*self.sizes, TRIES)
        stretch = np.exp(np.random.uniform(*np.log(self.aspects), TRIES) / 2)
        h = np.clip(np.round(side / stretch * height), 1, height)
        w = np.clip(np.round(side * stretch * width), 1, width)
        y0 = np.floor(np.random.random(TRIES) * (height - h + 1))
        x0 = np.floor(np.random.random(TRIES) * (width - w + 1))
        return np.stack([x0, y0, x0 + w, y0 + h], axis=1).astype(np.int64)

    def _good(
        self, windows: np.ndarray, masks: np.ndarray, labels: np.ndarray, crowd: np.ndarray
    ) -> np.ndarray:
        """Which of (K, 4) windows will do for (N, H, W) masks with (N,) labels and a crowd."""
        everything = [*masks, *crowd]
        inside = np.stack([_window_sums(mask, windows) for mask in everything], axis=1)
        enough = self.min_share * np.array([np.count_nonzero(mask) for mask in everything])
        good = ((inside >= enough) | (inside == 0)).all(axis=1)
        held = inside[:, : len(masks)] > 0
        good &= held.sum(axis=1) >= self.min_objects
        for label in np.unique(labels):
            of_class = labels == label
            count = held[:, of_class].sum(axis=1)
            good &= (count == 0) | (count >= min(self.min_objects, of_class.sum()))
        return good


class OcclusionTransform(T.Transform):
    """Pixels that something in front hides.

    The image gets new pixels there and a segmentation 0. Coordinates stay, so polygons do not show
    it: masks must be bitmaps, and boxes be taken from them again.
    """

    def __init__(self, hidden: np.ndarray, fill: np.ndarray) -> None:
        """
        Args:
            hidden: (H, W) bool.
            fill: (H, W, ...) like the image; what stands where ``hidden`` is.
        """
        super().__init__()
        self.hidden = hidden
        self.pixels = fill[hidden]

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """A copy of an (H, W, ...) image with the hidden pixels filled."""
        out = img.copy()
        out[self.hidden] = self.pixels
        return out

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """A copy of an (H, W) segmentation with 0 where something is in front."""
        out = segmentation.copy()
        out[self.hidden] = 0
        return out

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Coordinates stay where they are."""
        return coords


class RandomOcclusion(T.Augmentation):
    """Rectangles and ellipses over parts of objects, co-salient or not.

    What they hide leaves the masks and the truth. All patches together hide at most ``max_share``
    of any object, and of a co-salient crowd (truth outside all instances), which is no target; a
    patch that would hide more is drawn again, and left out after several tries.
    """

    def __init__(
        self,
        max_patches: int = 3,
        max_share: float = 0.4,
        fills: tuple[str, ...] = FILLS,
        sides: tuple[float, float] = (0.2, 0.7),
    ) -> None:
        """
        Args:
            max_patches: most patches on a picture; at least one is tried.
            max_share: of an object's area, in (0, 1).
            fills: what patches may show: "noise", the picture's "mean", or another part of the
                picture, free of objects ("background"; the mean where there is none).
            sides: range of a patch's sides over those of its object's box.
        """
        super().__init__()
        if not fills or set(fills) - set(FILLS):
            raise ValueError(f"fills are {tuple(fills)}; use some of {', '.join(FILLS)}")
        self._init(locals())

    def get_transform(
        self, image: np.ndarray, instance_masks: np.ndarray, sem_seg: np.ndarray
    ) -> T.Transform:
        """An occlusion, or no transform where there is no object or no patch fits.

        Args:
            image: (H, W, ...).
            instance_masks: (N, H, W) of 0 and 1.
            sem_seg: (H, W), the truth, of which instances may be a part only; no background is
                taken from it either.
        """
        objects = instance_masks.astype(bool)
        objects = objects[objects.any(axis=(1, 2))]
        if len(objects) == 0:
            return T.NoOpTransform()
        taken = objects.any(axis=0) | (sem_seg > 0)
        count = len(objects)
        objects = np.concatenate([objects, _crowd(objects, sem_seg)])
        allowed = self.max_share * objects.sum(axis=(1, 2))
        hidden, fill = np.zeros(image.shape[:2], dtype=bool), image.copy()
        for _ in range(np.random.randint(1, self.max_patches + 1)):
            patch = self._patch(objects, count, hidden, allowed)
            if patch is not None:
                window, shape = patch
                hidden[window] |= shape
                fill[window][shape] = self._fill(image, taken, shape)
        return OcclusionTransform(hidden, fill) if hidden.any() else T.NoOpTransform()

    def _patch(
        self, objects: np.ndarray, count: int, hidden: np.ndarray, allowed: np.ndarray
    ) -> tuple[tuple[slice, slice], np.ndarray] | None:
        """A window and the patch's pixels in it; at most ``allowed`` (N,) become hidden.

        The first ``count`` of the (N, H, W) objects are targets.
        """
        before = (objects & hidden).sum(axis=(1, 2))
        for _ in range(TRIES):
            i = np.random.randint(count)
            ys, xs = objects[i].nonzero()
            middle = np.random.randint(len(ys))
            scale = np.random.uniform(*self.sides, 2)
            h = max(round(scale[0] * (np.ptp(ys) + 1)), 1)
            w = max(round(scale[1] * (np.ptp(xs) + 1)), 1)
            y0, x0 = ys[middle] - h // 2, xs[middle] - w // 2
            shape = _ellipse(h, w) if np.random.random() < 0.5 else np.ones((h, w), dtype=bool)
            shape = shape[max(-y0, 0) : hidden.shape[0] - y0, max(-x0, 0) : hidden.shape[1] - x0]
            y0, x0 = max(y0, 0), max(x0, 0)
            window = (slice(y0, y0 + shape.shape[0]), slice(x0, x0 + shape.shape[1]))
            new = shape & ~hidden[window]
            after = before + (objects[(slice(None), *window)] & new).sum(axis=(1, 2))
            if after[i] > before[i] and (after <= allowed).all():
                return window, shape
        return None

    def _fill(self, image: np.ndarray, taken: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """The pixels under ``shape``, (K, ...)."""
        kind = self.fills[np.random.randint(len(self.fills))]
        if kind == "noise":
            size = (np.count_nonzero(shape), *image.shape[2:])
            return np.random.uniform(image.min(), image.max(), size).astype(image.dtype)
        h, w = shape.shape
        if kind == "background":
            y0 = np.random.randint(0, image.shape[0] - h + 1, TRIES)
            x0 = np.random.randint(0, image.shape[1] - w + 1, TRIES)
            free = _window_sums(taken, np.stack([x0, y0, x0 + w, y0 + h], axis=1)) == 0
            if free.any():
                y, x = y0[np.argmax(free)], x0[np.argmax(free)]
                return image[y : y + h, x : x + w][shape]
        return image.mean(axis=(0, 1)).astype(image.dtype)


def build_augmentation(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """The resize of ``INPUT.MIN_SIZE_*`` and ``MAX_SIZE_*``, then in training the flip."""
    resize, *flip = utils.build_augmentation(cfg, is_train)
    style = "range" if resize.is_range else "choice"
    return [ResizeShortestEdge(resize.short_edge_length, resize.max_size, style), *flip]


def build_object_crop(cfg: CfgNode) -> list[T.Augmentation]:
    """Random object clipping as ``INPUT.OBJECT_CROP`` says; empty when it is off."""
    keys = cfg.INPUT.OBJECT_CROP
    if keys.PROB == 0:
        return []
    crop = RandomObjectCrop(
        tuple(keys.SIZES), tuple(keys.ASPECTS), keys.MIN_SHARE, keys.MIN_OBJECTS
    )
    return [T.RandomApply(crop, keys.PROB)]


def build_occlusion(cfg: CfgNode) -> list[T.Augmentation]:
    """Random occlusion as ``INPUT.OCCLUSION`` says; empty when it is off."""
    keys = cfg.INPUT.OCCLUSION
    if keys.PROB == 0:
        return []
    occlusion = RandomOcclusion(keys.MAX_PATCHES, keys.MAX_SHARE, tuple(keys.FILLS))
    return [T.RandomApply(occlusion, keys.PROB)]


def build_color_jitter(cfg: CfgNode) -> list[T.Augmentation]:
    """Brightness, contrast and saturation within 1 +- ``INPUT.COLOR_JITTER.STRENGTH``, and grey
    with ``GRAY_PROB``."""
    keys = cfg.INPUT.COLOR_JITTER
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


def _crowd(instance_masks: np.ndarray, sem_seg: np.ndarray) -> np.ndarray:
    """(1, H, W) bool, the truth outside all instances; (0, H, W) where there is none."""
    crowd = (sem_seg > 0) & ~instance_masks.any(axis=0)
    return crowd[None] if crowd.any() else crowd[None][:0]


def _window_sums(mask: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Pixels of an (H, W) mask inside each of (K, 4) XYXY windows."""
    table = cv2.integral(np.ascontiguousarray(mask, dtype=np.uint8))
    x0, y0, x1, y1 = windows.T
    return table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]


def _ellipse(h: int, w: int) -> np.ndarray:
    y = (np.arange(h) + 0.5) / h * 2 - 1
    x = (np.arange(w) + 0.5) / w * 2 - 1
    return y[:, None] ** 2 + x[None] ** 2 <= 1
