"""The best evaluations of a run, and the folders of their weights.

WORKDIR/best/            weights of the best evaluation
WORKDIR/best_2/, …       those of the next ones, as many as `train.keep_best` says
WORKDIR/best.step500/    weights on their way to one of these names: of a run that was killed, until it is resumed
"""

import dataclasses
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from fgnet_jax.models import weights
from fgnet_jax.models.config import NetworkConfig
from fgnet_jax.models.fgnet import Variables
from fgnet_jax.models.weights import WeightsMeta

_FOLDER = re.compile(r"best(_\d+|\.step\d+)?")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation is ranked by.

    Attributes:
      value: The metric that epochs are selected by (`train.select_metric`), on the selection set.
      step: Updates of the weights.
    """

    value: float
    step: int


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The best evaluations so far, stored with every checkpoint; one that is evaluated precedes its own evaluation.

    Attributes:
      evaluations: The best one first; of equal ones, the earlier first.
      since: Evaluations since the best.
    """

    evaluations: tuple[Evaluation, ...] = ()
    since: int = 0

    def added(self, new: Evaluation, keep: int) -> "Ranking":
        """Return the ranking with another evaluation, of which the best `keep` are left."""
        others = [old for old in self.evaluations if old.step != new.step]
        ranked = sorted([*others, new], key=lambda evaluation: -evaluation.value)[:keep]
        is_best = ranked[0] is new
        return Ranking(tuple(ranked), 0 if is_best else self.since + 1)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that were evaluated, the best one first."""
        return tuple(evaluation.step for evaluation in self.evaluations)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Ranking":
        """Create a ranking from what `to_dict` returned, or from what earlier versions stored: the best epoch alone."""
        if "evaluations" in values:
            return cls(tuple(Evaluation(**each) for each in values["evaluations"]), values["since"])
        best = Evaluation(values["mean_f1"], values["step"])
        return cls((best,) if best.step else (), values["epochs_since"])


def folder(workdir: Path, rank: int) -> Path:
    """Return the folder of the weights at a rank, from 0."""
    return workdir / ("best" if rank == 0 else f"best_{rank + 1}")


def save(workdir: Path, ranking: Ranking, *, config: NetworkConfig, variables: Variables, meta: WeightsMeta) -> None:
    """Write the weights of an evaluation into its folder; those behind it move on, and the last are removed.

    Every process calls this. After a kill at any moment, the same evaluation is done again, and puts the folders right.

    Args:
      workdir: The run's folder.
      ranking: With this evaluation.
      config: The network.
      variables: Its variables.
      meta: What the weights record; `extra["step"]` is the evaluation's.
    """
    step = meta.extra["step"]
    # One set of weights is replaced at once, without a moment in which it has no final name.
    place = folder(workdir, 0) if ranking.steps == (step,) else _on_its_way(workdir, step)
    weights.save(place, config, variables, meta)
    arrange(workdir, ranking)


def arrange(workdir: Path, ranking: Ranking) -> None:
    """Rename the folders of weights so that each is at its rank, and remove those that are not ranked."""
    if jax.process_index() == 0:
        _arrange(workdir, ranking)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"best weights {ranking.steps}")


def _arrange(workdir: Path, ranking: Ranking) -> None:
    places = {step: folder(workdir, rank) for rank, step in enumerate(ranking.steps)}
    found = saved(workdir)
    ranked = {found[step] for step in places if step in found}
    for path in _folders(workdir):
        if path not in ranked:
            _remove(path)
    for step, path in found.items():
        if step in places and path not in (places[step], _on_its_way(workdir, step)):
            path.rename(_on_its_way(workdir, step))
    for step, place in places.items():
        if (moved := _on_its_way(workdir, step)).is_dir():
            moved.rename(place)


def _remove(path: Path) -> None:
    """Remove weights; what a kill leaves of them has no name of weights any more."""
    aside = path.with_name("best.removed")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    shutil.rmtree(aside)


def _on_its_way(workdir: Path, step: int) -> Path:
    return workdir / f"best.step{step}"


def _folders(workdir: Path) -> list[Path]:
    """Return the folders of weights, those with a final name first."""
    paths = [path for path in workdir.glob("best*") if path.is_dir() and _FOLDER.fullmatch(path.name)]
    return sorted(paths, key=lambda path: (path.name.startswith("best."), path.name))


def saved(workdir: Path) -> dict[int, Path]:
    """Return the folders of weights in a workdir by their steps; of two of one step, the one that is on its way.

    Raises:
      WeightsError: The metadata of one are damaged.
    """
    return {int(weights.load_meta(path).extra.get("step", 0)): path for path in _folders(workdir)}


def resumed(workdir: Path, ranking: Ranking) -> Ranking:
    """Return a checkpoint's ranking without evaluations whose weights are not there any more.

    A run that was killed after the evaluation that follows the checkpoint has weights of that one instead: it will be
    done again.
    """
    steps = saved(workdir)
    evaluations = tuple(evaluation for evaluation in ranking.evaluations if evaluation.step in steps)
    return dataclasses.replace(ranking, evaluations=evaluations)
