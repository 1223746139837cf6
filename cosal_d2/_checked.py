"""Importing this checks that torch, Detectron2 and OpenCV are there, in one sentence if not."""

from cosal_d2._requirements import require_detectron2

require_detectron2()
