"""The set of published files for the tiny network, with random weights under the published names."""

import dataclasses
from pathlib import Path

import numpy as np

from convert_weights import rules
from convert_weights.sources import FGNET_PARTS
from fgnet_jax.models.config import TINY
from tests.convert_weights import writers

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class FileSet:
    """Files and their contents.

    Attributes:
      directory: Folder of generator.pt, encoder.pt, model.pth.
      states: State dicts by FG-Net's names for them, extras included.
      latent_avg: (num_styles, style_dim).
    """

    directory: Path
    states: dict[str, Arrays]
    latent_avg: np.ndarray

    @property
    def generator(self) -> Path:
        """Return the path of rosinality's file."""
        return self.directory / "generator.pt"

    @property
    def encoder(self) -> Path:
        """Return the path of pSp's file."""
        return self.directory / "encoder.pt"

    @property
    def model(self) -> Path:
        """Return the path of FG-Net's file."""
        return self.directory / "model.pth"


def make(directory: Path) -> FileSet:
    """Write the set."""
    shapes = writers.shapes_of(TINY)
    states = {part: state(part, shapes, seed) for seed, part in enumerate(FGNET_PARTS)}
    average = np.random.default_rng(9).standard_normal((TINY.num_styles, TINY.style_dim)).astype(np.float32)
    files = FileSet(directory=directory, states=states, latent_avg=average)
    writers.save_zip(files.model, states)
    writers.save_zip(files.generator, {"g_ema": states["g_all"], "latent_avg": average[0]})
    writers.save_zip(files.encoder, psp(states, average))
    return files


def psp(states: dict[str, Arrays], average: np.ndarray) -> dict:
    """Return the contents of pSp's file."""
    state = {f"encoder.{name}": value for name, value in states["pspencoder"].items()}
    state |= {f"decoder.{name}": value for name, value in states["g_all"].items()}
    return {"state_dict": state, "latent_avg": average, "opts": {"start_from_latent_avg": True, "lr": 0.0001}}


def state(part: str, shapes: dict, seed: int) -> Arrays:
    """Return one of the state dicts, with random weights."""
    table = FGNET_PARTS[part](TINY)
    fixed = rules.counters(table) + (rules.generator_fixed(TINY) if part == "g_all" else ())
    return writers.arrays_for(table, shapes, seed) | {name: value() for name, value in fixed}
