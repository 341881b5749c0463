"""A tiny FG-Net and a tiny student, for the tests of this folder."""

import pytest

import fgnet_jax
from fgnet_jax import aus
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY

AUS = aus.CORPUS_AUS["disfa"]


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    """Return a weights directory of a tiny network."""
    path = tmp_path_factory.mktemp("weights") / "tiny"
    weights.save(path, TINY, fgnet.init(TINY), weights.WeightsMeta(aus=AUS, corpus="disfa"))
    return path


@pytest.fixture(scope="session")
def detector(directory):
    """Return the detector that exports are compared with."""
    return fgnet_jax.Detector.load(directory, batch_size=3)
