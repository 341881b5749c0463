"""Teachers: networks that detect AUs, whose heatmaps a student learns; of several, the union of their AUs.

Of an AU that several have, a student learns the mean of their heatmaps; but on a face of a corpus that some of them
have learnt from, the mean of theirs alone: across corpora, the others are wrong much more often.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.data.folds import base_name
from fgnet_jax.distill.steps import shrink
from fgnet_jax.metrics import calibration
from fgnet_jax.models import fgnet, lineage, weights
from fgnet_jax.models.config import NetworkConfig
from fgnet_jax.models.lineage import Link
from fgnet_jax.models.ops import gathering, platforms
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.predict import detector
from fgnet_jax.predict.network import default_batch_size, to_devices
from fgnet_jax.runtime import sharding
from fgnet_jax.train import ancestry

RULE = "means of the teachers that have learnt from the face's corpus; of all, if none has"
"""How heatmaps of several teachers are joined, as the cache records it."""

STUDENT = "student"
"""The student's name in tables of results, which no teacher has."""

HeatmapStep = Callable[[fgnet.Variables, jax.Array], tuple[jax.Array, jax.Array]]
"""Variables and faces (N, S, S, 3) uint8 to heatmaps (N, M, M, K), not clipped, and scores (N, K)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher:
    """A network to learn from, whose weights may not be loaded yet.

    Attributes:
      name: Its name in messages and results: that of its folder, of a run that of the workdir.
      directory: Its weights directory.
      config: Its sizes.
      meta: Its metadata, with its lineage.
    """

    name: str
    directory: Path
    config: NetworkConfig
    meta: WeightsMeta

    @property
    def aus(self) -> tuple[int, ...]:
        """AU of each heatmap."""
        return self.meta.aus

    @property
    def links(self) -> tuple[Link, ...]:
        """Its lineage."""
        return lineage.links(self.meta)

    def knows(self, recordings: str) -> bool:
        """Return whether it has learnt from a corpus, whatever the preparation."""
        corpora = {base_name(corpus) for link in self.links for corpus in link.learnt_corpora}
        return bool(recordings) and base_name(recordings) in corpora

    def load(self) -> fgnet.Variables:
        """Read its arrays."""
        return weights.load(self.directory)[1]

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of its values, which are read for it."""
        return weights.checksum(self.load())

    def describe(self) -> dict[str, Any]:
        """Return what the cache of its heatmaps records."""
        return {"name": self.name, "sha256": self.sha256, "aus": list(self.aus)}


def open_all(directories: Sequence[str], fold: int = -1) -> tuple[Teacher, ...]:
    """Open weights directories, or workdirs of runs; reads no arrays.

    Args:
      directories: One at least.
      fold: The fold that they left out, for those that do not record it; -1 if it is not known.

    Raises:
      WeightsError: One is no weights directory, or its weights detect no AUs.
    """
    return _with_own_names([_open(directory, fold) for directory in directories])


def _with_own_names(teachers: Sequence[Teacher]) -> tuple[Teacher, ...]:
    """Put parent folders before teachers' names, where two have one name, or one the student's; results are by name."""
    folders = {teacher.directory.resolve() for teacher in teachers}
    names: dict[Path, str] = {}
    for parents in range(max(len(folder.parts) for folder in folders)):
        names = {folder: _name(folder, parents) for folder in folders}
        if len({*names.values(), STUDENT}) > len(folders):
            break
    return tuple(dataclasses.replace(teacher, name=names[teacher.directory.resolve()]) for teacher in teachers)


def _name(folder: Path, parents: int = 0) -> str:
    """Return the name of a weights directory, or of the run that it is the best of, with parent folders before it."""
    parts = (folder.parent if folder.name == "best" else folder).parts
    return "_".join(parts[-1 - parents :])


def _open(directory: str, fold: int) -> Teacher:
    described = detector.describe(directory)
    path = Path(described.directory)
    meta = ancestry.load_meta(path)
    if fold >= 0:
        links = ancestry.with_fold(lineage.links(meta), fold)
        meta = dataclasses.replace(meta, extra=meta.extra | {lineage.KEY: [link.to_dict() for link in links]})
    return Teacher(_name(path.resolve()), path, described.config, meta)


def union(teachers: Sequence[Teacher]) -> tuple[int, ...]:
    """Return the AUs that any teacher has, sorted."""
    return tuple(sorted({au for teacher in teachers for au in teacher.aus}))


def remarks(teachers: Sequence[Teacher]) -> list[str]:
    """Return what a user should know of the teachers, a line each."""
    return [
        f"{teacher.name} knows intensities; the student learns presence alone, and gets no calibration"
        for teacher in teachers
        if calibration.of_weights(teacher.meta.extra, teacher.aus) is not None
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class PendingHeatmaps:
    """Heatmaps that the devices are computing, of the n faces of a batch.

    Attributes:
      count: n.
      aus: The AUs of the student.
      parts: Of each of the T teachers, its AUs, heatmaps and scores.
      knows: (n, T) bool: which teachers have learnt from the face's corpus.
    """

    count: int
    aus: tuple[int, ...]
    parts: tuple[tuple[tuple[int, ...], jax.Array, jax.Array], ...]
    knows: np.ndarray

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Wait for heatmaps (n, M, M, K) float16, not clipped, and scores (n, K) float32, joined by `RULE`."""
        maps, scores = (
            [(aus, np.asarray(values)[: self.count]) for aus, *results in self.parts for values in [results[k]]]
            for k in (0, 1)
        )
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is left out, and counted
            return _mean(maps, self.aus, self.knows).astype(np.float16), _mean(scores, self.aus, self.knows)


def _mean(parts: Sequence[tuple[tuple[int, ...], np.ndarray]], aus: Sequence[int], knows: np.ndarray) -> np.ndarray:
    """Average values (n, ..., K) by AU over the teachers that have it, by `RULE`; `knows` is (n, T)."""
    columns = []
    for au in aus:
        having = [t for t, (numbers, _) in enumerate(parts) if au in numbers]
        values = np.stack([parts[t][1][..., parts[t][0].index(au)] for t in having])
        chosen = knows[:, having] | ~knows[:, having].any(1, keepdims=True)  # (n, teachers that have it)
        chosen = chosen.T.reshape(len(having), -1, *[1] * (values.ndim - 2))
        columns.append(np.where(chosen, values, 0).sum(0) / chosen.sum(0))
    return np.stack(columns, -1).astype(np.float32)


class Teachers:
    """Several teachers with their weights on the devices.

    Attributes:
      aus: The union of their AUs, sorted.
      sides: Sides of the faces that they take, each once.
      batch_size: Faces per batch.
    """

    def __init__(self, teachers: Sequence[Teacher], *, map_size: int, batch_size: int = 0):
        """Load the weights.

        Args:
          teachers: One at least.
          map_size: M, the side that heatmaps are brought to.
          batch_size: Faces per batch, rounded up to a multiple of the devices; 0 for as many as `predict` takes.
        """
        layout = sharding.create()
        devices = layout.mesh.size
        self.aus = union(teachers)
        self.sides = tuple(sorted({teacher.config.image_size for teacher in teachers}))
        self.batch_size = -(-(batch_size or default_batch_size() * devices) // devices) * devices
        self._layout = layout
        self._steps = [
            (
                teacher,
                compile_heatmaps(teacher.config, len(teacher.aus), map_size, layout),
                to_devices(teacher.load(), layout),
            )
            for teacher in teachers
        ]

    def start(self, faces: Mapping[int, np.ndarray], recordings: Sequence[str] = ()) -> PendingHeatmaps:
        """Start computing the heatmaps of a batch.

        Args:
          faces: The same n faces, at most `batch_size`, by their side: (n, side, side, 3) uint8 for each of `sides`.
          recordings: The corpus that each is of, "" where that is not known; empty if it is known of none.
        """
        count = len(next(iter(faces.values())))
        placed = {side: self._padded(faces[side]) for side in self.sides}
        parts = [
            (teacher.aus, *step(variables, placed[teacher.config.image_size]))
            for teacher, step, variables in self._steps
        ]
        names = recordings or [""] * count
        knows = np.array([[teacher.knows(name) for teacher, *_ in self._steps] for name in names])
        return PendingHeatmaps(count, self.aus, tuple(parts), knows)

    def _padded(self, images: np.ndarray) -> jax.Array:
        padded = np.zeros((self.batch_size, *images.shape[1:]), np.uint8)
        padded[: len(images)] = images
        return jax.device_put(padded, self._layout.batch)


@functools.lru_cache(maxsize=8)
def compile_heatmaps(config: NetworkConfig, count: int, size: int, layout: sharding.Sharding) -> HeatmapStep:
    """Jit a network up to its heatmaps of the first `count` channels, brought to `size`, and their scores.

    Scores are those of the heatmaps at their own size, as `predict` computes them.
    """

    def heatmaps(variables: fgnet.Variables, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        maps = fgnet.au_heatmaps(config, variables, images, count)
        return shrink(maps, size).astype(jnp.float32), fgnet.scores(maps)

    traced = gathering.traced_as(layout.kernels, layout.images, platforms.traced_for(layout.platform, heatmaps))
    return jax.jit(
        traced,
        out_shardings=layout.replicated,
        compiler_options=compiler_options.inference(layout.platform, is_small=config.is_small),
    )
