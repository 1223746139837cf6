import logging

import pytest
import torch
from network_data import tiny_config, tiny_model

from cosal_d2.engine import Trainer
from cosal_d2.modeling import precision
from cosal_d2.modeling.precision import resolve_dtype


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_float32_is_float32_anywhere(device):
    assert resolve_dtype("float32", device) == torch.float32


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_types_are_taken_on_cuda_and_where_the_cpu_has_them(monkeypatch, name):
    assert resolve_dtype(name, "cuda") == getattr(torch, name)
    monkeypatch.setattr(precision, "_cpu_supports", lambda dtype: True)
    assert resolve_dtype(name, "cpu") == getattr(torch, name)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_a_cpu_that_would_emulate_computes_in_float32_and_says_so(monkeypatch, caplog, name):
    monkeypatch.setattr(precision, "_cpu_supports", lambda dtype: False)
    monkeypatch.setattr(precision.logger, "propagate", True)
    with caplog.at_level(logging.INFO, precision.logger.name):
        assert resolve_dtype(name, "cpu") == torch.float32
    assert f"no native {name}" in caplog.text


@pytest.mark.parametrize(
    ("capabilities", "dtype", "supported"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_fp16": False}, torch.bfloat16, False),
        ({"avx512_bf16": True, "avx512_fp16": False}, torch.bfloat16, True),
        ({"amx_bf16": True}, torch.bfloat16, True),
        ({"avx512_bf16": True, "avx512_fp16": False}, torch.float16, False),
        ({"amx_fp16": True}, torch.float16, True),
    ],
)
def test_support_is_read_from_the_cpus_flags(monkeypatch, capabilities, dtype, supported):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    library = f"_is_mkldnn_{'bf16' if dtype == torch.bfloat16 else 'fp16'}_supported"
    monkeypatch.setattr(torch.ops.mkldnn, library, lambda: True)
    assert precision._cpu_supports(dtype) is supported
    monkeypatch.setattr(torch.ops.mkldnn, library, lambda: False)
    assert precision._cpu_supports(dtype) is False


def test_the_question_to_this_cpu_has_an_answer():
    for dtype in (torch.bfloat16, torch.float16):
        assert precision._cpu_supports(dtype) in (True, False)


def test_the_network_takes_the_type_from_the_config(monkeypatch):
    monkeypatch.setattr(precision, "_cpu_supports", lambda dtype: True)
    model = tiny_model("MODEL.DTYPE", "bfloat16", "MODEL.RFM.SAMPLER", "")
    assert model.dtype == torch.bfloat16
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    with model._autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    model.dtype = torch.float32
    with model._autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_float16_training_on_a_cpu_is_refused():
    cfg = tiny_config("MODEL.DTYPE", "float16")
    with pytest.raises(ValueError, match="float16 trains on CUDA only; on a CPU use bfloat16"):
        Trainer._build_loop(cfg, None, None, None)
