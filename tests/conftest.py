"""What holds for all tests: programs are compiled once for the whole run, cheaply where speed of the result does not
matter, and Ctrl-C works."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

CACHE = "JAX_COMPILATION_CACHE_DIR"
_created_folders: list[Path] = []  # by this process: neither by a caller, nor by the process that started this worker


def pytest_configure(config: pytest.Config) -> None:
    """Compile tiny networks without optimisation, in half the time; runs of full-size tests keep it."""
    if "full_size" not in config.option.markexpr.replace("not full_size", ""):
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    if CACHE not in os.environ:
        # Workers and the commands that tests start inherit it, so that each program is compiled by one of them alone.
        _created_folders.append(Path(tempfile.mkdtemp(prefix="fgnet_jax_tests_")))
        os.environ[CACHE] = str(_created_folders[0])
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background; the commands would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure() -> None:
    """Remove the compiled programs."""
    for folder in _created_folders:
        shutil.rmtree(folder, ignore_errors=True)
