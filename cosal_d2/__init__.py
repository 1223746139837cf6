"""Within-image co-saliency detection on Detectron2; importing it loads neither torch nor that."""

__version__ = "0.1.0"
