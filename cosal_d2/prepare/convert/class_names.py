"""Names of classes as people type them: one class, whatever its case, blanks or number."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from copy import copy

from cosal_d2.utils.coco import DISTRACTOR

# A number at the end of a label, with what parts it from the class: apple1, apple-2, apple (3).
NUMBER = re.compile(r"[\s_.#:-]*[(\[]?\s*\d+\s*[)\]]?$")
NO_WIDTH = str.maketrans("", "", "\u200b\u2060\ufeff")  # blanks of web pages, marks of byte order


def class_key(name: str) -> str:
    """What spellings of one class have in common: case and blanks make no difference."""
    return _one_blank(unicodedata.normalize("NFKC", name).casefold())


def _one_blank(name: str) -> str:
    """A name with one blank between its words and none around them, nor any of no width."""
    return " ".join(name.translate(NO_WIDTH).split())


def without_number(name: str) -> str:
    """A label without the number at its end; a label that is nothing else stays."""
    name = _one_blank(name)
    return NUMBER.sub("", name) or name


class Spelling:
    """One spelling for each class: the first that was met.

    Args:
        known: class names whose spelling comes first.
        strip_number: whether numbers at the end of labels are no part of the class.
    """

    def __init__(self, known: Iterable[str] = (), strip_number: bool = False) -> None:
        self.strip_number = strip_number
        self._by_key = {class_key(DISTRACTOR): DISTRACTOR}
        for name in known:
            self.of(name)

    def __call__(self, names: Iterable[str]) -> list[str]:
        """The spellings of a picture's labels, which depend on no other picture's."""
        own = copy(self)
        own._by_key = dict(self._by_key)
        return [own.of(name) for name in names]

    def stripping(self, strip_number: bool) -> Spelling:
        """This one, with or without numbers at the end of labels."""
        other = copy(self)
        other.strip_number = strip_number
        return other

    def of(self, name: str) -> str:
        """The spelling of a label's class."""
        name = without_number(name) if self.strip_number else _one_blank(name)
        return self._by_key.setdefault(class_key(name), name)
