"""Packaging of cosal_d2; torch and Detectron2 are the user's to choose, see INSTALL.md."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "cosal_d2/__init__.py").read_text()).group(1)
# Later ones have another name for how often a worker tries a task (cosal_d2/inference/bulk/run.py).
RAY = "ray[data]>=2.50,<2.64"

setup(
    name="cosal_d2",
    version=VERSION,
    description="Co-saliency detection within one single image, as a Detectron2 extension",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=[*find_packages(include=["cosal_d2", "cosal_d2.*"]), "cosal_d2.configs"],
    package_dir={"cosal_d2.configs": "configs"},
    package_data={
        "cosal_d2": ["released/*.safetensors", "released/*.json"],
        "cosal_d2.configs": ["**/*.yaml"],
        "cosal_d2.evaluation.report": ["*.html", "*.css", "*.js"],
    },
    python_requires=">=3.10",
    install_requires=[
        *("h5py", "imagehash", "jinja2", "numpy", "pillow", "protobuf>=4.22", "safetensors"),
        *("shapely", "tqdm"),
    ],
    extras_require={
        "heic": ["pillow-heif"],
        "opencv": ["opencv-python-headless"],
        "measures": ["pysodmetrics"],
        "methods": ["scikit-image<0.26"],
        "web": ["gradio>=6,<7"],
        "onnx": ["onnxruntime", "opencv-python-headless", "pycocotools", "scipy"],
        "export": ["onnx", "onnxruntime", "onnxscript"],
        "ray": [RAY],
        "test": [
            RAY,
            *("gradio>=6,<7", "hypothesis", "onnx", "onnxruntime", "onnxscript", "playwright"),
            *("pysodmetrics", "pytest", "pytest-timeout", "pytest-xdist", "scikit-image<0.26"),
        ],
        "lint": ["import-linter", "ruff"],
    },
    entry_points={"console_scripts": ["cosal = cosal_d2.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
