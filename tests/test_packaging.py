"""What a wheel holds, and what is said where something beside it is missing."""

import re
import shutil
import subprocess
import sys
import zipfile
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from cosal_d2 import __version__, cli
from cosal_d2.utils import requirements

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names in a wheel that was built from an sdist of this tree, with a released file and a nested
    config more."""
    folder = tmp_path_factory.mktemp("packaging")
    tree = folder / "tree"
    tree.mkdir()
    for path in (*ROOT.glob("*.*"), ROOT / "LICENSE", ROOT / "Makefile"):
        if path.is_file():
            shutil.copy(path, tree)
    for name in ("cosal_d2", "configs"):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    (tree / "configs" / "nested").mkdir()
    (tree / "configs" / "nested" / "probe.yaml").write_text("VERSION: 2\n")
    (tree / "cosal_d2" / "released" / "probe.safetensors").write_bytes(b"weights")
    sdist = [sys.executable, "setup.py", "-q", "sdist"]
    subprocess.run(sdist, cwd=tree, check=True, capture_output=True)
    (archive,) = (tree / "dist").iterdir()
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, f"-w{folder}", str(archive)], check=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as content:
        return {name: content.read(name) for name in content.namelist()}


def test_a_wheel_holds_modules_configs_released_weights_and_the_reports_files(wheel):
    package = ROOT / "cosal_d2"
    files = [p for suffix in ("py", "html", "css", "js") for p in package.rglob(f"*.{suffix}")]
    names = {p.relative_to(ROOT).as_posix() for p in files}
    configs = {p.relative_to(ROOT).as_posix() for p in (ROOT / "configs").rglob("*.yaml")}
    names |= {f"cosal_d2/{name}" for name in (*configs, "configs/nested/probe.yaml")}
    names |= {f"cosal_d2/released/{name}" for name in ("probe.safetensors", "released.json")}
    assert {name for name in wheel if name.startswith("cosal_d2/")} == names


def test_a_wheel_adds_one_top_level_package_and_one_command(wheel):
    information = f"cosal_d2-{__version__}.dist-info"
    assert {name.split("/")[0] for name in wheel} == {"cosal_d2", information}
    points = wheel[f"{information}/entry_points.txt"].decode().split()
    assert points == ["[console_scripts]", "cosal", "=", "cosal_d2.cli:main"]


@pytest.mark.parametrize(
    ("missing", "torch_too"),
    [(("detectron2",), False), (("cv2",), False), (("torch", "torchvision", "detectron2"), True)],
)
def test_what_is_missing_is_one_sentence_with_the_command(monkeypatch, missing, torch_too):
    monkeypatch.setattr(
        requirements,
        "find_spec",
        lambda name: None if name in missing else ModuleSpec(name, None, origin="here"),
    )
    with pytest.raises(ImportError) as caught:
        requirements.require_detectron2()
    message = str(caught.value)
    assert message.startswith(f"cosal_d2 needs {', '.join(missing)}, not found here; run: ")
    assert message.endswith("-m cosal_d2.install_detectron2") and "\n" not in message
    assert ("pip install torch==" in message) == torch_too


def test_predict_without_detectron2_ends_with_that_sentence(monkeypatch, capsys):
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    picture = ["--input", __file__, "--output", "unused"]
    assert cli.main(["predict", *picture]) == 1
    assert capsys.readouterr().err.startswith("cosal: error: cosal_d2 needs torch, ")


def test_torch_versions_agree_everywhere():
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    install = (ROOT / "INSTALL.md").read_text()
    for pin in requirements.TORCH_PINS:
        assert pin in constraints and pin in install


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("numpy", (2, 3, 5)),
        ("scikit-image", (0, 26)),
        ("pillow", (13,)),
        ("setuptools", (81,)),
        ("iopath", (0, 1, 10)),
    ],
)
def test_constraints_keep_the_known_bounds(name, bound):
    text = (ROOT / "constraints.txt").read_text()
    versions = re.findall(rf"^{name}==([\d.]+)", text, re.MULTILINE)
    assert versions
    assert all(tuple(map(int, version.split("."))) < bound for version in versions)
