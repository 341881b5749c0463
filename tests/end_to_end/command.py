"""The training command in a separate process, and the contents of its workdir."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from fgnet_jax.models import weights
from tests import compiling

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Command:
    """Starts training: the tiny configuration, with faces and compiled programs that all tests share.

    Attributes:
      shared: Folder of the faces and of JAX's compilation cache.
    """

    shared: Path

    def words(self, workdir: Path, *more: str, config: str = "configs/tiny.py") -> list[str]:
        """Return the command line."""
        words = [sys.executable, "-m", "fgnet_jax.train", "--config", config, "--workdir", str(workdir)]
        return [*words, f"--config.data.dir={self.shared / 'data'}", *more]

    def environment(self, devices: int = 1) -> dict[str, str]:
        """Return the environment: fast compilation, cached programs, and so many CPU devices."""
        flags = f"{compiling.cheaply()} --xla_force_host_platform_device_count={devices}"
        cache = {"JAX_COMPILATION_CACHE_DIR": str(self.shared / "cache")}
        cache |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0"}
        fixed = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
        return os.environ | cache | fixed

    def start(
        self, workdir: Path, *words: str, devices: int = 1, config: str = "configs/tiny.py", more: dict | None = None
    ) -> subprocess.Popen:
        """Start the command, with more environment; standard output and error are one pipe."""
        environment = self.environment(devices) | (more or {})
        options: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}
        return subprocess.Popen(self.words(workdir, *words, config=config), env=environment, **options)

    def __call__(self, workdir: Path, *more: str, devices: int = 1, config: str = "configs/tiny.py", status: int = 0):
        """Run the command, which must end with this exit status, and return its output."""
        process = self.start(workdir, *more, devices=devices, config=config)
        output, _ = process.communicate()
        assert process.returncode == status, f"exit status {process.returncode}\n{output}"
        assert status == 0 or "Traceback" not in output, output
        return output


@pytest.fixture(scope="session")
def train(tmp_path_factory) -> Command:
    """Return the command; several workers of pytest-xdist share faces and compiled programs, too."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    (shared / "data").mkdir(exist_ok=True)
    return Command(shared)


def metrics(workdir: Path) -> list[dict]:
    """Read the lines of metrics.jsonl, without their times."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "time"} for line in lines]


def losses(workdir: Path) -> list[float]:
    """Read the loss of every step."""
    return [line["loss"] for line in metrics(workdir) if "loss" in line]


def f1(workdir: Path) -> dict[str, float]:
    """Read F1 by AU from results.json."""
    return json.loads((workdir / "results.json").read_text())["f1"]


def best(workdir: Path) -> dict[str, np.ndarray]:
    """Load the best epoch's variables, by group and path."""
    return weights_arrays(workdir / "best")


def weights_arrays(directory: Path) -> dict[str, np.ndarray]:
    """Load the variables of a weights directory, by group and path."""
    _, variables, _ = weights.load(directory)
    return {f"{g}/{path}": np.asarray(x) for g, group in weights.groups(variables).items() for path, x in group.items()}


def saved_steps(workdir: Path) -> list[int]:
    """Return the steps that have a complete checkpoint."""
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


def last(workdir: Path) -> dict[str, np.ndarray]:
    """Load every array of the last checkpoint, by its name in it."""
    path = workdir / "checkpoints" / str(saved_steps(workdir)[-1]) / "state"
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        names = checkpointer.metadata(path).item_metadata.tree
        options = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
        return checkpointer.restore(path, args=ocp.args.PyTreeRestore(restore_args=options))


def assert_same_bits(arrays: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Check that arrays are the same to the last bit."""
    assert arrays.keys() == other.keys() and arrays
    different = [name for name, x in arrays.items() if x.tobytes() != other[name].tobytes()]
    assert not different
