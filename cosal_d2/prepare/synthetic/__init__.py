"""Photograph-like scenes with a repeated object class and single distractors, drawn with OpenCV."""

from cosal_d2.prepare.synthetic.catalogue import CLASSES, siblings
from cosal_d2.prepare.synthetic.scene import Scene, SceneOptions, render_scene
from cosal_d2.prepare.synthetic.writer import DatasetSpec, write_dataset
from cosal_d2.utils.coco import DISTRACTOR

__all__ = [
    "CLASSES",
    "DISTRACTOR",
    "DatasetSpec",
    "Scene",
    "SceneOptions",
    "render_scene",
    "siblings",
    "write_dataset",
]
