"""."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

from fgnet_jax.data.corpus import Corpus
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.runtime import sharding


class EvaluationError(ValueError):
    """An evaluation that cannot be carried out; the message says what was found and what was expected."""


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
    """Weights under test, not loaded yet.

    Attributes:
      name: What reports call them: the run's folder.
      weights: Their directory.
      meta: What they say of themselves.
      config: The run's configuration (config.json), or None.
      fold: The fold that was left out of training, or None where nobody says.
    """

    name: str
    weights: Path
    meta: WeightsMeta
    config: dict[str, Any] | None
    fold: int | None

    @property
    def selection(self) -> str:
        """The rule by which the weights were chosen, in words."""
        return self.meta.extra.get("selection", "not said by the weights")

    @property
    def trained_on(self) -> dict[str, Any]:
        """What training wrote about its faces; empty for converted weights."""
        return self.meta.extra.get("trained_on", {})


@dataclasses.dataclass(frozen=True)
class LoadedNetwork:
    """Loaded weights: on the devices, with the SHA-256 of their values."""

    config: ModelConfig
    variables: fgnet.Variables
    checksum: str


def open_run(path: str | Path, trained_fold: int | None = None) -> EvaluatedRun:
    """A weights directory, or the workdir of a run, of which the best epoch is taken.

    Raises:
      WeightsError: where there is neither, or the weights know no AU.
    """
    path = Path(path)
    directory = path / "best" if (path / "best").is_dir() else path
    meta = weights.load_meta(directory)
    if not meta.aus:
        raise weights.WeightsError(f"{directory}: these weights know no AU: they are a start for training")
    file = directory.parent / "config.json"
    config = json.loads(file.read_text()) if directory.name == "best" and file.exists() else None
    name = directory.resolve().parent.name if directory.name == "best" else directory.resolve().name
    return EvaluatedRun(name, directory, meta, config, meta.extra.get("trained_on", {}).get("fold", trained_fold))


@functools.lru_cache(maxsize=1)  # the published network takes 1.3 GB
def _load(directory: Path, written: float) -> LoadedNetwork:
    del written  # makes a run that has gone on since another one
    config, variables, _ = weights.load(directory)
    digest = weights.checksum(variables)
    layout = sharding.create()
    return LoadedNetwork(config, sharding.place(variables, layout.of(variables)), digest)


def load(run: EvaluatedRun) -> LoadedNetwork:
    """The run's network on the devices; the last one is kept."""
    return _load(run.weights, _written(run))


@functools.lru_cache(maxsize=256)
def _checksum(directory: Path, written: float) -> str:
    return _load(directory, written).checksum


def checksum(run: EvaluatedRun) -> str:
    """SHA-256 of the values of a run's weights; they are read for it once."""
    return _checksum(run.weights, _written(run))


def _written(run: EvaluatedRun) -> float:
    return (run.weights / "meta").stat().st_mtime


def shared_aus(run: EvaluatedRun, corpus: Corpus) -> tuple[int, ...]:
    """The AUs that a network and a corpus both have, in the network's order.

    Raises:
      EvaluationError: where there are none.
    """
    both = tuple(au for au in run.meta.aus if au in corpus.aus)
    if not both:
        theirs = ", ".join(map(str, corpus.aus))
        raise EvaluationError(f"{run.name} and {corpus.name} have no AU in common: {run.meta.aus} and {theirs}")
    return both


def describe(run: EvaluatedRun) -> dict[str, Any]:
    """Where figures come from, for JSON: weights with their checksum, configuration, selection rule."""
    return {
        "run": run.name,
        "weights": str(run.weights),
        "weights_sha256": checksum(run),
        "sources": list(run.meta.sources),
        "model": run.meta.model,
        "configuration": run.config,
        "selection": run.selection,
        "step": run.meta.extra.get("step"),
        "trained_on": run.trained_on or {"corpus": run.meta.corpus, "fold": run.fold, "said_by": "--trained_fold"},
        "left_out_fold": run.fold,
    }
