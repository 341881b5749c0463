"""The training command, for all tests of this folder."""

from tests.end_to_end.command import train  # noqa: F401  # a fixture
