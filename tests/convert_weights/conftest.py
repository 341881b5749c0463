"""The tiny file set, written once."""

import pytest

from tests.convert_weights import fileset


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """The files that people have, at the tiny size."""
    return fileset.make(tmp_path_factory.mktemp("files"))
