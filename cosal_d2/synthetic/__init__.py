"""Photograph-like scenes with a repeated object class and single distractors, drawn with OpenCV."""

from cosal_d2.synthetic.catalogue import CLASSES, DISTRACTOR, siblings
from cosal_d2.synthetic.scene import Scene, SceneOptions, render_scene
from cosal_d2.synthetic.writer import DatasetSpec, write_dataset

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
