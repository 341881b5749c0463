"""A tiny FG-Net and a tiny student, for the tests of this folder."""

import pytest

import fgnet_jax
from fgnet_jax import aus

AUS = aus.CORPUS_AUS["disfa"]


@pytest.fixture(scope="session")
def detector(directory):
    """Return the detector that exports are compared with."""
    return fgnet_jax.Detector.load(directory, batch_size=3)
