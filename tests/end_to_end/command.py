"""The training command in a process of its own, and what it leaves in its workdir."""

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

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Command:
    """How training is started: the tiny configuration, with faces and compiled programs that all tests share.

    Attributes:
      shared: Folder of the faces and of JAX's compilation cache.
    """

    shared: Path

    def words(self, workdir: Path, *more: str, config: str = "configs/tiny.py") -> list[str]:
        """The command line."""
        words = [sys.executable, "-m", "fgnet_jax.train", "--config", config, "--workdir", str(workdir)]
        return [*words, f"--config.data.dir={self.shared / 'data'}", *more]

    def environment(self, devices: int = 1) -> dict[str, str]:
        """The environment: a quick compiler, its programs kept, and so many CPU devices."""
        flags = f"--xla_backend_optimization_level=0 --xla_force_host_platform_device_count={devices}"
        cache = {"JAX_COMPILATION_CACHE_DIR": str(self.shared / "cache")}
        cache |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0"}
        ours = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
        return os.environ | cache | ours

    def start(
        self, workdir: Path, *words: str, devices: int = 1, config: str = "configs/tiny.py", more: dict | None = None
    ) -> subprocess.Popen:
        """Starts it, with more environment; standard output and error are one pipe."""
        environment = self.environment(devices) | (more or {})
        options: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}
        return subprocess.Popen(self.words(workdir, *words, config=config), env=environment, **options)

    def __call__(self, workdir: Path, *more: str, devices: int = 1, config: str = "configs/tiny.py", status: int = 0):
        """Runs it to its end, which must have this exit status; returns what it said."""
        process = self.start(workdir, *more, devices=devices, config=config)
        said, _ = process.communicate()
        assert process.returncode == status, f"exit status {process.returncode}\n{said}"
        assert status == 0 or "Traceback" not in said, said
        return said


@pytest.fixture(scope="session")
def train(tmp_path_factory) -> Command:
    """The command; several workers of pytest-xdist share faces and compiled programs too."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    (shared / "data").mkdir(exist_ok=True)
    return Command(shared)


def metrics(workdir: Path) -> list[dict]:
    """The lines of metrics.jsonl, without their times."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "time"} for line in lines]


def losses(workdir: Path) -> list[float]:
    """The loss of every step."""
    return [line["loss"] for line in metrics(workdir) if "loss" in line]


def f1(workdir: Path) -> dict[str, float]:
    """F1 by AU, as results.json has it."""
    return json.loads((workdir / "results.json").read_text())["f1"]


def best(workdir: Path) -> dict[str, np.ndarray]:
    """The best epoch's variables, by group and path."""
    _, variables, _ = weights.load(workdir / "best")
    return {f"{g}/{path}": np.asarray(x) for g, group in weights.groups(variables).items() for path, x in group.items()}


def saved_steps(workdir: Path) -> list[int]:
    """Steps whose checkpoint is whole."""
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


def last(workdir: Path) -> dict[str, np.ndarray]:
    """Every array of the last checkpoint, by its name there."""
    path = workdir / "checkpoints" / str(saved_steps(workdir)[-1]) / "state"
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        names = checkpointer.metadata(path).item_metadata.tree
        how = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
        return checkpointer.restore(path, args=ocp.args.PyTreeRestore(restore_args=how))


def assert_same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """The same arrays to the last bit."""
    assert one.keys() == other.keys() and one
    different = [name for name, x in one.items() if x.tobytes() != other[name].tobytes()]
    assert not different
