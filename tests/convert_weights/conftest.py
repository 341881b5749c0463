"""The tiny set of published files, written once."""

import pytest

from tests.convert_weights import fileset


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Write the published files at the tiny size."""
    return fileset.make(tmp_path_factory.mktemp("files"))
