"""Sound splits of drawn scenes, and copies of them to change."""

import shutil

import pytest
from check_data import read

from cosal_d2.prepare.synthetic import DatasetSpec, SceneOptions, write_dataset

OPTIONS = SceneOptions(size=(72, 96))


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Folder with two sound splits."""
    root = tmp_path_factory.mktemp("clean")
    write_dataset(DatasetSpec(root, "train", 30, seed=1, options=OPTIONS), workers=1)
    write_dataset(DatasetSpec(root, "val", 4, seed=2, options=OPTIONS), workers=1)
    return root / "cosal"


@pytest.fixture
def home(clean, tmp_path):
    """A copy of them to change."""
    return shutil.copytree(clean, tmp_path / "root" / "cosal")


@pytest.fixture
def content(clean):
    """The json of the smaller split."""
    return read(clean / "val.json")
