"""Within-image co-saliency detection on Detectron2; importing it loads neither torch nor that."""

__version__ = "0.1.0"
__all__ = ["CoSaliencyPredictor"]


def __getattr__(name: str):
    if name == "CoSaliencyPredictor":
        from cosal_d2.inference import CoSaliencyPredictor

        return CoSaliencyPredictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
