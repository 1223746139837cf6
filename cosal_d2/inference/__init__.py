"""From pictures to maps."""

from cosal_d2.utils.requirements import require_detectron2

__all__ = ["CoSaliencyPredictor", "CoSaliencyResult"]


def __getattr__(name: str):
    # What the ONNX engine shares with the network is imported without torch and Detectron2.
    if name == "CoSaliencyPredictor":
        require_detectron2()
        from cosal_d2.inference.predictor import CoSaliencyPredictor

        return CoSaliencyPredictor
    if name == "CoSaliencyResult":
        from cosal_d2.inference.results import CoSaliencyResult

        return CoSaliencyResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
