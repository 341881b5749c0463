"""The prediction command in a separate process, a tiny network for it, and a real photograph as image and video."""

import csv
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from fgnet_jax import aus
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from tests import compiling
from tests.end_to_end.command import ROOT

AUS = aus.CORPUS_AUS["disfa"]


@dataclasses.dataclass(frozen=True)
class Predict:
    """Starts prediction: tiny weights and compiled programs that all tests share.

    Attributes:
      weights: The weights directory.
      cache: Folder of compiled programs.
      optimised: Whether compiled programs are fast, instead of compilation.
    """

    weights: Path
    cache: Path
    optimised: bool = False

    def start(self, *words: object, devices: int = 1, **options) -> subprocess.Popen:
        """Start the command."""
        flags = "" if self.optimised else compiling.cheaply()
        flags += f" --xla_force_host_platform_device_count={devices}"
        environment = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
        environment |= {"JAX_COMPILATION_CACHE_DIR": str(self.cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        command = [sys.executable, "-m", "fgnet_jax.predict", "--weights", str(self.weights), *map(str, words)]
        pipes: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=os.environ | environment, **(pipes | options))

    def __call__(self, *words: object, status: int = 0, devices: int = 1, **options) -> str:
        """Run the command, which must end with this exit status, and return its standard error."""
        process = self.start(*words, devices=devices, **options)
        _, errors = process.communicate()
        assert process.returncode == status, f"exit status {process.returncode}\n{errors}"
        assert "Traceback" not in errors, errors
        return errors


def rows(path: Path) -> list[dict[str, str]]:
    """Read a table."""
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def astronaut(scale: float = 1.0) -> np.ndarray:
    """Return scikit-image's photograph of Eileen Collins, 512 pixels wide times `scale`."""
    image = Image.fromarray(skimage.data.astronaut())
    side = round(512 * scale)
    return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))


def moving(count: int, size: tuple[int, int] = (320, 240)) -> list[np.ndarray]:
    """Return frames that move over the photograph; in the beginning of the second half her face is not in them."""
    image = Image.fromarray(astronaut())
    frames = []
    for k in range(count):
        is_away = count // 2 <= k < count // 2 + count // 8
        left, top = (190, 270) if is_away else (60 + 20 * np.sin(k / 9), 5 + 5 * np.cos(k / 7))
        frames.append(np.asarray(image.transform(size, Image.Transform.AFFINE, (1, 0, left, 0, 1, top))))
    return frames


@pytest.fixture(scope="session")
def predict(tmp_path_factory) -> Predict:
    """Return the command."""
    base = tmp_path_factory.mktemp("predict")
    meta = weights.WeightsMeta(model={}, aus=AUS, corpus="disfa")
    weights.save(base / "tiny", TINY, fgnet.init(TINY), meta)
    return Predict(base / "tiny", base / "cache")
