"""A tiny network with random weights, for all tests of this folder."""

from pathlib import Path

import pytest

import fgnet_jax


@pytest.fixture(scope="session")
def detector(directory: Path) -> fgnet_jax.Detector:
    """Return its detector, with batches of two."""
    return fgnet_jax.Detector.load(directory, batch_size=2)
