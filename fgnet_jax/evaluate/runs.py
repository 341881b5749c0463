"""Networks to evaluate: opening a run's weights, loading them onto the devices, and describing where they come from.

`open_run` reads the weights' metadata alone; `load` reads the weights themselves, and remembers the last network.
"""

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
    """An evaluation that cannot be carried out; the message gives the actual and the expected values."""


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
    """Weights to evaluate, not loaded yet.

    Attributes:
      name: Their name in reports: that of the run's folder.
      weights: Their directory.
      meta: Their metadata.
      config: The run's configuration (config.json), or None.
      fold: The fold that was left out of training, or None where it is not known.
    """

    name: str
    weights: Path
    meta: WeightsMeta
    config: dict[str, Any] | None
    fold: int | None

    @property
    def selection(self) -> str:
        """The rule by which the weights were selected, in words."""
        return self.meta.extra.get("selection", "not said by the weights")

    @property
    def trained_on(self) -> dict[str, Any]:
        """The training data, as training recorded it; empty for converted weights."""
        return self.meta.extra.get("trained_on", {})


@dataclasses.dataclass(frozen=True)
class LoadedNetwork:
    """A network whose weights are on the devices, with the SHA-256 of their values."""

    config: ModelConfig
    variables: fgnet.Variables
    checksum: str


def open_run(path: str | Path, trained_fold: int | None = None) -> EvaluatedRun:
    """Open a weights directory, or the workdir of a run, of which the best epoch is taken.

    Args:
      path: The directory.
      trained_fold: The fold that was left out of training, for weights whose metadata do not have it.

    Raises:
      WeightsError: The directory is neither of the two, or the weights have no AUs.
    """
    path = Path(path)
    directory = path / "best" if (path / "best").is_dir() else path
    meta = weights.load_meta(directory)
    if not meta.aus:
        raise weights.WeightsError(f"{directory}: these weights have no AUs: they are initial weights for training")
    is_best = directory.name == "best"
    config_file = directory.parent / "config.json"
    return EvaluatedRun(
        name=directory.resolve().parent.name if is_best else directory.resolve().name,
        weights=directory,
        meta=meta,
        config=json.loads(config_file.read_text()) if is_best and config_file.exists() else None,
        fold=meta.extra.get("trained_on", {}).get("fold", trained_fold),
    )


def load(run: EvaluatedRun) -> LoadedNetwork:
    """Load a run's network onto the devices; the last one is remembered."""
    return _load(run.weights, _modified(run))


def checksum(run: EvaluatedRun) -> str:
    """Return the SHA-256 of the values of a run's weights; they are read once for it."""
    return _checksum(run.weights, _modified(run))


@functools.lru_cache(maxsize=1)  # the published network takes 1.3 GB
def _load(directory: Path, modified: float) -> LoadedNetwork:
    del modified  # part of the cache's key: a run that has been resumed since then has other weights
    config, variables, _ = weights.load(directory)
    layout = sharding.create()
    return LoadedNetwork(
        config=config,
        checksum=weights.checksum(variables),
        variables=sharding.place(variables, layout.of(variables)),
    )


@functools.lru_cache(maxsize=256)
def _checksum(directory: Path, modified: float) -> str:
    return _load(directory, modified).checksum


def _modified(run: EvaluatedRun) -> float:
    return (run.weights / "meta").stat().st_mtime


def shared_aus(run: EvaluatedRun, corpus: Corpus) -> tuple[int, ...]:
    """Return the AUs that a network and a corpus share, in the network's order.

    Raises:
      EvaluationError: They share none.
    """
    shared = tuple(au for au in run.meta.aus if au in corpus.aus)
    if not shared:
        corpus_aus = ", ".join(map(str, corpus.aus))
        raise EvaluationError(f"{run.name} and {corpus.name} have no AU in common: {run.meta.aus} and {corpus_aus}")
    return shared


def describe(run: EvaluatedRun) -> dict[str, Any]:
    """Describe for JSON where metrics come from: the weights with their checksum, configuration, selection rule."""
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
