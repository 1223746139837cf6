"""What labelling tools put after a picture's name in that of its mask."""

from __future__ import annotations

from pathlib import PurePath

from cosal_d2.utils.pictures import PICTURE_SUFFIXES

SEPARATORS = "_-. /"
MASK_WORDS = (
    *("mask", "masks", "gt", "groundtruth", "ground_truth", "seg", "segmentation", "segmented"),
    *("label", "labels", "matte", "alpha"),
)


def is_mask_word(text: str) -> bool:
    """Whether a text, with the separators around it, says that a file is a mask."""
    return text.strip(SEPARATORS).lower() in MASK_WORDS


def without_first_word(stem: str) -> str:
    """A mask's path without the word for a mask before its picture's name: ``b/a`` of ``b/mask_a``;
    as it is where there is none."""
    folder, slash, name = stem.rpartition("/")
    places = (i for i in range(1, len(name) - 1) if name[i] in SEPARATORS)
    end = next((i + 1 for i in places if is_mask_word(name[:i])), 0)
    return folder + slash + name[end:]


def picture_name(mask: PurePath) -> PurePath:
    """The name of the picture that a mask's name tells, with the mask's own suffix where it tells
    none: ``a.jpg`` of ``a.jpg.png``, ``a.png`` of ``a_mask.png`` and of ``a.png``."""
    inner = mask.with_suffix("")
    if inner.suffix.lower() in PICTURE_SUFFIXES:
        return inner
    places = [i for i in range(1, len(inner.name)) if inner.name[i] in SEPARATORS]
    stem = next((inner.name[:i] for i in places if is_mask_word(inner.name[i:])), inner.name)
    return mask.with_name(stem + mask.suffix)
