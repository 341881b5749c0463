"""A prepared corpus of six faces, and copies of it for tests that change its files."""

import shutil
from pathlib import Path

import pytest

from fgnet_jax.data.synthetic.builders import prepare_synthetic


@pytest.fixture(scope="session")
def six_faces(tmp_path_factory):
    """Prepare a corpus of two faces a fold; returns its folder, which stays as it is."""
    data = tmp_path_factory.mktemp("data")
    return Path(prepare_synthetic("synthetic_disfa", data, frames=6).data_path)


@pytest.fixture
def folder(six_faces, tmp_path):
    """Return the folder of a copy."""
    return Path(shutil.copytree(six_faces, tmp_path / six_faces.name))
