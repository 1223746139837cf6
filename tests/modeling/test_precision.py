import logging

import pytest
import torch
from network_data import tiny_model

from cosal_d2.modeling.precision import resolve_dtype


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_float32_is_float32_anywhere(device):
    assert resolve_dtype("float32", device) == torch.float32


@pytest.mark.parametrize(
    ("name", "capability", "expected"),
    [
        ("bfloat16", (8, 0), torch.bfloat16),
        ("bfloat16", (9, 0), torch.bfloat16),
        ("bfloat16", (7, 5), torch.float32),
        ("float16", (7, 5), torch.float16),
    ],
)
def test_a_gpu_computes_in_a_half_type_only_where_it_is_native(
    monkeypatch, caplog, name, capability, expected
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(logging.getLogger("cosal_d2.modeling.precision"), "propagate", True)
    assert resolve_dtype(name, "cuda:1") == expected
    fallen = expected == torch.float32
    assert ("this GPU has no native bfloat16: computing in float32" in caplog.text) == fallen


@pytest.mark.parametrize(
    ("name", "capabilities", "supported"),
    [
        ("bfloat16", {"avx2": True, "avx512_bf16": False, "amx_fp16": False}, False),
        ("bfloat16", {"avx512_bf16": True, "avx512_fp16": False}, True),
        ("bfloat16", {"amx_bf16": True}, True),
        ("float16", {"avx512_bf16": True, "avx512_fp16": False}, False),
        ("float16", {"amx_fp16": True}, True),
    ],
)
def test_a_cpu_computes_in_a_half_type_only_where_it_is_native(
    monkeypatch, caplog, name, capabilities, supported
):
    library = f"_is_mkldnn_{'bf16' if name == 'bfloat16' else 'fp16'}_supported"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.ops.mkldnn, library, lambda: True)
    logger = logging.getLogger("cosal_d2.modeling.precision")
    monkeypatch.setattr(logger, "propagate", True)
    expected = getattr(torch, name) if supported else torch.float32
    assert resolve_dtype(name, "cpu") == expected
    fallen = f"this CPU has no native {name}: computing in float32" in caplog.text
    assert fallen == (not supported)
    model = tiny_model("MODEL.DTYPE", name, "MODEL.RFM.SAMPLER", "")
    assert model.dtype == expected and {p.dtype for p in model.parameters()} == {torch.float32}
    monkeypatch.setattr(torch.ops.mkldnn, library, lambda: False)
    assert resolve_dtype(name, "cpu") == torch.float32
