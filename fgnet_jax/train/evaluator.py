"""Scoring faces of a corpus with a jitted evaluation step, on all devices and processes."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from fgnet_jax.data.corpus import Corpus
from fgnet_jax.data.pipeline import LoaderConfig, ProcessShard, eval_batches
from fgnet_jax.metrics.classification import confusion, f1, mean_f1
from fgnet_jax.models.fgnet import Variables
from fgnet_jax.runtime.sharding import Sharding, global_batch


@dataclasses.dataclass(frozen=True)
class ScoredFaces:
    """Scores of faces, in the order of their indices.

    Attributes:
      scores: (N, K) float32 in [-1, 1].
      labels: (N, K) int8, -1 unknown.
      indices: (N,) places in the corpus.
    """

    scores: np.ndarray
    labels: np.ndarray
    indices: np.ndarray

    def f1_by_au(self, aus: tuple[int, ...]) -> dict[int, float]:
        """F1 of every AU that has a known label, as a fraction."""
        known = np.any(self.labels >= 0, axis=0).tolist()
        values = f1(confusion(self.scores, self.labels))
        return {au: float(value) for au, value, has in zip(aus, values, known, strict=True) if has}

    def mean_f1(self) -> float:
        """The plain mean of `f1_by_au`."""
        known = (self.labels >= 0).any(0)
        return mean_f1(confusion(self.scores[:, known], self.labels[:, known]))


def score(
    eval_step: Callable[[Variables, Mapping], Mapping],
    variables: Variables,
    corpus: Corpus,
    indices: np.ndarray,
    loading: LoaderConfig,
    sharding: Sharding,
    share: ProcessShard,
) -> ScoredFaces:
    """Scores these faces; every process gets all of them.

    Args:
      eval_step: Jitted: variables and a global batch to `scores`, `labels`, `index` and `valid`, whole everywhere.
      variables: Of the network.
      corpus: Where the faces are.
      indices: Which of them.
      loading: How they are loaded.
      sharding: How batches lie on the devices.
      share: What this process loads.
    """
    parts = []
    for batch in eval_batches(corpus, indices, loading, share):
        out = {name: np.asarray(x) for name, x in eval_step(variables, global_batch(batch, sharding)).items()}
        parts.append({name: x[out["valid"]] for name, x in out.items()})
    whole = {name: np.concatenate([part[name] for part in parts]) for name in ("scores", "labels", "index")}
    order = np.argsort(whole["index"], kind="stable")
    return ScoredFaces(whole["scores"][order], whole["labels"][order], whole["index"][order])
