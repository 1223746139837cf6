"""What predicting costs: times, memory and operations, in each setting side by side in one run."""

from __future__ import annotations

import contextlib
import io
import logging
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.utils.analysis import FlopCountAnalysis
from torch import nn

from cosal_d2.config import DTYPES, get_cosal_config
from cosal_d2.inference.export.onnx_timing import (
    exported_passes,
    exported_peak_mb,
    load_exported,
)
from cosal_d2.inference.picture_predictor import PicturePredictor
from cosal_d2.inference.pipeline import predict_pictures
from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.inference.saving import ResultWriter
from cosal_d2.inference.sources import Source
from cosal_d2.inference.timing import alternating, median_ratio, passes
from cosal_d2.modeling.backbone.vgg import VGG16
from cosal_d2.modeling.precision import is_native
from cosal_d2.prepare.scene import SceneOptions
from cosal_d2.prepare.synthetic.render import render_scene
from cosal_d2.utils.files import write_bytes
from cosal_d2.utils.memory import MB, peak_mb
from cosal_d2.utils.parallel import Pool
from cosal_d2.utils.pictures import encoded, read_image

PICTURES = 8  # from file to file in a round; two batches where that is more


class Setting(NamedTuple):
    """How a network is run: in which precision, and "eager", by "compile", which is
    ``torch.compile``, or by "onnxruntime"."""

    dtype: str
    engine: str = "eager"


class Subject(NamedTuple):
    """What is timed in a setting."""

    predictor: PicturePredictor
    encoder: nn.Module
    device: str


def prediction_rows(
    config_file: str,
    sizes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    rounds: int,
    note: Callable[[str], None] = print,
    onnx: str | None = None,
) -> Iterator[dict]:
    """What predicting costs, for each size, batch and setting, on a GPU where there is one.

    The picture is a synthetic scene, which the network takes at its size. All settings of a size
    and a batch take turns in each round. Times are medians over rounds, in milliseconds a picture.

    Args:
        config_file: of a network with weights.
        sizes: height and width of the picture, pixels.
        batches: pictures of a forward pass.
        rounds: how often each part is timed.
        note: is told what is left out, and why.
        onnx: a file of that network from ``cosal export``, which takes its turns on the CPU.

    Yields:
        ``height``, ``width``, ``batch``, ``dtype``, ``engine``, ``device``, and

        - ``gflops`` of the network for a picture, as fvcore counts them: a multiply-add is one,
          and what it does not know, such as RoIAlign, is not in it;
        - ``encoder_ms``, VGG-16's encoder (for ONNX Runtime that of PyTorch in float32), and
          ``network_ms``, the whole network: a forward pass each;
        - ``ratio``, the median of network over VGG-16's encoder;
        - ``end_to_end_ms``, from a JPEG file to a PNG file of its map, as ``cosal predict`` works;
        - ``peak_mb``, the most memory while a batch is predicted: on a GPU what torch holds there
          for the weights and the batch; on a CPU the resident memory of a fresh process, with
          Python and its libraries, or None where the system does not tell.

    Raises:
        FileNotFoundError, ValueError: no such config, weights or ONNX file, one of another config,
            or no such size.
    """
    scenes = [SceneOptions(size=size) for size in sizes]
    cfg = get_cosal_config(config_file)
    cfg.INPUT.MIN_SIZE_TEST = 0  # no resizing
    subjects = {setting: _subject(cfg, setting) for setting in _settings(cfg.MODEL.DEVICE, note)}
    if onnx is not None:
        setting, subject = _exported(onnx, config_file)
        subjects[setting] = subject
    for (height, width), options in zip(sizes, scenes, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "scene.jpg")
            scene = render_scene(0, 0, options)
            write_bytes(path, encoded(scene.image, ".jpg"))
            gflops = _gflops(subjects[Setting("float32")].predictor.model, _pixels(path))
            for batch in batches:
                for row in _rows(cfg, subjects, path, batch, rounds, note):
                    yield {"height": height, "width": width, "batch": batch, **row} | {
                        "gflops": gflops
                    }


def _settings(device: str, note: Callable[[str], None]) -> list[Setting]:
    on_gpu = torch.device(device).type == "cuda"
    if not on_gpu:
        note("float16 and torch.compile: left out, they are measured on CUDA alone")
    kind = "GPU" if on_gpu else "CPU"
    found = []
    for dtype in DTYPES if on_gpu else ("float32", "bfloat16"):
        if is_native(dtype, device):
            found += [Setting(dtype, engine) for engine in ("eager", "compile")[: 1 + on_gpu]]
        else:
            note(f"{dtype}: left out, this {kind} has no instructions for it and would emulate it")
    return found


def _subject(cfg: CfgNode, setting: Setting) -> Subject:
    predictor = CoSaliencyPredictor(cfg, dtype=setting.dtype)
    model = predictor.model
    encoder = VGG16().eval().to(model.device, memory_format=torch.channels_last)
    if setting.engine == "compile":
        for part in filter(None, (encoder, model.backbone, model.feature_sensitive, model.decoder)):
            part.compile(dynamic=False)
    return Subject(predictor, encoder, cfg.MODEL.DEVICE)


def _exported(file: str, config_file: str) -> tuple[Setting, Subject]:
    predictor = load_exported(file, config_file)
    encoder = VGG16().eval().to(memory_format=torch.channels_last)
    return Setting(predictor.info.precision, "onnxruntime"), Subject(predictor, encoder, "cpu")


def _rows(
    cfg: CfgNode,
    subjects: Mapping[Setting, Subject],
    path: Path,
    batch: int,
    rounds: int,
    note: Callable[[str], None],
) -> Iterator[dict]:
    torch.compiler.reset()  # it compiles a function for eight inputs at most
    parts: dict[tuple[Setting, str], Callable[[], object]] = {}
    count = max(PICTURES, 2 * batch)
    for setting, (predictor, encoder, device) in subjects.items():
        if setting.engine == "onnxruntime":
            own = exported_passes(predictor, encoder, path, batch)
        else:
            own = passes(predictor.model, encoder, _pixels(path), batch)
        own["end to end"] = _from_file_to_file(predictor, path, batch, count)
        try:
            if "cuda" in device or setting.engine == "compile":
                alternating(own, 0)
        except Exception as error:
            if not (setting.engine == "compile" or isinstance(error, torch.OutOfMemoryError)):
                raise
            reason = str(error).strip().partition("\n")[0]
            note(f"{setting.dtype}, {setting.engine}, batch {batch}: left out, {reason}")
            continue
        parts |= {(setting, name): run for name, run in own.items()}
    times = alternating(parts, rounds)
    for setting in dict.fromkeys(setting for setting, _ in parts):
        encoder, network, whole = (
            times[setting, name] for name in ("encoder", "network", "end to end")
        )
        yield {
            **setting._asdict(),
            "device": subjects[setting].device,
            "encoder_ms": 1000 * statistics.median(encoder) / batch,
            "network_ms": 1000 * statistics.median(network) / batch,
            "ratio": median_ratio(network, encoder),
            "end_to_end_ms": 1000 * statistics.median(whole) / count,
            "peak_mb": _peak_mb(cfg, setting, subjects[setting], path, batch),
        }


def _pixels(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(read_image(path).transpose(2, 0, 1)))


def _from_file_to_file(
    predictor: PicturePredictor, path: Path, batch: int, count: int
) -> Callable[[], None]:
    """Predict a picture `count` times, as ``cosal predict --save map`` does."""
    sources = [Source(str(path), f"{i}.jpg") for i in range(count)]

    def run() -> None:
        with (
            contextlib.redirect_stderr(io.StringIO()),  # of the progress bar
            ResultWriter(path.parent / "maps", ["map"]) as writer,
        ):
            failed = predict_pictures(predictor, sources, writer, batch=batch)
        if failed:
            raise OSError(failed[0])

    return run


def _gflops(model: nn.Module, picture: torch.Tensor) -> float:
    count = FlopCountAnalysis(model, [{"image": picture}])
    count.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    return count.total() / 1e9


def _peak_mb(
    cfg: CfgNode, setting: Setting, subject: Subject, path: Path, batch: int
) -> float | None:
    if setting.engine == "onnxruntime":
        return exported_peak_mb(subject.predictor.file, path, batch)
    if subject.device == "cpu":
        with Pool(_peak_of_process, 1) as process:
            process.submit((cfg, setting.dtype, path, batch))
            return next(process.results())
    weights = sum(
        t.numel() * t.element_size() for t in subject.predictor.model.state_dict().values()
    )
    held = torch.cuda.memory_allocated()  # weights of all subjects among it
    torch.cuda.reset_peak_memory_stats()
    subject.predictor.batch([path] * batch)
    return (torch.cuda.max_memory_allocated() - held + weights) / MB


def _peak_of_process(task: tuple[CfgNode, str, Path, int]) -> float | None:
    """The most memory that this process has held once it has predicted a batch."""
    cfg, dtype, path, batch = task
    logging.disable()  # the first process has said it
    CoSaliencyPredictor(cfg, dtype=dtype).batch([path] * batch)
    return peak_mb()
