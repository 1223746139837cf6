"""Photograph-like scenes with a repeated object class and single distractors, drawn with OpenCV."""

from cosal_d2.prepare.scene import SceneOptions
from cosal_d2.prepare.series import DatasetSpec
from cosal_d2.prepare.synthetic.catalogue import CLASSES, siblings
from cosal_d2.prepare.synthetic.render import render_scene, write_dataset

__all__ = ["CLASSES", "DatasetSpec", "SceneOptions", "render_scene", "siblings", "write_dataset"]
