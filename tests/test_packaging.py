import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from cosal_d2 import __version__, cli
from cosal_d2.utils import requirements as _requirements

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory):
    """Names in a wheel that was built from an sdist of this tree, with one released file more."""
    folder = tmp_path_factory.mktemp("packaging")
    tree = folder / "tree"
    tree.mkdir()
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, tree)
    for name in ("cosal_d2", "configs", "tools", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "*.pth")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    (tree / "configs" / "nested").mkdir()
    (tree / "configs" / "nested" / "probe.yaml").write_text("VERSION: 2\n")
    (tree / "cosal_d2" / "released").mkdir(exist_ok=True)
    (tree / "cosal_d2" / "released" / "probe.pth").write_bytes(b"weights")
    sdist = [sys.executable, "setup.py", "-q", "sdist"]
    subprocess.run(sdist, cwd=tree, check=True, capture_output=True)
    (archive,) = (tree / "dist").iterdir()
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, f"-w{folder}", str(archive)], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        points = next(n for n in content.namelist() if n.endswith("entry_points.txt"))
        assert "cosal = cosal_d2.cli:main" in content.read(points).decode()
        return set(content.namelist())


def test_wheel_holds_every_config(wheel_names):
    configs = {p.relative_to(ROOT).as_posix() for p in (ROOT / "configs").rglob("*.yaml")}
    configs.add("configs/nested/probe.yaml")
    assert {n for n in wheel_names if n.startswith("cosal_d2/configs/")} == {
        f"cosal_d2/{name}" for name in configs
    }


def test_wheel_holds_released_weights_and_every_module(wheel_names):
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "cosal_d2").rglob("*.py")}
    assert modules <= wheel_names
    assert {"cosal_d2/released/probe.pth", "cosal_d2/released/released.json"} <= wheel_names
    assert {f"cosal_d2/report/{n}" for n in ("page.html", "style.css", "script.js")} <= wheel_names


def test_wheel_adds_one_top_level_package(wheel_names):
    tops = {name.split("/")[0] for name in wheel_names}
    assert tops == {"cosal_d2", f"cosal_d2-{__version__}.dist-info"}


def test_import_and_help_are_light(tmp_path):
    code = (
        "import sys, cosal_d2, cosal_d2.utils.requirements, cosal_d2.cli\n"
        "print(sorted({'torch', 'detectron2', 'numpy', 'cv2'} & set(sys.modules)))\n"
        "cosal_d2.cli.main(['--help'])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("[]\nusage: cosal ")
    assert "predict" in run.stdout


@pytest.mark.parametrize(
    ("missing", "torch_too"),
    [(("detectron2",), False), (("cv2",), False), (("torch", "torchvision", "detectron2"), True)],
)
def test_missing_requirement_gives_one_sentence_with_the_command(monkeypatch, missing, torch_too):
    monkeypatch.setattr(
        _requirements,
        "find_spec",
        lambda name: None if name in missing else ModuleSpec(name, None, origin="here"),
    )
    with pytest.raises(ImportError) as caught:
        _requirements.require_detectron2()
    message = str(caught.value)
    assert message.startswith(f"cosal_d2 needs {', '.join(missing)}, not found here; run: ")
    assert message.endswith("-m cosal_d2.install_detectron2")
    assert "\n" not in message
    assert ("pip install torch==" in message) == torch_too


def test_predict_without_detectron2_ends_with_that_sentence(monkeypatch, capsys):
    monkeypatch.setattr(_requirements, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as caught:
        cli.main(["predict", "--input", "picture.jpg"])
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("cosal: cosal_d2 needs torch, ")


def test_torch_versions_agree_everywhere():
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    install = (ROOT / "INSTALL.md").read_text()
    for pin in _requirements.TORCH_PINS:
        assert pin in constraints
        assert pin in install


def test_constraints_keep_the_known_bounds():
    bounds = {"numpy": (2, 3, 5), "scikit-image": (0, 26), "pillow": (13,), "setuptools": (81,)}
    bounds["iopath"] = (0, 1, 10)
    text = (ROOT / "constraints.txt").read_text()
    for name, bound in bounds.items():
        versions = re.findall(rf"^{name}==([\d.]+)", text, re.MULTILINE)
        assert versions
        for version in versions:
            assert tuple(map(int, version.split("."))) < bound
