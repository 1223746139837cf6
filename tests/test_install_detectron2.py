"""The installer, with a stand-in for pip and for the index's wheel."""

import base64
import hashlib
import shutil
import subprocess
import sys
import zipfile
from importlib.machinery import ModuleSpec
from importlib.metadata import distributions
from pathlib import Path

import pytest

from cosal_d2 import install_detectron2 as installer
from cosal_d2.utils import requirements

INIT = b'from .utils.env import setup_environment\n\n__version__ = "0.7.2"\n'
WHEEL = "detectron2-0.6+a59f0563-py3-none-any.whl"


@pytest.fixture
def carrier(tmp_path, monkeypatch):
    """A wheel laid out like the index's one, accepted by its own sha256."""
    path = tmp_path / "sal_detectron2-0.7.2-cp310-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("detectron2/__init__.py", INIT)
        wheel.writestr("detectron2/_C.cpython-310-x86_64-linux-gnu.so", b"\x7fELF")
        wheel.writestr("detectron2/model_zoo/configs/Base-RPN.yaml", b"MODEL: {}\n")
        wheel.writestr("tools/__init__.py", b"")
        wheel.writestr("sal_detectron2-0.7.2.dist-info/LICENSE", b"Apache License\n")
        wheel.writestr("sal_detectron2-0.7.2.dist-info/METADATA", b"Name: sal-detectron2\n")
    monkeypatch.setattr(installer, "CARRIER_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


@pytest.fixture
def pip(carrier, monkeypatch):
    """What pip is asked to install, without running it; it downloads the carrier."""
    calls = []

    def run(command, **options):
        assert command[:3] == [sys.executable, "-m", "pip"]
        if command[3] == "download":
            assert command[-1] == "sal_detectron2==0.7.2"
            (folder,) = (x.removeprefix("--dest=") for x in command if x.startswith("--dest="))
            shutil.copy(carrier, folder)
        else:
            calls.append([word for word in command[3:] if word != "--quiet"])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(installer.subprocess, "run", run)
    return calls


@pytest.fixture
def present(monkeypatch):
    """A function that says which modules can be imported."""

    def say(*names):
        def find_spec(name):
            return ModuleSpec(name, None, origin=f"/site/{name}/__init__.py")

        monkeypatch.setattr(
            requirements, "find_spec", lambda name: find_spec(name) if name in names else None
        )

    return say


def test_the_wheel_holds_detectron2_without_its_extension_and_a_record(carrier, tmp_path):
    path = installer.build_wheel(carrier, tmp_path / "out")
    assert [p.name for p in path.parent.iterdir()] == [path.name] == [WHEEL]
    info = "detectron2-0.6+a59f0563.dist-info"
    with zipfile.ZipFile(path) as wheel:
        files = {name: wheel.read(name) for name in wheel.namelist()}
    assert set(files) == {
        "detectron2/__init__.py",
        "detectron2/model_zoo/configs/Base-RPN.yaml",
        *(f"{info}/{n}" for n in ("LICENSE", "METADATA", "RECORD", "WHEEL", "top_level.txt")),
    }
    assert files["detectron2/__init__.py"] == INIT.replace(b"0.7.2", b"0.6")
    rows = [row.split(",") for row in files[f"{info}/RECORD"].decode().splitlines()]
    assert {row[0] for row in rows} == set(files)
    for name, digest, size in rows:
        if name.endswith("/RECORD"):
            assert (digest, size) == ("", "")
            continue
        expected = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).decode()
        assert (digest, int(size)) == ("sha256=" + expected.rstrip("="), len(files[name]))
    again = installer.build_wheel(carrier, tmp_path / "again")
    assert again.read_bytes() == path.read_bytes()


def test_pip_installs_the_wheel_under_its_own_name(carrier, tmp_path):
    wheel = installer.build_wheel(carrier, tmp_path / "out")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
    subprocess.run([*command, f"--target={site}", str(wheel)], check=True)
    (found,) = distributions(path=[str(site)])
    assert (found.name, found.version) == ("detectron2", installer.VERSION)
    assert found.metadata["License"] == "Apache-2.0"
    assert installer.UPSTREAM_COMMIT in found.read_text("METADATA")
    assert {"iopath<0.1.10,>=0.1.7", "setuptools<81", "numpy"} <= set(found.requires)


def test_a_carrier_with_other_content_is_refused(carrier, pip, tmp_path, capsys):
    carrier.write_bytes(carrier.read_bytes() + b"x")
    assert installer.main(["--wheel-dir", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "sha256 is " in error and "delete it and try again" in error
    assert not (tmp_path / "out").exists()


def test_importable_detectron2_and_opencv_are_left_untouched(present, pip, capsys):
    present("detectron2", "cv2", "py_sod_metrics")
    assert installer.main([]) == 0
    assert pip == []
    assert "importable from /site/detectron2: left untouched" in capsys.readouterr().out


def test_what_is_missing_is_installed_under_the_constraints(present, pip):
    present()
    assert installer.main(["--constraint", "pins.txt"]) == 0
    detectron2, opencv, needed, measures = pip
    assert detectron2[:3] == ["install", "-c", "pins.txt"] and detectron2[-1].endswith(WHEEL)
    assert opencv == ["install", "-c", "pins.txt", "opencv-python-headless"]
    assert needed == ["install", "-c", "pins.txt", *installer.MEASURES_NEED]
    # Without its own requirements it leaves the user's OpenCV and numpy as they are.
    assert measures == ["install", "-c", "pins.txt", "--no-deps", "pysodmetrics"]


def test_wheel_dir_only_writes_the_wheel(pip, tmp_path, capsys):
    assert installer.main(["--wheel-dir", str(tmp_path / "wheels")]) == 0
    assert Path(capsys.readouterr().out.strip()) == tmp_path / "wheels" / WHEEL
    assert pip == []


@pytest.mark.parametrize(
    ("url", "requirement"),
    [
        ("https://host/d2.git", f"git+https://host/d2.git@{installer.UPSTREAM_COMMIT}"),
        ("git+ssh://git@host/d2", f"git+ssh://git@host/d2@{installer.UPSTREAM_COMMIT}"),
        ("https://host/d2.git@v0.6", "git+https://host/d2.git@v0.6"),
    ],
)
def test_git_compiles_the_named_repository(present, pip, url, requirement):
    present("torch", "cv2", "py_sod_metrics")
    assert installer.main(["--git", url]) == 0
    assert pip[-1] == ["install", "--no-build-isolation", requirement]


def test_git_asks_for_torch_first(present, pip, capsys):
    present()
    assert installer.main(["--git", "https://host/d2.git"]) == 1
    assert "install torch first" in capsys.readouterr().err


def test_a_failing_pip_is_a_sentence_and_exit_status_1(present, monkeypatch, capsys):
    present()
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(installer.subprocess, "run", lambda *args, **kwargs: failed)
    assert installer.main([]) == 1
    assert "pip download` failed" in capsys.readouterr().err
