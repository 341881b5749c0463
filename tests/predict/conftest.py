"""A tiny network with random weights, for all tests of this folder."""

from pathlib import Path

import pytest

import fgnet_jax
from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a weights directory of a tiny network for DISFA's AUs."""
    path = tmp_path_factory.mktemp("weights") / "tiny"
    meta = weights.WeightsMeta(model={}, aus=CORPUS_AUS["disfa"], corpus="disfa")
    weights.save(path, TINY, fgnet.init(TINY), meta)
    return path


@pytest.fixture(scope="session")
def detector(directory: Path) -> fgnet_jax.Detector:
    """Return its detector, with batches of two."""
    return fgnet_jax.Detector.load(directory, batch_size=2)
