"""What holds for all tests: compilation is cheap where speed of the result does not matter."""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Compiles tiny networks without optimisation, in half the time; runs of full-size tests keep it."""
    if "full_size" not in config.option.markexpr.replace("not full_size", ""):
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
