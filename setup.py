"""Packaging of cosal_d2; torch and Detectron2 are the user's to choose, see INSTALL.md."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "cosal_d2/__init__.py").read_text()).group(1)
README = ROOT / "README.md"


class BuildWithConfigs(build_py):
    """Puts the top-level `configs/` into the built package as `cosal_d2/configs`."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "cosal_d2", "configs")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / "configs", target)


setup(
    name="cosal_d2",
    version=VERSION,
    description="Co-saliency detection within one single image, as a Detectron2 extension",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["cosal_d2", "cosal_d2.*"]),
    package_data={
        "cosal_d2": ["released/*.pth", "released/*.json"],
        "cosal_d2.evaluation.report": ["*.html", "*.css", "*.js"],
    },
    python_requires=">=3.10",
    install_requires=[
        *("h5py", "imagehash", "jinja2", "numpy", "pillow", "protobuf>=4.22", "shapely", "tqdm"),
    ],
    extras_require={
        "opencv": ["opencv-python-headless"],
        "measures": ["pysodmetrics"],
        "test": ["hypothesis", "playwright", "pysodmetrics", "pytest", "pytest-timeout"],
        "lint": ["import-linter", "ruff"],
    },
    entry_points={"console_scripts": ["cosal = cosal_d2.cli:main"]},
    cmdclass={"build_py": BuildWithConfigs},
    classifiers=[
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
