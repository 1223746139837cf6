"""Install Detectron2, OpenCV and pysodmetrics for the Python that runs this module, by the standard
library alone.

The package index has no `detectron2`, but it has a build of upstream commit a59f0563 for
Python 3.10 under another name. `build_wheel` turns that carrier into a pure `detectron2` wheel.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from cosal_d2.utils.requirements import location

UPSTREAM_COMMIT = "a59f05630a8f205756064244bf5beb8661f96180"
UPSTREAM_VERSION = "0.6"
VERSION = f"{UPSTREAM_VERSION}+{UPSTREAM_COMMIT[:8]}"
CARRIER = "sal_detectron2==0.7.2"
CARRIER_VERSION = "0.7.2"
CARRIER_SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"

MEASURES_NEED = ("scipy", "scikit-image<0.26", "scikit-learn")  # of pysodmetrics, but OpenCV

_DIST_INFO = f"detectron2-{VERSION}.dist-info"
_WHEEL_FILE = "Wheel-Version: 1.0\nGenerator: cosal_d2\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_METADATA = f"""\
Metadata-Version: 2.1
Name: detectron2
Version: {VERSION}
Summary: Detectron2 without its compiled extension
Author: FAIR
License: Apache-2.0
Requires-Python: >=3.8
License-File: LICENSE
Requires-Dist: Pillow>=7.1
Requires-Dist: matplotlib
Requires-Dist: pycocotools>=2.0.2
Requires-Dist: termcolor>=1.1
Requires-Dist: yacs>=0.1.8
Requires-Dist: tabulate
Requires-Dist: cloudpickle
Requires-Dist: tqdm>4.29.0
Requires-Dist: tensorboard
Requires-Dist: fvcore<0.1.6,>=0.1.5
Requires-Dist: iopath<0.1.10,>=0.1.7
Requires-Dist: omegaconf<2.4,>=2.1
Requires-Dist: hydra-core>=1.1
Requires-Dist: packaging
Requires-Dist: pydot
Requires-Dist: numpy
Requires-Dist: setuptools<81
Description-Content-Type: text/plain

Detectron2 (Copyright Facebook, Inc. and its affiliates; Apache License 2.0), upstream commit
{UPSTREAM_COMMIT}, repackaged from the distribution
{CARRIER}. Differences from upstream:

- the compiled extension `detectron2._C` is left out, and with it deformable convolution,
  operators on rotated boxes and the fast COCO evaluation; everything else needs only torchvision;
- the top-level package `tools` is left out;
- that distribution edits three files: `detectron2/__init__.py` (version string, put back here),
  `detectron2/data/common.py` (a list where Python 3.11 no longer samples from a set) and
  `detectron2/utils/testing.py` (one more test decorator).
"""


class InstallError(RuntimeError):
    """Detectron2 cannot be installed; the message says why and what to do."""


def build_wheel(carrier: Path, folder: Path) -> Path:
    """Write the `detectron2` wheel made from the carrier wheel into `folder`.

    Args:
        carrier: the index's wheel, with the sha256 `CARRIER_SHA256`.
        folder: where the new wheel goes; made if it does not exist.

    Returns:
        The new wheel's path; the same carrier gives the same bytes.

    Raises:
        InstallError: the carrier's sha256 differs.
    """
    digest = hashlib.sha256(carrier.read_bytes()).hexdigest()
    if digest != CARRIER_SHA256:
        raise InstallError(
            f"{carrier}: sha256 is {digest}, expected {CARRIER_SHA256}; delete it and try again, "
            "or use --git URL with an upstream repository that you can reach"
        )
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"detectron2-{VERSION}-py3-none-any.whl"
    partial = target.with_suffix(".part")
    record = ""
    with zipfile.ZipFile(carrier) as source, zipfile.ZipFile(partial, "w") as wheel:
        for name, content in _members(source).items():
            _add(wheel, name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            record += f"{name},sha256={digest.decode()},{len(content)}\n"
        _add(wheel, f"{_DIST_INFO}/RECORD", f"{record}{_DIST_INFO}/RECORD,,\n".encode())
    return partial.replace(target)


def _members(source: zipfile.ZipFile) -> dict[str, bytes]:
    members = {
        name: source.read(name)
        for name in source.namelist()
        if name.startswith("detectron2/") and not name.startswith("detectron2/_C.")
    }
    init = members["detectron2/__init__.py"]
    members["detectron2/__init__.py"] = init.replace(
        f'__version__ = "{CARRIER_VERSION}"'.encode(),
        f'__version__ = "{UPSTREAM_VERSION}"'.encode(),
    )
    licence = next(n for n in source.namelist() if n.endswith(".dist-info/LICENSE"))
    members[f"{_DIST_INFO}/LICENSE"] = source.read(licence)
    members[f"{_DIST_INFO}/METADATA"] = _METADATA.encode()
    members[f"{_DIST_INFO}/WHEEL"] = _WHEEL_FILE.encode()
    members[f"{_DIST_INFO}/top_level.txt"] = b"detectron2\n"
    return members


def _add(wheel: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o644 << 16
    wheel.writestr(info, content, zipfile.ZIP_DEFLATED)


def download_carrier(folder: Path) -> Path:
    """Download the carrier wheel with pip into `folder` and return its path."""
    # It names Python 3.10 in its tag, so pip has to be told that this is what we want.
    foreign = ["--only-binary=:all:", "--implementation=cp", "--python-version=3.10"]
    foreign += ["--abi=none", "--platform=any"]
    _pip("download", "--quiet", "--no-deps", *foreign, f"--dest={folder}", CARRIER)
    return next(folder.glob("*.whl"))


def _pip(*args: str) -> None:
    if subprocess.run([sys.executable, "-m", "pip", *args]).returncode != 0:
        raise InstallError(
            f"`{sys.executable} -m pip {args[0]}` failed, its own words are above; if it says that "
            f"there is no pip, run `{sys.executable} -m ensurepip`"
        )


def _git_requirement(url: str) -> str:
    url = url if url.startswith("git+") else f"git+{url}"
    return url if "@" in url.rsplit("/", 1)[-1] else f"{url}@{UPSTREAM_COMMIT}"


def _install(git: str | None, constraints: list[str]) -> None:
    if git:
        if not location("torch"):
            raise InstallError("Detectron2 is compiled against torch: install torch first")
        _pip("install", *constraints, "setuptools<81")
        _pip("install", *constraints, "--no-build-isolation", _git_requirement(git))
        return
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(download_carrier(Path(folder)), Path(folder, "built"))
        _pip("install", "--quiet", *constraints, str(wheel))


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, install what is missing, and return the exit status."""
    parser = argparse.ArgumentParser(
        description="Install Detectron2, and OpenCV and pysodmetrics where there are none. "
        "An importable Detectron2 or OpenCV is left untouched."
    )
    parser.add_argument("--git", metavar="URL", help="compile upstream's repository instead")
    parser.add_argument("--wheel-dir", metavar="DIR", type=Path, help="only write the wheel there")
    parser.add_argument("--constraint", "-c", metavar="FILE", help="pip constraints file")
    args = parser.parse_args(argv)
    constraints = ["-c", args.constraint] if args.constraint else []
    try:
        if args.wheel_dir:
            with tempfile.TemporaryDirectory() as folder:
                print(build_wheel(download_carrier(Path(folder)), args.wheel_dir))
            return 0
        if place := location("detectron2"):
            print(f"Detectron2 is importable from {Path(place).parent}: left untouched.")
        else:
            _install(args.git, constraints)
            print("Detectron2 is installed.")
        if not location("cv2"):
            _pip("install", "--quiet", *constraints, "opencv-python-headless")
            print("opencv-python-headless is installed.")
        if not location("py_sod_metrics"):
            # It asks for opencv-python-headless and an older numpy, over what is there.
            _pip("install", "--quiet", *constraints, *MEASURES_NEED)
            _pip("install", "--quiet", *constraints, "--no-deps", "pysodmetrics")
            print("pysodmetrics is installed.")
    except InstallError as error:
        print(f"install_detectron2: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
