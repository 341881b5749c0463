"""Miniature corpora, and the datasets that the command makes of them, once for all tests."""

import pytest

from fgnet_jax.prepare import __main__ as prepare
from tests import miniature
from tests.prepare.corpora import arguments


@pytest.fixture(scope="session")
def owners(tmp_path_factory):
    """Make both miniatures; returns them by corpus."""
    root = tmp_path_factory.mktemp("owners")
    return {"disfa": miniature.disfa(root), "bp4d": miniature.bp4d(root)}


@pytest.fixture(scope="session")
def prepared(owners, tmp_path_factory):
    """Prepare both miniatures; returns the folder of the datasets."""
    data = tmp_path_factory.mktemp("data")
    for corpus, mini in owners.items():
        assert prepare.main([corpus, *arguments(mini, data)]) == 0
    return data
