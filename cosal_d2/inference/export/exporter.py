"""The network with its weights as one file: ONNX, or torch.export's program."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch._dynamo.config
from detectron2.config import CfgNode
from torch.export import Dim, ExportedProgram

from cosal_d2 import __version__
from cosal_d2.config import get_cosal_config
from cosal_d2.inference.export.network import ExportedNetwork
from cosal_d2.inference.export.onnx_file import METADATA_KEY, ModelInfo, export_path
from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.modeling.backbone.encoder import TOP_STRIDE
from cosal_d2.utils.files import replacing
from cosal_d2.utils.requirements import require_modules

OPSET = 18
INPUTS = ("image", "size")
# Of the batch and of H / 16 and W / 16, at most: sides of 4096 pixels.
MOST_IMAGES, MOST_STRIDES = 64, 256


def export_network(
    config_file: str,
    output: str | os.PathLike,
    opts: Sequence[str] = (),
    calibration: Sequence[Path] = (),
) -> Path:
    """Write a network with its weights, in float32, for any batch, height and width.

    Args:
        config_file: a path, or the name of a shipped config.
        output: the file: ``.onnx`` is ONNX of opset 18 with all that an engine needs in its
            metadata, ``.pt2`` a program of ``torch.export``.
        opts: config changes.
        calibration: pictures; with some of them ONNX's convolutions are computed in int8, with
            scales that were measured on these (:func:`.quantize`).

    Returns:
        the path of the file; a former one is replaced as a whole.

    Raises:
        FileNotFoundError: no such config, weights or folder.
        ValueError: no such format, or a config or network that is not exported.
        ImportError: ONNX needs more packages.
    """
    path = export_path(output, bool(calibration))
    if path.suffix == ".onnx":
        require_modules(("onnx", "onnxscript", "onnxruntime"), "exporting ONNX")
    cfg = get_cosal_config(config_file, [*opts, "MODEL.DEVICE", "cpu", "MODEL.DTYPE", "float32"])
    info = model_info(cfg, config_file)
    network = ExportedNetwork(CoSaliencyPredictor(cfg).model)
    with _quietly(), without_cache(), torch.no_grad():
        program = export_program(network)
        with replacing(path) as temporary:
            if path.suffix == ".pt2":
                details = {f"{METADATA_KEY}.json": info.to_json()}
                torch.export.save(program, temporary, extra_files=details)
            elif not calibration:
                write_onnx(program, network.outputs, temporary, info)
            else:
                from cosal_d2.inference.export.quantization import quantize

                with TemporaryDirectory() as folder:
                    full = Path(folder, "float32.onnx")
                    write_onnx(program, network.outputs, full, info)
                    quantize(full, temporary, calibration)
    return path


def model_info(cfg: CfgNode, name: str) -> ModelInfo:
    """What an engine has to know of a network beside its graph."""
    grouping = cfg.MODEL.GROUPING
    return ModelInfo(
        config=os.path.basename(name),
        version=__version__,
        precision="float32",
        input_format=cfg.INPUT.FORMAT,
        min_size=cfg.INPUT.MIN_SIZE_TEST,
        max_size=cfg.INPUT.MAX_SIZE_TEST,
        stride=TOP_STRIDE,
        grouping=grouping.ENABLED,
        repeats_threshold=grouping.REPEATS_THRESHOLD,
        same_object_share=grouping.SAME_OBJECT_SHARE,
        score_threshold=grouping.INSTANCE_THRESHOLD,
        pair_threshold=grouping.PAIR_THRESHOLD,
    )


def export_program(network: ExportedNetwork) -> ExportedProgram:
    """``torch.export``'s program of a network."""
    # Two images of two sizes, so that nothing takes either for a constant.
    image = torch.zeros((2, 3, 6 * TOP_STRIDE, 8 * TOP_STRIDE), dtype=torch.uint8)
    size = torch.tensor([image.shape[2:], [5 * TOP_STRIDE, 7 * TOP_STRIDE]])
    images = Dim("batch", min=1, max=MOST_IMAGES)
    height, width = (Dim(name, min=2, max=MOST_STRIDES) for name in ("height_16", "width_16"))
    shapes = {
        "image": {0: images, 2: TOP_STRIDE * height, 3: TOP_STRIDE * width},
        "size": {0: images},
    }
    return torch.export.export(network, (image, size), dynamic_shapes=shapes)


def write_onnx(
    program: ExportedProgram, outputs: Sequence[str], path: Path, info: ModelInfo
) -> None:
    """Write a program as ONNX, with its metadata."""
    import onnx

    model = torch.onnx.export(
        program,
        input_names=INPUTS,
        output_names=outputs,
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        custom_translation_table=_translations(),
    ).model_proto
    names = ("batch", "height", "width")
    dims = [model.graph.input[0].type.tensor_type.shape.dim[i].dim_param for i in (0, 2, 3)]
    renamed = dict(zip(dims, names, strict=True))
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = renamed[dim.dim_param]
    del model.graph.value_info[:]  # of the former names
    model.doc_string = f"Outputs: {', '.join(outputs)}."
    if info.grouping:
        model.doc_string += (
            " Objects and groups are made of the regions by "
            "cosal_d2.utils.object_instances.find_instances."
        )
    onnx.helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    onnx.save(model, path)


def _translations() -> dict[Any, Any]:
    """Of operators that PyTorch's exporter lacks, or gives without their care for small numbers."""
    from onnxscript import opset18 as op

    def sort(x, stable=None, dim=-1, descending=False):
        count = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
        return op.TopK(x, count, axis=dim, largest=int(descending), sorted=1)

    def log_sigmoid(x):
        return op.Neg(op.Softplus(op.Neg(x)))

    return {
        torch.ops.aten.sort.stable: sort,
        torch.ops.aten.log_sigmoid.default: log_sigmoid,
    }


def without_cache() -> contextlib.AbstractContextManager[None]:
    """PyTorch's cache of shapes costs more than it saves where they are symbols."""
    return torch._dynamo.config.patch(fake_tensor_cache_enabled=False)


@contextlib.contextmanager
def _quietly():
    """Without what the exporters say of their own code."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield
