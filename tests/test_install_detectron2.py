import base64
import hashlib
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

from cosal_d2 import install_detectron2 as installer

ROOT = Path(__file__).resolve().parents[1]
INIT = b'from .utils.env import setup_environment\n\n__version__ = "0.7.2"\n'


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
def pip_calls(monkeypatch):
    """Records the arguments of pip instead of running it."""
    calls = []
    monkeypatch.setattr(installer, "_pip", lambda *args: calls.append(args))
    return calls


def test_wheel_members_and_record(carrier, tmp_path):
    wheel_path = installer.build_wheel(carrier, tmp_path / "out")

    assert wheel_path.name == "detectron2-0.6+a59f0563-py3-none-any.whl"
    assert [p.name for p in wheel_path.parent.iterdir()] == [wheel_path.name]
    info = "detectron2-0.6+a59f0563.dist-info"
    with zipfile.ZipFile(wheel_path) as wheel:
        files = {name: wheel.read(name) for name in wheel.namelist()}
    assert set(files) == {
        "detectron2/__init__.py",
        "detectron2/model_zoo/configs/Base-RPN.yaml",
        *(f"{info}/{n}" for n in ("LICENSE", "METADATA", "RECORD", "WHEEL", "top_level.txt")),
    }
    assert files["detectron2/__init__.py"] == INIT.replace(b"0.7.2", b"0.6")
    assert b"Tag: py3-none-any\n" in files[f"{info}/WHEEL"]
    rows = [row.split(",") for row in files[f"{info}/RECORD"].decode().splitlines()]
    assert {row[0] for row in rows} == set(files)
    for name, digest, size in rows:
        if name.endswith("/RECORD"):
            assert (digest, size) == ("", "")
            continue
        expected = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).decode()
        assert digest == "sha256=" + expected.rstrip("=")
        assert int(size) == len(files[name])


def test_same_carrier_gives_the_same_bytes(carrier, tmp_path):
    first = installer.build_wheel(carrier, tmp_path / "a").read_bytes()
    assert installer.build_wheel(carrier, tmp_path / "b").read_bytes() == first


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


def test_carrier_with_other_content_is_refused(carrier, tmp_path):
    carrier.write_bytes(carrier.read_bytes() + b"x")
    with pytest.raises(installer.InstallError, match="sha256 is .*delete it and try again"):
        installer.build_wheel(carrier, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_importable_detectron2_and_opencv_are_left_untouched(monkeypatch, pip_calls, capsys):
    spec = type("Spec", (), {"origin": "/site/detectron2/__init__.py"})
    monkeypatch.setattr(installer.importlib.util, "find_spec", lambda name: spec)
    assert installer.main([]) == 0
    assert pip_calls == []
    assert "left untouched" in capsys.readouterr().out


def test_missing_parts_are_installed_under_the_constraints(
    carrier, monkeypatch, pip_calls, tmp_path
):
    monkeypatch.setattr(installer, "_importable", lambda name: False)
    monkeypatch.setattr(installer, "download_carrier", lambda folder: carrier)
    assert installer.main(["--constraint", "pins.txt"]) == 0
    detectron2, opencv = pip_calls
    assert detectron2[:4] == ("install", "--quiet", "-c", "pins.txt")
    assert detectron2[-1].endswith("detectron2-0.6+a59f0563-py3-none-any.whl")
    assert opencv == ("install", "--quiet", "-c", "pins.txt", "opencv-python-headless")


def test_wheel_dir_only_writes_the_wheel(carrier, monkeypatch, pip_calls, tmp_path, capsys):
    monkeypatch.setattr(installer, "download_carrier", lambda folder: carrier)
    assert installer.main(["--wheel-dir", str(tmp_path / "wheels")]) == 0
    assert Path(capsys.readouterr().out.strip()).parent == tmp_path / "wheels"
    assert pip_calls == []


@pytest.mark.parametrize(
    ("url", "requirement"),
    [
        ("https://host/d2.git", f"git+https://host/d2.git@{installer.UPSTREAM_COMMIT}"),
        ("git+ssh://git@host/d2", f"git+ssh://git@host/d2@{installer.UPSTREAM_COMMIT}"),
        ("https://host/d2.git@v0.6", "git+https://host/d2.git@v0.6"),
    ],
)
def test_git_compiles_the_named_repository(monkeypatch, pip_calls, url, requirement):
    monkeypatch.setattr(installer, "_importable", lambda name: name in ("torch", "cv2"))
    assert installer.main(["--git", url]) == 0
    assert pip_calls[-1] == ("install", "--no-build-isolation", requirement)


def test_git_asks_for_torch_first(monkeypatch, pip_calls, capsys):
    monkeypatch.setattr(installer, "_importable", lambda name: False)
    assert installer.main(["--git", "https://host/d2.git"]) == 1
    assert "install torch first" in capsys.readouterr().err


def test_failing_pip_gives_a_sentence_and_exit_status_1(monkeypatch, capsys):
    monkeypatch.setattr(installer, "_importable", lambda name: False)
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(installer.subprocess, "run", lambda *args, **kwargs: failed)
    assert installer.main([]) == 1
    assert "pip download` failed" in capsys.readouterr().err


def test_a_folder_of_that_name_is_not_an_installed_package(tmp_path, monkeypatch):
    (tmp_path / "folder_without_code").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not installer._importable("folder_without_code")


def test_tool_runs_from_another_folder(tmp_path):
    tool = ROOT / "tools" / "install_detectron2.py"
    run = subprocess.run(
        [sys.executable, str(tool), "--help"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0
    assert "--git URL" in run.stdout
