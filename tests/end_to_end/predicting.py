"""The prediction command in a process of its own, a tiny network for it, and a real photograph as image and video."""

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
from tests.end_to_end.command import ROOT

AUS = aus.CORPUS_AUS["disfa"]


@dataclasses.dataclass(frozen=True)
class Predict:
    """How prediction is started: tiny weights and compiled programs that all tests share.

    Attributes:
      weights: The weights directory.
      cache: Folder of compiled programs.
      optimised: Whether programs are to be fast, rather than compiled fast.
    """

    weights: Path
    cache: Path
    optimised: bool = False

    def start(self, *words: object, devices: int = 1, **options) -> subprocess.Popen:
        """Starts it."""
        flags = "" if self.optimised else "--xla_backend_optimization_level=0 "
        flags += f"--xla_force_host_platform_device_count={devices}"
        ours = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
        ours |= {"JAX_COMPILATION_CACHE_DIR": str(self.cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        command = [sys.executable, "-m", "fgnet_jax.predict", "--weights", str(self.weights), *map(str, words)]
        pipes: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=os.environ | ours, **(pipes | options))

    def __call__(self, *words: object, status: int = 0, devices: int = 1, **options) -> str:
        """Runs it to its end, which must have this exit status; returns what it said on standard error."""
        process = self.start(*words, devices=devices, **options)
        _, said = process.communicate()
        assert process.returncode == status, f"exit status {process.returncode}\n{said}"
        assert "Traceback" not in said, said
        return said


def rows(path: Path) -> list[dict[str, str]]:
    """A table."""
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def astronaut(scale: float = 1.0) -> np.ndarray:
    """Scikit-image's photograph of Eileen Collins, 512 pixels wide or so many times as large."""
    image = Image.fromarray(skimage.data.astronaut())
    side = round(512 * scale)
    return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))


def moving(count: int, size: tuple[int, int] = (320, 240)) -> list[np.ndarray]:
    """Her face, in frames that move over the photograph; in the third quarter she is out of sight."""
    image = Image.fromarray(astronaut())
    frames = []
    for k in range(count):
        away = count // 2 <= k < count // 2 + count // 8
        left, top = (190, 270) if away else (60 + 20 * np.sin(k / 9), 5 + 5 * np.cos(k / 7))
        frames.append(np.asarray(image.transform(size, Image.Transform.AFFINE, (1, 0, left, 0, 1, top))))
    return frames


@pytest.fixture(scope="session")
def predict(tmp_path_factory) -> Predict:
    """The command."""
    base = tmp_path_factory.mktemp("predict")
    meta = weights.WeightsMeta(model={}, aus=AUS, corpus="disfa")
    weights.save(base / "tiny", TINY, fgnet.init(TINY), meta)
    return Predict(base / "tiny", base / "cache")
