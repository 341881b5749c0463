"""What holds for all tests: compilation is cheap where speed of the result does not matter, and Ctrl-C works."""

import os
import signal

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Compiles tiny networks without optimisation, in half the time; runs of full-size tests keep it."""
    if "full_size" not in config.option.markexpr.replace("not full_size", ""):
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background; the commands would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
