"""Networks to evaluate: opening a run's weights, loading them onto the devices, and describing where they come from.

`open_run` reads the weights' metadata alone; `load` reads the weights themselves, and remembers the last network.
"""

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fgnet_jax.data.corpus import Corpus
from fgnet_jax.data.folds import base_name
from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.models import fgnet, lineage, weights
from fgnet_jax.models.config import NetworkConfig
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.runtime import sharding
from fgnet_jax.train import ancestry, workdirs

FITTED_ON_UNKNOWN = "fitted on subjects that their file does not name"
"""End of the description of thresholds whose file does not say on whom they were fitted."""


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
      recorded_sha256: SHA-256 of the weights' values as an earlier evaluation recorded it, for predictions that are
        read without the weights; "" to compute it from them.
      trained_fold: The fold that the user says was left out by those steps of the lineage that do not record it
        (`--trained_fold`). Never `fold`, which is of the last step alone.
    """

    name: str
    weights: Path
    meta: WeightsMeta
    config: dict[str, Any] | None
    fold: int | None
    recorded_sha256: str = ""
    trained_fold: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them, without the checksum."""
        fields = {"name": self.name, "weights": str(self.weights), "config": self.config, "fold": self.fold}
        fields |= {"trained_fold": self.trained_fold}
        return json.loads(json.dumps(fields)) | {"meta": self.meta.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], weights_sha256: str) -> "EvaluatedRun":
        """Create a run from what `to_dict` returned; its weights need not exist."""
        fields = {key: values[key] for key in ("name", "config", "fold")}
        fields |= {"trained_fold": values.get("trained_fold")}
        meta, directory = WeightsMeta.from_dict(values["meta"]), Path(values["weights"])
        return cls(meta=meta, weights=directory, recorded_sha256=weights_sha256, **fields)

    @property
    def selection(self) -> str:
        """The rule by which the weights were selected, in words."""
        return self.meta.extra.get("selection", "not said by the weights")

    @property
    def seed(self) -> int:
        """The run's seed; 0 where that is not known."""
        return int((self.config or {}).get("seed", 0))

    @property
    def trained_on(self) -> dict[str, Any]:
        """The training data, as training recorded it; empty for converted weights."""
        return self.meta.extra.get("trained_on", {})


@dataclasses.dataclass(frozen=True)
class LoadedNetwork:
    """A network whose weights are on the devices, with the SHA-256 of their values."""

    config: NetworkConfig
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
    meta = ancestry.load_meta(directory)
    if not meta.aus:
        raise weights.WeightsError(f"{directory}: these weights have no AUs: they are initial weights for training")
    is_best = directory.name == "best"
    return EvaluatedRun(
        name=directory.resolve().parent.name if is_best else directory.resolve().name,
        weights=directory,
        meta=meta,
        config=workdirs.read_json(directory.parent / workdirs.CONFIG) if is_best else None,
        fold=meta.extra.get("trained_on", {}).get("fold", trained_fold),
        trained_fold=trained_fold,
    )


def load(run: EvaluatedRun) -> LoadedNetwork:
    """Load a run's network onto the devices; the last one is remembered."""
    return _load(run.weights, _modified(run))


def checksum(run: EvaluatedRun) -> str:
    """Return the SHA-256 of the values of a run's weights; they are read once for it."""
    return run.recorded_sha256 or _checksum(run.weights, _modified(run))


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


def _recorded_pairs(
    run: EvaluatedRun, corpora: Sequence[CorpusIdentity]
) -> Iterator[tuple[CorpusIdentity, Mapping[str, Any]]]:
    """Yield each corpus with every record that the weights have of a corpus of its name."""
    for identity in corpora:
        for recorded in run.meta.extra.get("corpora", ()):
            if base_name(str(recorded.get("name"))) == base_name(identity.name):
                yield identity, recorded


def _without_version(name: str) -> str:
    return name.rpartition("/")[0]


def check_corpora(run: EvaluatedRun, corpus: Corpus) -> None:
    """Refuse a corpus that a network was trained with, and that was prepared anew since: its labels may be others.

    Corpora that the weights do not record, and other configurations of one (`disfa/right` for `disfa/left`), pass.

    Raises:
      EvaluationError: The corpus has another fingerprint; the message says what differs.
    """
    for identity, recorded in _recorded_pairs(run, corpus.identities):
        differences = identity.differences(recorded)
        if differences and _without_version(identity.name) == _without_version(recorded["name"]):
            shown = "; ".join(line for line in differences if not line.startswith("fingerprint:"))
            raise EvaluationError(
                f"{identity.name} was prepared anew since {run.name} was trained with it (fingerprint "
                f"{recorded.get('fingerprint')} then, {identity.fingerprint} now): {shown}. "
                "Prepare it as it was, or train anew"
            )


def other_preparations(run: EvaluatedRun, corpora: Sequence[CorpusIdentity]) -> list[str]:
    """List the corpora that a network was trained with in another configuration or preparation, a text each."""
    return [
        f"{run.name} was trained with {recorded['name']}, fingerprint {recorded.get('fingerprint')}, "
        f"and tested on {identity.name}, fingerprint {identity.fingerprint}"
        for identity, recorded in _recorded_pairs(run, corpora)
        if identity.differences(recorded)
    ]


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
        "lineage": [link.to_dict() for link in lineage.links(run.meta)],
    }
