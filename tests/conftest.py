"""What holds for all tests: programs are compiled once for the whole run, cheaply where speed of the result does not
matter, and Ctrl-C works."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from fgnet_jax.app import private_folder
from tests import compiling

CACHE = "JAX_COMPILATION_CACHE_DIR"
_folder = contextlib.ExitStack()  # of this process: neither of a caller, nor of the process that started this worker


def pytest_configure(config: pytest.Config) -> None:
    """Compile tiny networks cheaply; runs of full-size tests are optimised."""
    if "full_size" not in config.option.markexpr.replace("not full_size", ""):
        os.environ.setdefault("XLA_FLAGS", compiling.cheaply())
    if CACHE not in os.environ:
        # Workers and the commands that tests start inherit it, so that each program is compiled by one of them alone.
        os.environ[CACHE] = str(_folder.enter_context(private_folder.private_folder("fgnet_jax_compiled_")))
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background; the commands would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # as `timeout` ends a run: with fixtures torn down, too
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with files of slow tests: at the end, one of them would keep one worker busy while the others have none."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_unconfigure() -> None:
    """Remove the compiled programs; those of a run that was killed are removed when the next one begins."""
    _folder.close()


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a weights directory of a tiny network for DISFA's AUs."""
    # Here: a conftest of everything should not load JAX for tests that do without.
    from fgnet_jax.aus import CORPUS_AUS
    from fgnet_jax.models import fgnet, weights
    from fgnet_jax.models.config import TINY

    path = tmp_path_factory.mktemp("weights") / "tiny"
    weights.save(path, TINY, fgnet.init(TINY), weights.WeightsMeta(aus=CORPUS_AUS["disfa"], corpus="disfa"))
    return path
