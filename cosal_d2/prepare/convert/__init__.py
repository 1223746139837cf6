"""Data in other formats become co-saliency datasets; `tools/prepare_dataset.py` is the command."""

from cosal_d2.prepare.convert import coco, labelme, masks, voc, yolo
from cosal_d2.prepare.convert.convert import Options, convert
from cosal_d2.prepare.convert.selection import Selection
from cosal_d2.prepare.convert.writer import Target, Written

FORMATS = {"coco": coco, "voc": voc, "masks": masks, "labelme": labelme, "yolo": yolo}

__all__ = ["FORMATS", "Options", "Selection", "Target", "Written", "convert"]
