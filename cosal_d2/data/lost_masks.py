"""What becomes of pictures whose annotations have no masks."""

from __future__ import annotations

import logging
import os

from cosal_d2.utils.coco import is_large

logger = logging.getLogger(__name__)

SHOWN_LOST = 5  # names in a warning


class LostMasks:
    """Annotations without masks, which are left out of the records of a json."""

    def __init__(self, json_file: str) -> None:
        self.json_file = json_file
        self.names: list[str] = []
        self.unclean = 0
        self.pictures: list[str] = []

    def keep(self, record: dict, without_mask: list[tuple[int, dict, bool]]) -> bool:
        """Count what a record lost, and whether the record is still of use.

        Args:
            record: which is marked where it lost a large object.
            without_mask: position in the json, entry and ``cosalient`` of what it lost.
        """
        if not without_mask:
            return True
        name = os.path.basename(record["file_name"])
        self.names += [f"annotations[{i}] (id {a['id']}) of {name}" for i, a, _ in without_mask]
        if any(is_large(annotation, record) for _, annotation, _ in without_mask):
            self.unclean += 1
            record["clean"] = False
        truth_is_lost = any(cosalient for *_, cosalient in without_mask) and not any(
            a["cosalient"] for a in record["annotations"]
        )
        if truth_is_lost:
            self.pictures.append(name)
        return not truth_is_lost

    def warn(self, total: int) -> None:
        """Say what is left out, of so many annotations.

        Raises:
            ValueError: it is all of them.
        """
        if not self.names:
            return
        if len(self.names) == total:
            raise ValueError(
                f"{self.json_file}: no annotation has a mask in its `segmentation`; `cosal data "
                "coco --masks-from-boxes` makes them from boxes"
            )
        logger.warning(
            "%s: %d of %d annotations have no mask and are left out: %s%s. %d pictures lost a "
            "large object so and are not clean. %d pictures lost all co-salient objects and are "
            "left out%s. `cosal data check` names each",
            self.json_file,
            len(self.names),
            total,
            ", ".join(self.names[:SHOWN_LOST]),
            ", ..." if len(self.names) > SHOWN_LOST else "",
            self.unclean,
            len(self.pictures),
            f": {', '.join(self.pictures[:SHOWN_LOST])}" if self.pictures else "",
        )
